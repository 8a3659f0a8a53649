"""Log groups and streams: creating, listing, deleting, retention, tags."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from lambdad.clock import Clock
from lambdad.domain.errors import ServiceError
from lambdad.domain.logs import RETENTION_DAYS, LogGroup, LogStreamState
from lambdad.neighbours.logs.errors import (
    group_exists,
    invalid_parameter,
    invalid_token,
    no_such_group,
    no_such_stream,
    stream_exists,
)
from lambdad.neighbours.logs.writer import LogWriter
from lambdad.storage.log_groups import LogGroupStorage

PAGE_SIZE: Final = 50
"""The most groups or streams of one page, and the usual number."""
MAX_TAGS: Final = 50

_ARN = re.compile(r"arn:aws[a-z-]*:logs:(?P<region>[^:]*):(?P<account>[^:]*):log-group:(?P<name>[^:*]+)(?::\*)?")


class LogGroups:
    """The operations on groups and streams. All raise ServiceError in CloudWatch Logs' words.

    Each first stores what still waits: the group of a function exists as soon as its first invocation was answered,
    and deleting it takes along what the function has logged before.
    """

    def __init__(
        self, storage: LogGroupStorage, writer: LogWriter, clock: Clock, on_delete: Callable[[], None]
    ) -> None:
        """`on_delete` is called when there are events to be removed."""
        self._storage = storage
        self._writer = writer
        self._clock = clock
        self._on_delete = on_delete

    async def find(self, account: str, region: str, name: str | None, identifier: str | None = None) -> LogGroup:
        """The group that an operation names: by name, or by an identifier that is a name or an ARN."""
        if name is not None and identifier is not None:
            raise ServiceError(
                "ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters."
            )
        wanted = name if name is not None else identifier
        if wanted is None:
            raise invalid_parameter("Either LogGroup name or LogGroup ARN must be given.")  # our words
        await self._writer.settle()
        if name is None and wanted.startswith("arn:"):
            return await self.find_arn(account, region, wanted)
        group = await self._storage.group(account, region, wanted)
        if group is None:
            raise no_such_group()
        return group

    async def find_arn(self, account: str, region: str, arn: str) -> LogGroup:
        """The group of an ARN, with or without its `:*`; groups of others count as missing."""
        parts = _ARN.fullmatch(arn)
        if parts is None or (parts["region"], parts["account"]) != (region, account):
            raise no_such_group()
        return await self.find(account, region, parts["name"])

    async def create(
        self,
        account: str,
        region: str,
        name: str,
        *,
        tags: Mapping[str, str],
        group_class: str = "STANDARD",
        kms_key: str | None = None,
        deletion_protected: bool = False,
    ) -> None:
        """CreateLogGroup. The key is stored and shown; nothing is encrypted with it."""
        await self._writer.settle()
        group = LogGroup(
            id=0,
            account=account,
            region=region,
            name=name,
            created_ms=self._clock.time_ms(),
            group_class=group_class,
            kms_key=kms_key,
            deletion_protected=deletion_protected,
            tags=tags,
        )
        if not await self._storage.create_group(group):
            raise group_exists()

    async def delete(self, account: str, region: str, name: str) -> None:
        """DeleteLogGroup: gone at once; the retention loop removes the events."""
        group = await self.find(account, region, name)
        if group.deletion_protected:  # our words; the code is the one that the model lists
            raise ServiceError("ValidationException", "The log group is protected against deletion.")
        await self._storage.delete_group(group.id)
        self._on_delete()

    async def listing(
        self,
        account: str,
        region: str,
        *,
        prefix: str | None = None,
        pattern: str | None = None,
        group_class: str | None = None,
        identifiers: Sequence[str] | None = None,
        token: str | None = None,
        limit: int | None = None,
    ) -> tuple[list[LogGroup], str | None]:
        """DescribeLogGroups: a page of groups by name, and the token of the next."""
        if prefix and pattern:
            raise invalid_parameter("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
        await self._writer.settle()
        size = limit or PAGE_SIZE
        found = await self._storage.groups(
            account,
            region,
            after=_name_of(token, "g"),
            prefix=prefix or "",
            substring=pattern or "",
            group_class=group_class,
            names=None if identifiers is None else [_name_of_identifier(text) for text in identifiers],
            limit=size + 1,
        )
        return found[:size], _token("g", found[size - 1].name) if len(found) > size else None

    async def set_retention(self, account: str, region: str, name: str, days: int | None) -> None:
        """PutRetentionPolicy and, with None, DeleteRetentionPolicy."""
        if days is not None and days not in RETENTION_DAYS:
            allowed = ", ".join(map(str, RETENTION_DAYS))
            raise invalid_parameter(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{allowed}]"
            )
        group = await self.find(account, region, name)
        await self._storage.set_retention(group.id, days)

    async def add_tags(self, group: LogGroup, tags: Mapping[str, str]) -> None:
        """TagResource and TagLogGroup."""

        def add(old: dict[str, str]) -> dict[str, str]:
            new = {**old, **tags}
            if len(new) > MAX_TAGS:
                raise ServiceError(
                    "TooManyTagsException", f"A log group can have at most {MAX_TAGS} tags."
                )  # our words
            return new

        await self._storage.change_tags(group.id, add)

    async def remove_tags(self, group: LogGroup, keys: Collection[str]) -> None:
        """UntagResource and UntagLogGroup; keys that are not there do not matter."""

        def remove(old: dict[str, str]) -> dict[str, str]:
            return {key: value for key, value in old.items() if key not in keys}

        await self._storage.change_tags(group.id, remove)

    # --- streams ---

    async def find_stream(self, group: LogGroup, name: str) -> LogStreamState:
        """The stream of this name."""
        stream = await self._storage.stream(group.id, name)
        if stream is None:
            raise no_such_stream()
        return stream

    async def check_streams(self, group: LogGroup, names: Sequence[str]) -> None:
        """Raises if the group lacks one of these streams."""
        if await self._storage.missing_streams(group.id, names):
            raise no_such_stream()

    async def create_stream(self, account: str, region: str, group_name: str, name: str) -> None:
        """CreateLogStream."""
        group = await self.find(account, region, group_name)
        if not await self._storage.create_stream(group.id, name, self._clock.time_ms()):
            await self.find(account, region, group_name)  # it may have been deleted meanwhile
            raise stream_exists()

    async def delete_stream(self, account: str, region: str, group_name: str, name: str) -> None:
        """DeleteLogStream."""
        group = await self.find(account, region, group_name)
        await self._storage.delete_stream((await self.find_stream(group, name)).id)
        self._on_delete()

    async def streams(
        self,
        group: LogGroup,
        *,
        prefix: str | None = None,
        order_by: str | None = None,
        descending: bool = False,
        token: str | None = None,
        limit: int | None = None,
    ) -> tuple[list[LogStreamState], str | None]:
        """DescribeLogStreams: a page of streams by name or `LastEventTime`, and the token of the next."""
        by_last_event = order_by == "LastEventTime"
        if by_last_event and prefix:
            raise invalid_parameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
        kind = "t" if by_last_event else "n"
        after: tuple[int, str] | None = None
        if token is not None:
            after_ms, _, after_name = _name_of(token, kind).partition("/")
            if not after_ms.isdecimal():
                raise invalid_token()
            after = int(after_ms), after_name
        size = limit or PAGE_SIZE
        found = await self._storage.streams(
            group.id,
            prefix=prefix or "",
            by_last_event=by_last_event,
            descending=descending,
            after=after,
            limit=size + 1,
        )
        if len(found) <= size:
            return found, None
        last = found[size - 1]
        key_ms = (last.last_event_ms or 0) if by_last_event else 0
        return found[:size], _token(kind, f"{key_ms}/{last.name}")


def _name_of_identifier(identifier: str) -> str:
    parts = _ARN.fullmatch(identifier)
    return parts["name"] if parts is not None else identifier


def _token(kind: str, text: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([kind, text]).encode()).decode()


def _name_of(token: str | None, kind: str) -> str:
    """What a token of this kind holds, empty for no token."""
    if token is None:
        return ""
    try:
        content: Any = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise invalid_token() from error
    match content:
        case [str(found), str(text)] if found == kind:
            return text
        case _:
            raise invalid_token()
