"""Who may use a layer version: its resource policy, of which the only action is `lambda:GetLayerVersion`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lambdad.domain.errors import PolicyLengthExceeded, PreconditionFailed, ResourceConflict, ResourceNotFound

MAX_POLICY_BYTES = 20_480
"""(AWS Lambda quotas)"""

NO_POLICY = "No policy is associated with the given resource."
_WRONG_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetLayerPolicy API to retrieve the latest Revision Id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPolicy:
    """The statements of one layer version, oldest first."""

    statements: tuple[Mapping[str, Any], ...] = ()
    revision_id: str = ""

    @property
    def document(self) -> str:
        """The policy as GetLayerVersionPolicy gives it."""
        policy = {"Version": "2012-10-17", "Id": "default", "Statement": [dict(one) for one in self.statements]}
        return compact(policy)

    def allows(self, account: str) -> bool:
        """Whether another account may use the layer version.

        A statement for an organization allows nobody: this server knows no organizations.
        """
        root = f"arn:aws:iam::{account}:root"
        return any(
            "Condition" not in statement and statement["Principal"] in ("*", {"AWS": root})
            for statement in self.statements
        )

    def added(self, statement: Mapping[str, Any], revision_id: str | None, new_revision_id: str) -> LayerPolicy:
        """With one statement more. Raises ResourceConflict, PreconditionFailed, PolicyLengthExceeded."""
        sid = statement["Sid"]
        if any(one["Sid"] == sid for one in self.statements):
            raise ResourceConflict(
                f"The statement id ({sid}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        self._check_revision(revision_id)
        policy = replace(self, statements=(*self.statements, statement), revision_id=new_revision_id)
        size = len(policy.document.encode())
        if size > MAX_POLICY_BYTES:
            raise PolicyLengthExceeded(f"The final policy size ({size}) is bigger than the limit ({MAX_POLICY_BYTES}).")
        return policy

    def removed(self, sid: str, revision_id: str | None, new_revision_id: str) -> LayerPolicy:
        """Without one statement. Raises ResourceNotFound and PreconditionFailed."""
        if not self.statements:
            raise ResourceNotFound(NO_POLICY)
        left = tuple(one for one in self.statements if one["Sid"] != sid)
        if len(left) == len(self.statements):
            raise ResourceNotFound(f"Statement {sid} is not found in resource policy.")
        self._check_revision(revision_id)
        return replace(self, statements=left, revision_id=new_revision_id)

    def _check_revision(self, given: str | None) -> None:
        if given is not None and given != self.revision_id:
            raise PreconditionFailed(_WRONG_REVISION)


def statement(
    *, sid: str, principal: str, action: str, resource: str, organization_id: str | None = None
) -> dict[str, Any]:
    """A statement as AWS stores it (AWS: recorded 2025-11); an account becomes its root, as in function policies."""
    shown: str | dict[str, str] = principal
    if principal.isdigit():
        shown = {"AWS": f"arn:aws:iam::{principal}:root"}
    elif principal != "*":
        shown = {"AWS": principal}
    made: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": shown,
        "Action": action,
        "Resource": resource,
    }
    if organization_id is not None:
        made["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": organization_id}}
    return made


def compact(value: Mapping[str, Any]) -> str:
    """JSON as AWS prints policies: without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
