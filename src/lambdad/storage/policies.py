"""Resource policies of functions, one row for each qualifier that has one. The qualifier is empty for the function."""

from __future__ import annotations

from dataclasses import dataclass

from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.functions import FunctionKey

_FUNCTION = "account = :account AND region = :region AND function = :name"
_FIND = f"SELECT document, revision_id FROM resource_policy WHERE {_FUNCTION} AND qualifier = :qualifier"


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy and the revision that it came with."""

    document: str
    revision_id: str


def find(tx: Transaction, key: FunctionKey, qualifier: str) -> StoredPolicy | None:
    """The policy of exactly this qualifier."""
    row = tx.one(_FIND, {**key.arguments, "qualifier": qualifier})
    return None if row is None else StoredPolicy(*row)


async def read(engine: Engine, key: FunctionKey, qualifier: str) -> StoredPolicy | None:
    """As `find`, of the last committed state."""
    rows = await engine.read(_FIND, {**key.arguments, "qualifier": qualifier})
    return StoredPolicy(*rows[0]) if rows else None


def put(tx: Transaction, key: FunctionKey, qualifier: str, policy: StoredPolicy) -> None:
    """Inserts or replaces."""
    tx.run(
        "INSERT INTO resource_policy (account, region, function, qualifier, document, revision_id)"
        " VALUES (:account, :region, :name, :qualifier, :document, :revision_id)"
        " ON CONFLICT (account, region, function, qualifier)"
        " DO UPDATE SET document = excluded.document, revision_id = excluded.revision_id",
        {
            **key.arguments,
            "qualifier": qualifier,
            "document": policy.document,
            "revision_id": policy.revision_id,
        },
    )


def delete(tx: Transaction, key: FunctionKey, qualifier: str) -> bool:
    """False if there was none."""
    arguments = {**key.arguments, "qualifier": qualifier}
    return tx.run(f"DELETE FROM resource_policy WHERE {_FUNCTION} AND qualifier = :qualifier", arguments) > 0
