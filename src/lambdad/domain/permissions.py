"""Permissions of functions: the statements that AddPermission makes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One statement, as AddPermission takes it."""

    statement_id: str
    action: str
    principal: str
    source_arn: str | None = None
    source_account: str | None = None
    event_source_token: str | None = None
    function_url_auth_type: str | None = None
    invoked_via_function_url: bool | None = None
    principal_org_id: str | None = None


def statement_of(permission: Permission, resource: str, principal: object) -> dict[str, object]:
    """The statement, its members in AWS's order (AWS: recorded 2025-11)."""
    statement: dict[str, object] = {
        "Sid": permission.statement_id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": permission.action,
        "Resource": resource,
    }
    equal = {
        "AWS:SourceAccount": permission.source_account,
        "lambda:EventSourceToken": permission.event_source_token,
        "lambda:FunctionUrlAuthType": permission.function_url_auth_type,
        "aws:PrincipalOrgID": permission.principal_org_id,
    }
    via_url = permission.invoked_via_function_url
    condition = {
        "StringEquals": {key: value for key, value in equal.items() if value is not None},
        "Bool": {} if via_url is None else {"lambda:InvokedViaFunctionUrl": "true" if via_url else "false"},
        "ArnLike": {} if permission.source_arn is None else {"AWS:SourceArn": permission.source_arn},
    }
    if any(condition.values()):
        statement["Condition"] = {operator: keys for operator, keys in condition.items() if keys}
    return statement


_ACCOUNT = re.compile(r"[0-9]{12}")
_SERVICE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com(\.cn)?|amazon\.com)")
_PRINCIPAL_ARN = re.compile(r"arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:(root|(user|role|assumed-role|federated-user)/.+)")


def principal_of(text: str) -> object | None:
    """A principal as statements show it: a service, an account, a user or role, everybody. None for anything else
    (AWS: recorded 2025-11; that AWS asks whether the user or role exists is left out)."""
    if text == "*":
        return "*"
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if _PRINCIPAL_ARN.fullmatch(text):
        return {"AWS": text}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    return None


def compact(document: object) -> str:
    """JSON as policies are shown."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def with_statements(statements: Iterable[Mapping[str, Any]]) -> str:
    """A function's policy (AWS: recorded 2025-11)."""
    return compact({"Version": "2012-10-17", "Id": "default", "Statement": list(statements)})
