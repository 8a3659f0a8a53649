"""Function URLs: create, look up, update, delete, list. The texts of refusals are AWS's (recorded 2025-11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from lambdad.control import paging
from lambdad.control.changes import key_of
from lambdad.domain.arns import FunctionReference
from lambdad.domain.errors import ResourceConflict, ResourceNotFound
from lambdad.domain.function_urls import CUSTOM_ID_TAG, Cors, FunctionUrl, id_of_new_url
from lambdad.storage import function_urls
from lambdad.storage.functions import FunctionRepository, FunctionTables


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSettings:
    """What a client gives; None is not given. `cors` without any member takes the settings away."""

    auth_type: str | None = None
    cors: Cors | None = None
    invoke_mode: str | None = None


class FunctionUrls:
    """The resource `url`. A URL stays when its alias is deleted, and answers again once there is such an alias."""

    def __init__(self, repository: FunctionRepository, now: Callable[[], datetime]) -> None:
        self._repository = repository
        self._now = now

    async def create(self, reference: FunctionReference, settings: UrlSettings) -> FunctionUrl:
        """A URL with an id of its own: one that was deleted never comes back, unless the function's tag names it."""
        key = key_of(reference)
        now = self._time()

        def job(tables: FunctionTables) -> FunctionUrl:
            function = tables.function(key)
            if function is None:
                raise _no_function()
            if function_urls.find(tables.transaction, key, reference.qualifier) is not None:
                raise ResourceConflict(
                    f"Failed to create function url config for [functionArn = {reference.arn}]. "
                    "Error message:  FunctionUrlConfig exists for this Lambda function"
                )
            if reference.qualifier is not None and tables.alias(key, reference.qualifier) is None:
                raise _no_function()
            url_id = id_of_new_url(function.tags, reference.qualifier)
            holder = function_urls.by_id(tables.transaction, url_id)
            if holder is not None:
                raise ResourceConflict(
                    f"The id {url_id}, which the tag {CUSTOM_ID_TAG} names, is that of the URL of "
                    f"{holder.reference.arn}."
                )
            url = FunctionUrl(
                id=url_id,
                account=key.account,
                region=key.region,
                function=key.name,
                qualifier=reference.qualifier,
                auth_type=settings.auth_type or "NONE",
                cors=_given(settings.cors),
                invoke_mode=settings.invoke_mode or "BUFFERED",
                created=now,
                last_modified=now,
            )
            function_urls.put(tables.transaction, url)
            return url

        return await self._repository.write(job)

    async def get(self, reference: FunctionReference) -> FunctionUrl:
        key = key_of(reference)
        url = await self._repository.write(
            lambda tables: function_urls.find(tables.transaction, key, reference.qualifier)
        )
        if url is None:
            raise _no_url()
        return url

    async def find(self, url_id: str) -> FunctionUrl | None:
        """The URL that a request came for."""
        return await function_urls.read(self._repository.engine, url_id)

    async def update(self, reference: FunctionReference, settings: UrlSettings) -> FunctionUrl:
        """Changes what is given and keeps the rest."""
        key = key_of(reference)
        now = self._time()

        def job(tables: FunctionTables) -> FunctionUrl:
            if not _is_there(tables, reference):
                raise _no_function()
            current = function_urls.find(tables.transaction, key, reference.qualifier)
            if current is None:
                raise _no_url()
            url = replace(
                current,
                auth_type=settings.auth_type or current.auth_type,
                cors=current.cors if settings.cors is None else _given(settings.cors),
                invoke_mode=settings.invoke_mode or current.invoke_mode,
                last_modified=now,
            )
            function_urls.put(tables.transaction, url)
            return url

        return await self._repository.write(job)

    async def delete(self, reference: FunctionReference) -> None:
        key = key_of(reference)
        if not await self._repository.write(
            lambda tables: function_urls.delete(tables.transaction, key, reference.qualifier)
        ):
            raise _no_url()

    async def list(
        self, reference: FunctionReference, *, marker: str | None = None, max_items: int | None = None
    ) -> paging.Page[FunctionUrl]:
        """The URL of a function, then those of its aliases by name, at most 50 at once."""
        key = key_of(reference)
        if await self._repository.function(key) is None:
            raise _no_function()
        start = paging.after(marker, (str,))
        size = paging.page_size(max_items)
        after = None if start is None else str(start[0])
        found = await function_urls.listing(self._repository.engine, key, after=after, limit=size + 1)
        return paging.page(found, size, lambda url: (url.qualifier or "",))

    def _time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _is_there(tables: FunctionTables, reference: FunctionReference) -> bool:
    key, name = key_of(reference), reference.qualifier
    return tables.function(key) is not None and (name is None or tables.alias(key, name) is not None)


def _given(cors: Cors | None) -> Cors | None:
    return None if cors == Cors() else cors


def _no_function() -> ResourceNotFound:
    return ResourceNotFound("Function does not exist")


def _no_url() -> ResourceNotFound:
    return ResourceNotFound("The resource you requested does not exist.")
