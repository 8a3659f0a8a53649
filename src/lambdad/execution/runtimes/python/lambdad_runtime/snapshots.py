"""Runtime hooks of SnapStart versions. There is no snapshot here: init runs in each environment, then the hooks."""

from __future__ import annotations

import os
import sys

from . import faults

BEFORE_SNAPSHOT_ERROR = "Runtime.BeforeSnapshotError"
AFTER_RESTORE_ERROR = "Runtime.AfterRestoreError"


class HookFailed(Exception):
    """A hook raised; `kind` and `status` are what awslambdaric reports and exits with."""

    def __init__(self, kind: str, status: int) -> None:
        super().__init__(kind)
        self.kind = kind
        self.status = status


def run_hooks() -> None:
    """Runs what the function registered, if it runs with SnapStart. Raises HookFailed from what a hook raised."""
    hooks = sys.modules.get("snapshot_restore_py")
    if hooks is None or os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return
    try:
        for func, args, kwargs in reversed(list(hooks.get_before_snapshot())):
            func(*args, **kwargs)
    except BaseException as error:
        raise HookFailed(BEFORE_SNAPSHOT_ERROR, 64) from error
    try:
        for func, args, kwargs in list(hooks.get_after_restore()):
            func(*args, **kwargs)
    except BaseException as error:
        raise HookFailed(AFTER_RESTORE_ERROR, 65) from error


def described(failure: HookFailed) -> dict[str, object]:
    """The payload of the error behind it."""
    cause = failure.__cause__
    return faults.describe(cause if isinstance(cause, Exception) else failure)
