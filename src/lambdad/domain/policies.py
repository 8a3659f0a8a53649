"""Resource policies: who may do what with a function, queue or topic. Pure: a document and a request give a decision.

Deny wins over Allow, and what no statement allows is refused (IAM user guide, policy evaluation logic). Whether a
caller of the resource's own account needs the policy at all is for the service to say; AWS's services always do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Final

KEPT: Final = 1024
"""Patterns and documents that are kept compiled."""


class Decision(Enum):
    """What a policy says."""

    ALLOW = "allow"
    DENY = "deny"
    """A statement refuses."""
    SILENT = "silent"
    """No statement is about this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCaller:
    """A service of AWS that acts for a resource: SNS for a topic, EventBridge for a rule, S3 for a bucket."""

    service: str
    """As in policies: `sns.amazonaws.com`."""
    source_arn: str
    source_account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """Somebody wants to do something. Without `service` and `principal_arn` it is anybody, unsigned."""

    action: str
    """`lambda:InvokeFunction`."""
    resource: str
    service: str = ""
    principal_arn: str = ""
    """Of a user, a session of a role, or an account's root."""
    context: Mapping[str, str] = field(default_factory=dict)
    """Values of condition keys, by the key in lower case."""


def by_service(caller: ServiceCaller, action: str, resource: str) -> AccessRequest:
    """What a service asks for."""
    return AccessRequest(
        action=action,
        resource=resource,
        service=caller.service,
        context={
            "aws:sourcearn": caller.source_arn,
            "aws:sourceaccount": caller.source_account,
            "aws:principalisawsservice": "true",
            "aws:principalservicename": caller.service,
        },
    )


def by_principal(arn: str, action: str, resource: str, context: Mapping[str, str] | None = None) -> AccessRequest:
    """What a signed caller asks for; `context` brings what is known beside the caller."""
    return AccessRequest(
        action=action,
        resource=resource,
        principal_arn=arn,
        context={
            "aws:principalarn": _role_of(arn),
            "aws:principalaccount": account_of(arn),
            "aws:principalisawsservice": "false",
            **(context or {}),
        },
    )


def account_of(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def decide(policy: str | None, request: AccessRequest) -> Decision:
    """What a policy, the text of a JSON document, says to a request. None and texts that are no policy are silent."""
    allowed = False
    for statement in _statements(policy) if policy else ():
        is_deny = statement.get("Effect") == "Deny"
        if not (
            _names(statement, "Principal", lambda named: _is_principal(named, request))
            and _names(statement, "Action", lambda named: _is_action(named, request.action))
            and _names(statement, "Resource", lambda named: _is_resource(named, request.resource))
            and _is_met(statement.get("Condition"), request.context, unknown=is_deny)
        ):
            continue
        if is_deny:
            return Decision.DENY
        allowed |= statement.get("Effect") == "Allow"
    return Decision.ALLOW if allowed else Decision.SILENT


def statements_of(policy: str) -> list[dict[str, Any]]:
    """Copies of a policy's statements, to make another policy of."""
    return [dict(statement) for statement in _statements(policy)]


def has_deny(policy: str | None) -> bool:
    """Whether a policy can refuse what would be allowed without it."""
    return bool(policy) and any(statement.get("Effect") == "Deny" for statement in _statements(policy or ""))


@lru_cache(maxsize=KEPT)
def _statements(policy: str) -> tuple[dict[str, Any], ...]:
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        return ()
    found = _listed(document.get("Statement", [])) if isinstance(document, dict) else []
    return tuple(statement for statement in found if isinstance(statement, dict))


def _names(statement: Mapping[str, Any], element: str, is_named: Callable[[Any], bool]) -> bool:
    """Whether an element (`Action`) or its opposite (`NotAction`) holds. A statement without either names nobody."""
    if element in statement:
        return is_named(statement[element])
    opposite = f"Not{element}"
    return opposite in statement and not is_named(statement[opposite])


# --- principals, actions, resources ---


def _is_principal(named: Any, request: AccessRequest) -> bool:
    """`*` is everybody: services and unsigned callers too (IAM user guide, Principal)."""
    if not isinstance(named, dict):
        return bool(named == "*")
    accounts = _listed(named.get("AWS", []))
    if "*" in accounts:
        return True
    if request.service:
        return any(name in ("*", request.service) for name in _listed(named.get("Service", [])))
    arn = request.principal_arn
    if not arn:
        return False
    account = account_of(arn)
    known = {account, f"arn:aws:iam::{account}:root", arn}
    return any(name in known or _is_session_of(arn, name) for name in accounts)


def _is_session_of(arn: str, role_arn: Any) -> bool:
    """A role is named without its sessions, and with its path, which sessions do not show."""
    prefix, _, rest = arn.partition(":assumed-role/")
    if not rest or not isinstance(role_arn, str):
        return False
    before, _, role = role_arn.partition(":role/")
    return account_of(prefix + ":") == account_of(before + ":") and role.rpartition("/")[2] == rest.split("/")[0]


def _role_of(arn: str) -> str:
    """`aws:PrincipalArn` of a session is its role."""
    before, _, rest = arn.partition(":assumed-role/")
    return f"arn:aws:iam::{account_of(before + ':')}:role/{rest.split('/')[0]}" if rest else arn


def _is_action(named: Any, action: str) -> bool:
    wanted = action.lower()
    return any(isinstance(name, str) and _like(name.lower()).fullmatch(wanted) for name in _listed(named))


def _is_resource(named: Any, resource: str) -> bool:
    return any(isinstance(name, str) and _like(name).fullmatch(resource) for name in _listed(named))


@lru_cache(maxsize=KEPT)
def _like(pattern: str) -> re.Pattern[str]:
    """`*` stands for any text, `?` for one character."""
    return re.compile(
        "".join(".*" if part == "*" else "." if part == "?" else re.escape(part) for part in pattern), re.DOTALL
    )


# --- conditions ---

Compare = Callable[[str, str], bool]
"""Takes what the policy has and what the request has."""


def _is_met(condition: Any, context: Mapping[str, str], *, unknown: bool) -> bool:
    """All operators and all their keys have to hold. `unknown` is the answer to an operator that nobody knows: one
    that cannot be read must not let anybody in."""
    if condition is None:
        return True
    if not isinstance(condition, dict):
        return unknown
    for operator, keys in condition.items():
        if not isinstance(keys, dict):
            return unknown
        for key, values in keys.items():
            met = _operator_met(str(operator), str(key).lower(), [_text(value) for value in _listed(values)], context)
            if not (unknown if met is None else met):
                return False
    return True


def _operator_met(operator: str, key: str, values: list[str], context: Mapping[str, str]) -> bool | None:
    """None for an operator that is not known."""
    for_all = operator.startswith("ForAllValues:")
    name = operator.partition(":")[2] if for_all or operator.startswith("ForAnyValue:") else operator
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    value = context.get(key)
    if name == "Null":
        return any((value is None) == (wanted == "true") for wanted in values)
    negated = _NEGATED.get(name)
    compare = _OPERATORS.get(negated or name)
    if compare is None:
        return None
    if value is None:
        return if_exists or for_all or negated is not None
    found = any(_safely(compare, wanted, value) for wanted in values)
    return not found if negated else found


def _safely(compare: Compare, wanted: str, value: str) -> bool:
    try:
        return compare(wanted, value)
    except ValueError:  # a number, date or address that is none
        return False


def _arn_like(wanted: str, value: str) -> bool:
    """Each of the six parts on its own: a `*` in one does not reach into the next."""
    parts, found = wanted.split(":", 5), value.split(":", 5)
    return len(parts) == len(found) and all(
        _like(part).fullmatch(one) is not None for part, one in zip(parts, found, strict=True)
    )


def _moment(text: str) -> datetime:
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _numeric(compare: Callable[[Any, Any], bool], read: Callable[[str], Any]) -> Compare:
    return lambda wanted, value: compare(read(value), read(wanted))


_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "Equals": lambda value, wanted: bool(value == wanted),
    "LessThan": lambda value, wanted: bool(value < wanted),
    "LessThanEquals": lambda value, wanted: bool(value <= wanted),
    "GreaterThan": lambda value, wanted: bool(value > wanted),
    "GreaterThanEquals": lambda value, wanted: bool(value >= wanted),
}
_OPERATORS: Final[dict[str, Compare]] = {
    "StringEquals": lambda wanted, value: wanted == value,
    "StringEqualsIgnoreCase": lambda wanted, value: wanted.lower() == value.lower(),
    "StringLike": lambda wanted, value: _like(wanted).fullmatch(value) is not None,
    "Bool": lambda wanted, value: wanted.lower() == value.lower(),
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "IpAddress": lambda wanted, value: ip_address(value) in ip_network(wanted, strict=False),
    **{f"Numeric{name}": _numeric(compare, float) for name, compare in _ORDERS.items()},
    **{f"Date{name}": _numeric(compare, _moment) for name, compare in _ORDERS.items()},
}
_NEGATED: Final = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- whole policies that are given ---


def problem_of(policy: str, resource: str) -> str | None:
    """What is wrong with a whole policy that somebody gives a resource; None if nothing is. The words are ours."""
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        return "The policy is not JSON."
    statements = _listed(document.get("Statement", [])) if isinstance(document, dict) else []
    if not statements:
        return "The policy has no Statement."
    for number, statement in enumerate(statements, start=1):
        problem = _problem_of_statement(statement, resource) if isinstance(statement, dict) else "is not an object"
        if problem is not None:
            return f"Statement {number} {problem}."
    return None


def _problem_of_statement(statement: Mapping[str, Any], resource: str) -> str | None:
    if statement.get("Effect") not in ("Allow", "Deny"):
        return "needs the Effect Allow or Deny"
    for element in ("Principal", "Action", "Resource"):
        if (element in statement) == (f"Not{element}" in statement):
            return f"needs either {element} or Not{element}"
    if "Resource" in statement and not _is_resource(statement["Resource"], resource):
        return f"is about another Resource than {resource}"
    condition = statement.get("Condition", {})
    if not isinstance(condition, dict):
        return "has a Condition that is not an object"
    for operator in condition:
        name = operator.rpartition(":")[2].removesuffix("IfExists")
        if name != "Null" and _NEGATED.get(name, name) not in _OPERATORS:
            return f"has a condition operator {operator} that does not exist"
    return None
