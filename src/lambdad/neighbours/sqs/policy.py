"""Queue policies: statements that AddPermission makes, and what a policy lets other accounts do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from lambdad.domain.policies import ServiceCaller
from lambdad.domain.queues import Queue
from lambdad.neighbours.sqs.errors import invalid_value

_ACTIONS: Final = frozenset({
    "*", "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes",
    "GetQueueUrl", "ListDeadLetterSourceQueues", "PurgeQueue",
})  # fmt: skip
_OWNER_ONLY: Final = frozenset({
    "AddPermission", "CancelMessageMoveTask", "CreateQueue", "DeleteQueue", "ListMessageMoveTasks", "ListQueues",
    "ListQueueTags", "RemovePermission", "SetQueueAttributes", "StartMessageMoveTask", "TagQueue", "UntagQueue",
})  # fmt: skip


def with_statement(policy: str, queue_arn: str, label: str, accounts: Sequence[str], actions: Sequence[str]) -> str:
    """The policy with one more statement. Raises InvalidParameterValue for a label that is taken and wrong actions."""
    document = _document(policy) or {"Version": "2008-10-17", "Id": f"{queue_arn}/SQSDefaultPolicy", "Statement": []}
    statements = _statements(document)
    if any(statement.get("Sid") == label for statement in statements):
        raise invalid_value(label, "Label", "Already exists.")
    for action in actions:
        if action in _OWNER_ONLY:
            raise invalid_value(f"SQS:{action}", "ActionName", "Only the queue owner is allowed to invoke this action.")
        if action not in _ACTIONS:
            raise invalid_value(
                f"SQS:{action}", "ActionName", "Please refer to the appropriate WSDL for a list of valid actions."
            )
    for account in accounts:
        if len(account) != 12 or not (account.isascii() and account.isdigit()):
            raise invalid_value(f'"[{", ".join(accounts)}]"', "PrincipalId", "Unable to verify.")
    document["Statement"] = [
        *statements,
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": _one_or_all([f"arn:aws:iam::{account}:root" for account in accounts])},
            "Action": _one_or_all([f"SQS:{action}" for action in actions]),
            "Resource": queue_arn,
        },
    ]
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def without_statement(policy: str, label: str) -> str:
    """The policy without the statement of this label; empty when it was the last. Raises InvalidParameterValue."""
    document = _document(policy) or {}
    statements = _statements(document)
    left = [statement for statement in statements if statement.get("Sid") != label]
    if len(left) == len(statements):
        raise invalid_value(label, "Label", "can't find label.")
    if not left:
        return ""
    document["Statement"] = left
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def command_for(queue: Queue, service: ServiceCaller) -> str:
    """The command that lets another service send to a queue."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service.service},
        "Action": "sqs:SendMessage",
        "Resource": queue.arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": service.source_arn}},
    }
    document = _document(queue.settings.policy) or {"Version": "2012-10-17", "Statement": []}
    document["Statement"] = [*_statements(document), statement]
    text = json.dumps({"Policy": json.dumps(document, separators=(",", ":"))}, separators=(",", ":"))
    address = queue.address
    return (
        f'aws sqs set-queue-attributes --queue-url "$(aws sqs get-queue-url --queue-name {address.name} '
        f'--query QueueUrl --output text)" --attributes {shlex.quote(text)}'
    )


def allows(policy: str, account: str, action: str) -> bool:
    """Whether a policy lets the whole of another account do something: `SendMessage`…

    Statements with conditions count only where they deny: what they ask for (source ARNs, addresses) is not known of a
    plain API call.
    """
    allowed = False
    for statement in _statements(_document(policy) or {}):
        if not (_names_account(statement.get("Principal"), account) and _names_action(statement.get("Action"), action)):
            continue
        if statement.get("Effect") == "Deny":
            return False
        allowed |= statement.get("Effect") == "Allow" and not statement.get("Condition")
    return allowed


def _names_account(principal: Any, account: str) -> bool:
    named = principal.get("AWS", []) if isinstance(principal, dict) else principal
    known = ("*", account, f"arn:aws:iam::{account}:root")
    return any(name in known for name in _listed(named))


def _names_action(actions: Any, action: str) -> bool:
    wanted = f"sqs:{action}".lower()
    return any(isinstance(name, str) and fnmatchcase(wanted, name.lower()) for name in _listed(actions))


def _document(policy: str) -> dict[str, Any] | None:
    if not policy:
        return None
    document = json.loads(policy)
    return document if isinstance(document, dict) else None


def _statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [statement for statement in _listed(document.get("Statement", [])) if isinstance(statement, dict)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values
