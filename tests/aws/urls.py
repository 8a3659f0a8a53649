"""Requests to function URLs as tests make them: over real HTTP, with the name of the URL in the Host header alone, so
that nothing has to be resolved."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.running import RunningServer


@dataclass(frozen=True)
class Answer:
    """A response that was read to its end."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of repeated ones the last."""
    cookies: list[str]
    body: bytes


class Url:
    """One function URL."""

    def __init__(self, server: RunningServer, address: str) -> None:
        self.address = address
        self.host = urlsplit(address).netloc
        self.id = self.host.partition(".")[0]
        self._port = server.port

    @contextmanager
    def opened(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """A response whose body the test reads itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, body, {"host": self.host, **(headers or {})})
            yield connection.getresponse()
        finally:
            connection.close()

    def __call__(self, method: str = "GET", path: str = "/", body: bytes | None = None, **headers: str) -> Answer:
        """Underscores in names of headers are dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self.opened(method, path, body, named) as response:
            found = response.getheaders()
            return Answer(
                status=response.status,
                headers={name.lower(): value for name, value in found},
                cookies=[value for name, value in found if name.lower() == "set-cookie"],
                body=response.read(),
            )


def open_to_all(client: Any, function: str, **address: str) -> dict[str, Any]:
    """Adds the permission that a URL without authentication needs."""
    added: dict[str, Any] = client.add_permission(
        FunctionName=function,
        StatementId="urlPermission",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
        **address,
    )
    return added
