"""States of a version: from creation or update to being ready, or to failure.

As on AWS (recorded 2025-11): a new version is Pending and becomes Active or Failed; an update of an active version
leaves it Active with LastUpdateStatus InProgress, which becomes Successful or Failed. Every step gives a new
RevisionId.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from lambdad.domain.errors import ResourceConflict
from lambdad.domain.functions import FunctionVersion, State, UpdateStatus

CREATING_CODE = "Creating"
CREATING_REASON = "The function is being created."


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareFailure:
    """Why a version cannot run here."""

    code: str
    """One of AWS's StateReasonCodes, such as `InvalidRuntime`."""
    reason: str
    """A sentence for people."""


def being_created(version: FunctionVersion, revision_id: str) -> FunctionVersion:
    """A version whose preparation begins; it serves no calls before it is Active."""
    return replace(
        version,
        revision_id=revision_id,
        state=State.PENDING,
        state_reason=CREATING_REASON,
        state_reason_code=CREATING_CODE,
        last_update_status=None,
        last_update_status_reason=None,
        last_update_status_reason_code=None,
    )


def being_updated(version: FunctionVersion, revision_id: str) -> FunctionVersion:
    """A changed version whose preparation begins. One that failed to be created starts from Pending again."""
    if version.state is State.FAILED:
        return being_created(version, revision_id)
    return replace(
        version,
        revision_id=revision_id,
        last_update_status=UpdateStatus.IN_PROGRESS,
        last_update_status_reason=CREATING_REASON,
        last_update_status_reason_code=CREATING_CODE,
    )


def ready(version: FunctionVersion, revision_id: str) -> FunctionVersion:
    """A version whose preparation succeeded."""
    return replace(
        version,
        revision_id=revision_id,
        state=State.ACTIVE,
        state_reason=None,
        state_reason_code=None,
        last_update_status=UpdateStatus.SUCCESSFUL,
        last_update_status_reason=None,
        last_update_status_reason_code=None,
    )


def failed(version: FunctionVersion, failure: PrepareFailure, revision_id: str) -> FunctionVersion:
    """A version whose preparation failed: the version itself when it was new, else only its last update."""
    if version.state is State.PENDING:
        return replace(
            version,
            revision_id=revision_id,
            state=State.FAILED,
            state_reason=failure.reason,
            state_reason_code=failure.code,
        )
    return replace(
        version,
        revision_id=revision_id,
        last_update_status=UpdateStatus.FAILED,
        last_update_status_reason=failure.reason,
        last_update_status_reason_code=failure.code,
    )


def check_changeable(version: FunctionVersion) -> None:
    """Raises ResourceConflict, in AWS's words, while a creation or an update is in progress."""
    if version.state is State.PENDING:
        raise ResourceConflict(
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {version.state}"
        )
    if version.last_update_status is UpdateStatus.IN_PROGRESS:
        raise ResourceConflict(
            "The operation cannot be performed at this time. "
            f"An update is in progress for resource: {version.unqualified_arn}"
        )


def last_modified(moment: datetime) -> str:
    """As functions show it: `2026-09-13T15:32:02.357+0000`. `moment` is in UTC."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"
