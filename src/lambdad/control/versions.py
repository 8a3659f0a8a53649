"""Published versions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lambdad.control import paging
from lambdad.control.activation import Activation
from lambdad.control.changes import (
    Changes,
    check_revision,
    function_not_found,
    key_of,
    latest_of,
    new_revision_id,
)
from lambdad.domain.arns import FunctionReference
from lambdad.domain.errors import InvalidParameterValue, ResourceConflict
from lambdad.domain.functions import LATEST, FunctionVersion, State, StoredVersion, UpdateStatus
from lambdad.domain.lifecycle import being_created, check_changeable
from lambdad.storage.functions import FunctionRepository, FunctionTables, fingerprint, function_key, version_key


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishVersion:
    reference: FunctionReference
    code_sha256: str | None = None
    description: str | None = None
    revision_id: str | None = None


class Versions:
    """The resource `version`."""

    def __init__(self, repository: FunctionRepository, changes: Changes, activation: Activation) -> None:
        self._repository = repository
        self._changes = changes
        self._activation = activation

    async def publish(self, command: PublishVersion) -> FunctionVersion:
        """Publishes `$LATEST`; when nothing changed since the last version, that version is the answer."""
        reference = command.reference

        def job(tables: FunctionTables) -> tuple[FunctionVersion, bool]:
            latest = latest_of(tables, reference).current
            check_changeable(latest)
            if latest.state is State.FAILED:
                raise ResourceConflict(
                    "The operation cannot be performed at this time. "
                    f"The function is currently in the following state: {latest.state}"
                )
            check_revision(command.revision_id, latest.revision_id)
            if command.code_sha256 and command.code_sha256 != latest.code_sha256:
                raise InvalidParameterValue(
                    f"CodeSHA256 ({command.code_sha256}) is different from current CodeSHA256 in $LATEST "
                    f"({latest.code_sha256}). Please try again with the CodeSHA256 in $LATEST."
                )
            # A snapshot would be made now; an update that failed is tried once more.
            pending = latest.snap_start != "None" or latest.last_update_status is UpdateStatus.FAILED
            version, is_new = publish_in(
                tables, latest, self._changes.now(), description=command.description, pending=pending
            )
            if is_new:
                tables.show(replace(latest, revision_id=new_revision_id()))
            return version, is_new

        version, is_new = await self._changes.make(key_of(reference), job)
        if is_new and version.state is State.PENDING:
            self._activation.begin(version_key(version))
        return version

    async def list(
        self, reference: FunctionReference, *, marker: str | None = None, max_items: int | None = None
    ) -> paging.Page[FunctionVersion]:
        """`$LATEST`, then the published versions from the oldest; at most 50 at once."""
        size = paging.page_size(max_items)
        position = paging.after(marker, (int,)) or (-1,)
        found = await self._repository.list_versions(key_of(reference), after=int(position[0]), limit=size + 1)
        if not found and await self._repository.function(key_of(reference)) is None:
            raise function_not_found(reference.arn)
        return paging.page(found, size, lambda version: (0 if version.version == LATEST else int(version.version),))


def publish_in(
    tables: FunctionTables, latest: FunctionVersion, now: str, *, description: str | None, pending: bool
) -> tuple[FunctionVersion, bool]:
    """Stores `latest` as the next version; the last version when that has the same content (then False).

    A version that is `pending` has to be activated by the caller.
    """
    content = fingerprint(latest)
    key = function_key(latest)
    last = tables.latest_published(key)
    if last is not None and last[1] == content:
        return last[0], False
    version = replace(
        latest,
        version=tables.next_version(key),
        generation=tables.next_generation(key),
        description=latest.description if description is None else description,
        revision_id=new_revision_id(),
        last_modified=now,
    )
    if pending:
        version = being_created(version, version.revision_id)
    tables.put_version(StoredVersion(current=version), settled=not pending, fingerprint=content)
    return version, True
