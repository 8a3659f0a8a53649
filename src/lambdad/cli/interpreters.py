"""Which runtimes can run on this machine, as `up` and `doctor` tell it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from lambdad.domain.runtimes import RUNTIMES
from lambdad.execution.runtimes import catalog
from lambdad.execution.runtimes.interpreters import Interpreters


def needed_interpreters() -> list[tuple[str, str]]:
    """Each runtime that can be booted and the name of what it runs on, empty for none; in the order of versions."""
    boots = [(identifier, catalog.boot(identifier)) for identifier in sorted(RUNTIMES, key=_by_number)]
    return [(identifier, boot.interpreter) for identifier, boot in boots if boot]


def runnable_runtimes(interpreters: Interpreters) -> list[str]:
    """The runtimes whose interpreter is there. Runs programs: keep it off the event loop."""
    return [identifier for identifier, name in needed_interpreters() if not name or interpreters.find(name)]


def is_deprecated(identifier: str) -> bool:
    """AWS no longer patches it, so nobody misses it."""
    since = RUNTIMES[identifier].deprecated_on
    return since is not None and since <= datetime.now(UTC).date()


def _by_number(identifier: str) -> tuple[str, list[int]]:
    return re.sub(r"\d.*", "", identifier), [int(part) for part in re.findall(r"\d+", identifier)]
