"""Changes of stored functions: each is one transaction, and is announced once it is committed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TypeVar

from lambdad.clock import Clock
from lambdad.domain.arns import FunctionReference
from lambdad.domain.errors import PreconditionFailed, ResourceNotFound
from lambdad.domain.functions import LATEST, StoredVersion
from lambdad.domain.lifecycle import last_modified
from lambdad.storage.functions import FunctionKey, FunctionRepository, FunctionTables, VersionKey

T = TypeVar("T")

Changed = Callable[[str, str, str], None]
"""Called with account, region and name of a function after a change of it is committed, on the event loop."""

_WRONG_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)


class Changes:
    """What every service of the control plane changes functions with."""

    def __init__(self, repository: FunctionRepository, clock: Clock, changed: Changed) -> None:
        self._repository = repository
        self._clock = clock
        self._changed = changed

    async def make(self, key: FunctionKey, job: Callable[[FunctionTables], T]) -> T:
        """Runs a job over one function and tells that the function changed. An exception of the job undoes it."""
        result = await self._repository.write(job)
        self._changed(key.account, key.region, key.name)
        return result

    def now(self) -> str:
        """This moment as `LastModified` shows it."""
        return last_modified(self._clock.now())


def new_revision_id() -> str:
    return str(uuid.uuid4())


def key_of(reference: FunctionReference) -> FunctionKey:
    return FunctionKey(reference.account, reference.region, reference.name)


def function_not_found(arn: str) -> ResourceNotFound:
    return ResourceNotFound(f"Function not found: {arn}")


def latest_of(tables: FunctionTables, reference: FunctionReference) -> StoredVersion:
    """`$LATEST` of a function. Raises ResourceNotFound with the ARN as addressed."""
    stored = tables.version(VersionKey(key_of(reference), LATEST))
    if stored is None:
        raise function_not_found(reference.arn)
    return stored


def check_revision(given: str | None, current: str) -> None:
    """Raises PreconditionFailed when a RevisionId was given and is not the current one."""
    if given is not None and given != current:
        raise PreconditionFailed(_WRONG_REVISION)
