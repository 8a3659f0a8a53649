"""The server's own endpoints under `/_lambdad/`: a registry that others fill, and who may call them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from lambdad.http.messages import Request, Response
from lambdad.http.protocol import Exchange
from lambdad.wire.access.errors import CrossOriginRefused
from lambdad.wire.protocols import json_values

PREFIX = "/_lambdad/"

OwnHandler = Callable[[Exchange], Awaitable[Response | None]]
"""Answers with a response, or by itself through the exchange and with None."""


@dataclass(frozen=True, slots=True)
class OwnEndpoint:
    """One endpoint. `is_open`: it checks its callers itself or lets everybody in, such as health and signed links."""

    handler: OwnHandler
    is_open: bool = False


class OwnEndpoints:
    """By method and path. A path that ends in `/*` takes everything below it."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], OwnEndpoint] = {}
        self._below: list[tuple[str, str, OwnEndpoint]] = []

    def add(self, method: str, path: str, handler: OwnHandler, *, is_open: bool = False) -> None:
        """Registers `/_lambdad/…`. Raises ValueError for another path or one that is taken."""
        if not path.startswith(PREFIX) or (method, path) in self._exact:
            raise ValueError(f"cannot register {method} {path}")
        endpoint = OwnEndpoint(handler, is_open)
        if path.endswith("/*"):
            self._below.append((method, path[:-1], endpoint))
            self._below.sort(key=lambda entry: len(entry[1]), reverse=True)
        else:
            self._exact[method, path] = endpoint

    def find(self, method: str, path: str) -> OwnEndpoint | None:
        """The endpoint of a request; HEAD is answered by GET's."""
        if method == "HEAD":
            method = "GET"
        endpoint = self._exact.get((method, path))
        if endpoint is not None:
            return endpoint
        for known_method, prefix, below in self._below:
            if method == known_method and path.startswith(prefix):
                return below
        return None

    def methods(self, path: str) -> list[str]:
        """The methods that a path has; empty for an unknown path."""
        exact = {method for method, known in self._exact if known == path}
        return sorted(exact | {method for method, prefix, _ in self._below if path.startswith(prefix)})


def refuse_other_origins(request: Request) -> None:
    """Raises CrossOriginRefused for what a browser sends on behalf of a page of another origin.

    Browsers say so with `Sec-Fetch-Site`, and older ones with `Origin` on everything but plain reads.
    """
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    same = origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    if site not in ("none", "same-origin") or not same:
        raise CrossOriginRefused("Pages of other origins may not use this endpoint.")


def health_handler(version: str, status: Callable[[], str] = lambda: "ok") -> OwnHandler:
    """`GET /_lambdad/health`: 200 and `{"status":"ok","version":"…","uptime_s":1.5}`."""
    started = time.monotonic()

    async def health(_: Exchange) -> Response:
        uptime_s = round(time.monotonic() - started, 3)
        body = json_values.dump({"status": status(), "version": version, "uptime_s": uptime_s})
        return Response(200, [("content-type", "application/json"), ("cache-control", "no-store")], body)

    return health
