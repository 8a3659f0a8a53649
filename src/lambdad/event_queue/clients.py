"""botocore clients of services that are reached over HTTP: outside of this server, or embedded without a store of ours.

botocore is imported with the first client.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

AWS = "aws"
"""Instead of a URL: the endpoint that AWS has for the region of the ARN."""
EMBEDDED = "embedded"
"""Instead of a URL: services in this process, which `attach` leads clients to."""
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 10

Attach = Callable[[Any, str, str], None]
"""Makes a client call the embedded services in place of the network: client, account, region."""


class Clients:
    """Makes each client once. For threads, since botocore waits.

    With `profile` requests are signed with the keys of that AWS profile. Without one, those to URLs are signed with
    test/test, so that no key of the user's goes to a stranger, and those to AWS with what botocore finds by itself.
    """

    def __init__(self, *, profile: str = "", attach: Attach | None = None) -> None:
        self._profile = profile
        self._attach = attach
        self._making = threading.Lock()
        self._sessions: dict[bool, Any] = {}
        self._clients: dict[tuple[str, str, str, str], Any] = {}

    @property
    def has_embedded(self) -> bool:
        return self._attach is not None

    def client(self, service: str, endpoint: str, region: str, account: str) -> Any:
        """`service` as botocore names it; the account matters to embedded services only, others know it by the keys."""
        key = (service, endpoint, region, account if endpoint == EMBEDDED else "")
        with self._making:  # sessions are not made for several threads, clients are
            if key not in self._clients:
                self._clients[key] = self._make_client(*key)
            return self._clients[key]

    def _make_client(self, service: str, endpoint: str, region: str, account: str) -> Any:
        from botocore.config import Config  # noqa: PLC0415

        keys: dict[str, Any] = {}
        if endpoint == EMBEDDED:
            keys = {
                "endpoint_url": f"http://{service}.localhost",
                "aws_access_key_id": account,
                "aws_secret_access_key": "test",
            }
        elif endpoint != AWS:
            keys["endpoint_url"] = endpoint
            if not self._profile:
                keys |= {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        settings: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
            # The outbox tries again, and outlives the server.
            "retries": {"total_max_attempts": 1},
            # The variables that lead clients to lambdad may be set where lambdad is started.
            "ignore_configured_endpoint_urls": True,
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "s3": None if endpoint == AWS else {"addressing_style": "path"},
        }
        client: Any = self._session(is_own="aws_access_key_id" not in keys).create_client(
            service,
            region_name=region,
            config=Config(**settings),
            **keys,
        )
        if endpoint == EMBEDDED and self._attach is not None:
            self._attach(client, account, region)
        if service == "lambda":
            client.meta.events.register("before-parameter-build.lambda.Invoke", _take_trace)
            client.meta.events.register("before-call.lambda.Invoke", _add_trace)
        return client

    def _session(self, *, is_own: bool) -> Any:
        """The user's own session, or one that no file or variable of the user's has a say in."""
        import botocore.session  # noqa: PLC0415

        if is_own not in self._sessions:
            if is_own:
                self._sessions[is_own] = botocore.session.Session(profile=self._profile or None)
            else:
                no_file = (None, None, os.devnull, None)
                variables: Any = {
                    "config_file": no_file,
                    "credentials_file": no_file,
                    "profile": (None, None, None, None),
                }
                self._sessions[is_own] = botocore.session.Session(session_vars=variables)
        return self._sessions[is_own]


def _take_trace(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Invoke has no parameter for the trace header; ours is taken out before botocore checks the others."""
    context["lambdad_trace"] = params.pop("TraceHeader", "")


def _add_trace(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    if context.get("lambdad_trace"):
        params["headers"]["X-Amzn-Trace-Id"] = context["lambdad_trace"]
