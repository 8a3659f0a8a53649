"""Removes what tests leave behind: functions with all that belongs to them, layers, log groups, roles and policies."""

from __future__ import annotations

from lambdad.storage.engine import Transaction
from lambdad.storage.functions import FunctionKey


def functions(tx: Transaction) -> list[FunctionKey]:
    """Deletes every function of every account; returns which there were. Versions are numbered from 1 again."""
    keys = [FunctionKey(*row) for row in tx.all("SELECT account, region, name FROM function")]
    for table in (
        "provisioned_concurrency", "event_invoke_config", "resource_policy", "function_url", "function_code_signing",
        "code_signing_config", "alias", "function_version", "function",
    ):  # fmt: skip
        tx.run(f"DELETE FROM {table}")
    # Generations go on: what still runs belongs to an older one.
    tx.run("UPDATE version_counter SET last_version = 0")
    return keys


def layers(tx: Transaction) -> None:
    """Deletes every layer version. Versions are numbered from 1 again."""
    tx.run("DELETE FROM layer_version")
    tx.run("DELETE FROM layer_counter")


def logs(tx: Transaction) -> None:
    """Deletes every log group. Their events go bit by bit afterwards, so that it takes no longer for many."""
    tx.run("INSERT INTO log_garbage (group_id) SELECT id FROM log_group")
    tx.run("DELETE FROM log_group")


def identities(tx: Transaction) -> None:
    """Deletes every role and managed policy. Access keys stay."""
    tx.run("DELETE FROM role")
    tx.run("DELETE FROM managed_policy")
