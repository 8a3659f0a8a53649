"""What an extension may ask of the Telemetry API and of its older sister, the Logs API (AWS Lambda developer guide).

Unsure, decided here: a missing schemaVersion is the oldest; several mistakes are told in one message, joined by `; `,
as in the guide's one example (`URI port is not provided; types should not be empty`). The other texts are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

SANDBOX_NAMES: Final = ("sandbox.localdomain", "sandbox")
"""The names by which an environment is reached; telemetry goes nowhere else."""


class Api(Enum):
    """Which of the two."""

    TELEMETRY = "Telemetry"
    LOGS = "Logs"


SCHEMA_VERSIONS: Final = {
    Api.TELEMETRY: ("2022-07-01", "2022-12-13", "2025-01-29"),
    Api.LOGS: ("2020-08-15", "2021-03-18"),
}
TYPES: Final = ("platform", "function", "extension")


@dataclass(frozen=True, slots=True)
class _Limit:
    lowest: int
    highest: int
    default: int


_BUFFERING: Final = {
    "maxItems": _Limit(1_000, 10_000, 10_000),
    "maxBytes": _Limit(262_144, 1_048_576, 262_144),
    "timeoutMs": _Limit(25, 30_000, 1_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where records go, inside the environment."""

    port: int
    path: str = ""
    """With the query; empty for TCP."""
    host: str = ""
    """As subscribed, for the Host header."""
    method: str = "POST"

    @property
    def is_http(self) -> bool:
        return bool(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What one extension wants to be told, and how."""

    api: Api
    schema_version: str
    types: tuple[str, ...]
    max_items: int
    max_bytes: int
    timeout_ms: int
    destination: Destination


class InvalidSubscription(Exception):
    """The text names every mistake."""


def parse(api: Api, body: Any) -> Subscription:
    """A subscription from the decoded request. Raises InvalidSubscription."""
    if not isinstance(body, Mapping):
        raise InvalidSubscription("the body should be a JSON object")
    wrong: list[str] = []
    versions = SCHEMA_VERSIONS[api]
    version = body.get("schemaVersion", versions[0])
    if version not in versions:
        wrong.append(f"schemaVersion should be one of {', '.join(versions)}")
    destination = _destination(api, body.get("destination"), wrong)
    types = _types(body.get("types"), wrong)
    buffering = body.get("buffering") or {}
    sizes = {name: limit.default for name, limit in _BUFFERING.items()}
    if isinstance(buffering, Mapping):
        for name, limit in _BUFFERING.items():
            sizes[name] = _size(name, buffering.get(name), limit, wrong)
    else:
        wrong.append("buffering should be an object")
    if wrong or destination is None:
        raise InvalidSubscription("; ".join(wrong))
    return Subscription(
        api=api,
        schema_version=version,
        types=types,
        max_items=sizes["maxItems"],
        max_bytes=sizes["maxBytes"],
        timeout_ms=sizes["timeoutMs"],
        destination=destination,
    )


def _types(given: Any, wrong: list[str]) -> tuple[str, ...]:
    if not given:
        wrong.append("types should not be empty")
    elif not isinstance(given, list) or any(one not in TYPES for one in given):
        wrong.append(f"types should be of {', '.join(TYPES)}")
    else:
        return tuple(dict.fromkeys(given))
    return ()


def _size(name: str, given: Any, limit: _Limit, wrong: list[str]) -> int:
    if given is None:
        return limit.default
    if isinstance(given, bool) or not isinstance(given, int) or not limit.lowest <= given <= limit.highest:
        wrong.append(f"{name} should be a number from {limit.lowest} to {limit.highest}")
        return limit.default
    return given


def _destination(api: Api, given: Any, wrong: list[str]) -> Destination | None:
    if not isinstance(given, Mapping):
        wrong.append("destination is not provided")
        return None
    protocol = given.get("protocol")
    if protocol == "TCP":
        port = given.get("port")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65_536:
            wrong.append("port should be a number from 1 to 65535")
            return None
        return Destination(port=port)
    if protocol != "HTTP":
        wrong.append("protocol should be HTTP or TCP")
        return None
    method = given.get("method", "POST")
    if method not in (("POST", "PUT") if api is Api.LOGS else ("POST",)):
        wrong.append(f"method {method} is not supported")
    if given.get("encoding", "JSON") != "JSON":
        wrong.append("encoding should be JSON")
    return _http(given.get("URI"), method, wrong)


def _http(uri: Any, method: str, wrong: list[str]) -> Destination | None:
    if not isinstance(uri, str) or not uri:
        wrong.append("URI is not provided")
        return None
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        wrong.append("URI is not valid")
        return None
    if parts.scheme != "http" or parts.hostname not in SANDBOX_NAMES:
        wrong.append(f"URI should begin with http://{SANDBOX_NAMES[0]}:")
        return None
    if not port:
        wrong.append("URI port is not provided")
        return None
    path = parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    if not path.isascii() or not path.isprintable() or " " in path:
        wrong.append("URI is not valid")
        return None
    return Destination(port=port, path=path, host=f"{parts.hostname}:{port}", method=method)
