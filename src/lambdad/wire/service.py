"""The seam between the wire and a service: one handler for each operation, named as in botocore's model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lambdad.domain.identity import Caller
from lambdad.http.messages import Request


@dataclass(slots=True, kw_only=True)
class ApiCall:
    """One call of an operation, parsed and validated against the service model."""

    caller: Caller
    operation: str
    params: dict[str, Any]
    """Members by their name in the model; blobs are bytes, timestamps are aware datetimes."""
    request_id: str
    request: Request
    on_disconnect: Callable[[Callable[[], None]], None] | None = None
    """Takes what to do when the client goes away before it has its answer; for handlers that wait for long."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """The output of an operation: members by name, and the status where it differs from the model's."""

    members: Mapping[str, Any] = field(default_factory=dict)
    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)


Handler = Callable[[ApiCall], Awaitable[Answer]]


@dataclass(slots=True, kw_only=True)
class Service:
    """A service of the front door."""

    name: str
    """The name of botocore's model: `lambda`, `logs`, `iam`, `sts`…"""
    signing_names: tuple[str, ...]
    """The service names in the scope of signatures that mean this service."""
    handlers: Mapping[str, Handler]
    """By operation; an operation of the model without a handler is refused as not implemented."""
    checks_itself: bool = False
    """The constraints of the model are not checked before a call; the service has other texts for them."""
