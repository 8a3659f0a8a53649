"""botocore clients inside this process that call moto's services without the network.

A client is led there by a handler of its own (`before-send`), which answers in place of the network; other clients and
botocore itself stay as they are.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from lambdad.domain.credentials import root_arn
from lambdad.domain.identity import Caller
from lambdad.extras.moto_services import MotoServices
from lambdad.http.messages import Request, Response


def attach(moto: MotoServices, client: Any, account: str, region: str) -> None:
    """From now on the client, in path style, calls moto as the account's root. To be used off moto's own thread."""
    caller = Caller(account=account, region=region, access_key_id=account, arn=root_arn(account), user_id=account)
    name = client.meta.service_model.signing_name

    def send(request: Any, **_: Any) -> Any:
        from botocore.awsrequest import AWSResponse

        answer = moto.answer_now(name, caller, _request_of(request))
        return AWSResponse(request.url, answer.status, _headers(answer), _Raw(answer.body))

    client.meta.events.register(f"before-send.{client.meta.service_model.service_id.hyphenize()}", send)


def _headers(answer: Response) -> Any:
    from botocore.compat import HTTPHeaders

    return HTTPHeaders.from_pairs(answer.headers)


class _Raw(io.BytesIO):
    """The body of an answer, as botocore reads it from urllib3."""

    def stream(self, amt: int = 65_536, **_: Any) -> Iterator[bytes]:
        while piece := self.read(amt):
            yield piece


def _request_of(prepared: Any) -> Request:
    url = urlsplit(prepared.url)
    headers = {name.lower(): _text(value) for name, value in prepared.headers.items()}
    body = prepared.body
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, str):
        body = body.encode()
    return Request(prepared.method, url.path or "/", url.query, {**headers, "host": url.netloc}, bytes(body or b""))


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
