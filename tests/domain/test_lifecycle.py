"""States of a version."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lambdad.domain.errors import ResourceConflict
from lambdad.domain.functions import State, UpdateStatus
from lambdad.domain.lifecycle import (
    PrepareFailure,
    being_created,
    being_updated,
    check_changeable,
    failed,
    last_modified,
    ready,
)
from tests.domain.test_configuration import a_version

FAILURE = PrepareFailure(code="InvalidRuntime", reason="no python3.12")


def test_a_version_is_created_and_becomes_active() -> None:
    pending = being_created(a_version(), "r2")
    assert (pending.state, pending.state_reason, pending.state_reason_code) == (
        State.PENDING,
        "The function is being created.",
        "Creating",
    )
    assert pending.last_update_status is None
    active = ready(pending, "r3")
    assert (active.state, active.state_reason, active.last_update_status, active.revision_id) == (
        State.ACTIVE,
        None,
        UpdateStatus.SUCCESSFUL,
        "r3",
    )


def test_an_update_leaves_the_version_active() -> None:
    updating = being_updated(ready(being_created(a_version(), "r2"), "r3"), "r4")
    assert (updating.state, updating.last_update_status, updating.last_update_status_reason_code) == (
        State.ACTIVE,
        UpdateStatus.IN_PROGRESS,
        "Creating",
    )
    after = failed(updating, FAILURE, "r5")
    assert (after.state, after.last_update_status, after.last_update_status_reason) == (
        State.ACTIVE,
        UpdateStatus.FAILED,
        "no python3.12",
    )


def test_a_creation_that_failed_can_be_repaired_by_an_update() -> None:
    after = failed(being_created(a_version(), "r2"), FAILURE, "r3")
    assert (after.state, after.state_reason_code, after.last_update_status) == (State.FAILED, "InvalidRuntime", None)
    check_changeable(after)
    assert being_updated(after, "r4").state is State.PENDING


def test_nothing_changes_while_something_is_in_progress() -> None:
    pending = being_created(a_version(), "r2")
    with pytest.raises(ResourceConflict, match="currently in the following state: Pending"):
        check_changeable(pending)
    updating = being_updated(ready(pending, "r3"), "r4")
    with pytest.raises(ResourceConflict, match=r"An update is in progress for resource: arn:aws:lambda:.*:function:f$"):
        check_changeable(updating)


def test_the_moment_of_the_last_change() -> None:
    assert last_modified(datetime(2026, 9, 13, 15, 32, 2, 357_999, UTC)) == "2026-09-13T15:32:02.357+0000"
