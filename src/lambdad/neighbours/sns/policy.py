"""Topic policies: the one that every topic starts with, statements of AddPermission, what other accounts may do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from lambdad.domain.policies import ServiceCaller
from lambdad.domain.topics import Topic, TopicAddress
from lambdad.neighbours.sns.errors import invalid_parameter

_ACTIONS: Final = (
    "GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic", "Subscribe",
    "ListSubscriptionsByTopic", "Publish",
)  # fmt: skip


def default_policy(topic: TopicAddress) -> str:
    """The policy of a topic that was given none (AWS: recorded 2025-09)."""
    return _dump(
        {
            "Version": "2008-10-17",
            "Id": "__default_policy_ID",
            "Statement": [
                {
                    "Sid": "__default_statement_ID",
                    "Effect": "Allow",
                    "Principal": {"AWS": "*"},
                    "Action": [f"SNS:{action}" for action in _ACTIONS],
                    "Resource": topic.arn,
                    "Condition": {"StringEquals": {"AWS:SourceOwner": topic.account}},
                }
            ],
        }
    )


def check_document(text: str) -> bool:
    """Whether a text can be a policy."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("Statement"), list | dict)


def with_statement(
    policy: str, topic: TopicAddress, label: str, accounts: Sequence[str], actions: Sequence[str]
) -> str:
    """The policy with one more statement. Raises InvalidParameter for a label that is taken and wrong actions."""
    document = json.loads(policy or default_policy(topic))
    statements = _statements(document)
    if any(statement.get("Sid") == label for statement in statements):
        raise invalid_parameter("Statement already exists")
    if not actions or any(action not in _ACTIONS and action != "*" for action in actions):
        raise invalid_parameter("Policy statement action out of service scope!")
    if not accounts or any(not _is_account(account) for account in accounts):
        raise invalid_parameter("Policy Error: PrincipalNotFound")
    statement = {
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": _one_or_all([f"arn:aws:iam::{account}:root" for account in accounts])},
        "Action": _one_or_all([f"SNS:{action}" for action in actions]),
        "Resource": topic.arn,
    }
    document["Statement"] = [*statements, statement]
    return _dump(document)


def without_statement(policy: str, topic: TopicAddress, label: str) -> str:
    """The policy without the statement of this label, if it has one."""
    document = json.loads(policy or default_policy(topic))
    document["Statement"] = [statement for statement in _statements(document) if statement.get("Sid") != label]
    return _dump(document)


def command_for(topic: Topic, service: ServiceCaller) -> str:
    """The command that lets another service publish to a topic."""
    document = json.loads(topic.attributes.get("Policy") or default_policy(topic.address))
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service.service},
        "Action": "sns:Publish",
        "Resource": topic.arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": service.source_arn}},
    }
    document["Statement"] = [*_statements(document), statement]
    return (
        f"aws sns set-topic-attributes --topic-arn {topic.arn} --attribute-name Policy "
        f"--attribute-value {shlex.quote(_dump(document))}"
    )


def allows(policy: str, account: str, action: str) -> bool:
    """Whether a policy lets the whole of another account do something: `Publish`…

    Statements with conditions count only where they deny: what they ask for (source ARNs, organizations) is not known
    of a plain API call. So the policy that a topic starts with lets in nobody else.
    """
    allowed = False
    for statement in _statements(json.loads(policy)) if policy else ():
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
    wanted = f"sns:{action}".lower()
    return any(isinstance(name, str) and fnmatchcase(wanted, name.lower()) for name in _listed(actions))


def _statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [statement for statement in _listed(document.get("Statement", [])) if isinstance(statement, dict)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _is_account(text: str) -> bool:
    return len(text) == 12 and text.isascii() and text.isdigit()


def _dump(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
