"""Policies of buses: the statements of PutPermission, and what a policy lets other accounts do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from lambdad.domain.errors import ServiceError
from lambdad.neighbours.eventbridge.errors import invalid, not_found


def with_statement(
    policy: str, bus_arn: str, sid: str, action: str, principal: str, condition: Mapping[str, str] | None
) -> str:
    """The policy with one more statement; one with the same id is replaced. `principal` is an account or `*`."""
    statement: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": "*" if principal == "*" else {"AWS": f"arn:aws:iam::{principal}:root"},
        "Action": action,
        "Resource": bus_arn,
    }
    if condition is not None:
        statement["Condition"] = {condition["Type"]: {condition["Key"]: condition["Value"]}}
    document = json.loads(policy) if policy else {"Version": "2012-10-17", "Statement": []}
    others = [other for other in _statements(document) if other.get("Sid") != sid]
    return _dump({**document, "Statement": [*others, statement]})


def without_statement(policy: str, sid: str) -> str:
    """The policy without the statement of this id; empty when it was the last. Raises ResourceNotFoundException."""
    if not policy:
        raise not_found("EventBus does not have a policy.")
    document = json.loads(policy)
    statements = _statements(document)
    left = [statement for statement in statements if statement.get("Sid") != sid]
    if len(left) == len(statements):
        raise not_found("Statement with the provided id does not exist.")
    return _dump({**document, "Statement": left}) if left else ""


def checked(policy: str) -> str:
    """A whole policy as a caller gave it. Raises ValidationException unless it is a JSON object (our text)."""
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise invalid("Parameter Policy is not valid. Reason: The policy is not a JSON object.")
    return _dump(document)


def too_long() -> ServiceError:
    return ServiceError("PolicyLengthExceededException", "The policy is longer than 10 KB.")  # our words


def allows(policy: str, account: str, action: str) -> bool:
    """Whether a policy lets the whole of another account do something: `PutEvents`…

    Statements with conditions count only where they deny: organizations are not known here.
    """
    allowed = False
    for statement in _statements(json.loads(policy)) if policy else []:
        if not (_names_account(statement.get("Principal"), account) and _names_action(statement.get("Action"), action)):
            continue
        if statement.get("Effect") == "Deny":
            return False
        allowed |= statement.get("Effect") == "Allow" and not statement.get("Condition")
    return allowed


def _names_account(principal: Any, account: str) -> bool:
    named = principal.get("AWS", []) if isinstance(principal, dict) else principal
    return any(name in ("*", account, f"arn:aws:iam::{account}:root") for name in _listed(named))


def _names_action(actions: Any, action: str) -> bool:
    wanted = f"events:{action}".lower()
    return any(isinstance(name, str) and fnmatchcase(wanted, name.lower()) for name in _listed(actions))


def _statements(document: Any) -> list[dict[str, Any]]:
    return [statement for statement in _listed(document.get("Statement", [])) if isinstance(statement, dict)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
