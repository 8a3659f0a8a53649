"""Requests to function URLs as events."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lambdad.domain.function_urls import FunctionUrl
from lambdad.domain.identity import Caller
from lambdad.http.messages import Request
from lambdad.wire.function_urls.events import UrlCall, event_of, trace_of

URL = FunctionUrl(
    id="a" * 32,
    account="111111111111",
    region="us-east-1",
    function="f",
    auth_type="NONE",
    created="",
    last_modified="",
)
HOST = f"{URL.id}.lambda-url.us-east-1.localhost:4566"


def event(
    path: str = "/", query: str = "", body: bytes = b"", caller: Caller | None = None, **headers: str
) -> dict[str, Any]:
    named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = Request("POST", path, query, named, body, peer_host="10.0.0.7", local_port=4566)
    call = UrlCall(
        url=URL,
        request=request,
        path=path,
        domain=HOST,
        request_id="r-1",
        received=datetime(2020, 3, 12, 19, 3, 58, 390_000, UTC),
        caller=caller,
    )
    made: dict[str, Any] = json.loads(event_of(call, "Root=1-x"))
    return made


def test_the_whole_event_of_the_plainest_request() -> None:
    assert event(user_agent="curl/8") == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "host": HOST,
            "user-agent": "curl/8",
            "x-forwarded-for": "10.0.0.7",
            "x-forwarded-port": "4566",
            "x-forwarded-proto": "http",
            "x-amzn-tls-version": "TLSv1.3",
            "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256",
            "x-amzn-trace-id": "Root=1-x",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": URL.id,
            "domainName": HOST,
            "domainPrefix": URL.id,
            "http": {
                "method": "POST",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "10.0.0.7",
                "userAgent": "curl/8",
            },
            "requestId": "r-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1584039838390,
        },
        "isBase64Encoded": False,
    }


def test_the_path_stays_as_it_was_sent_and_the_query_comes_twice() -> None:
    seen = event("/pa2%Fth/%C3%A4", "q=a%20b&q=c+d&empty=&m=%2Fbar&flag")
    assert seen["rawPath"] == seen["requestContext"]["http"]["path"] == "/pa2%Fth/%C3%A4"
    assert seen["rawQueryString"] == "q=a%20b&q=c+d&empty=&m=%2Fbar&flag"
    assert seen["queryStringParameters"] == {"q": "a b,c d", "empty": "", "m": "/bar", "flag": ""}


def test_cookies_are_listed() -> None:
    assert event(cookie="a=1; b=2;c=3")["cookies"] == ["a=1", "b=2", "c=3"]
    assert "cookies" not in event()


def test_headers_of_the_connection_do_not_arrive() -> None:
    headers = event(body=b"1234", connection="keep-alive", transfer_encoding="chunked", accept="*/*")["headers"]
    assert headers.keys() & {"connection", "transfer-encoding"} == set()
    assert (headers["accept"], headers["content-length"]) == ("*/*", "4")


def test_a_client_behind_proxies() -> None:
    assert event(x_forwarded_for="192.0.2.1")["headers"]["x-forwarded-for"] == "192.0.2.1, 10.0.0.7"


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("application/json", b'{"a":1}', '{"a":1}'),
        ("text/plain; charset=utf-8", "ä".encode(), "ä"),
        ("application/vnd.api+json", b"1", "1"),
        ("application/xml", b"<a/>", "<a/>"),
        ("application/javascript", b"1", "1"),
        ("text/plain", b"\xff\xfe", None),
        ("multipart/form-data; boundary=x", b"--x--", None),
        ("application/x-www-form-urlencoded", b"a=1", None),
        ("application/octet-stream", b"abc", None),
        ("", b"abc", None),
    ],
)
def test_bodies_are_texts_or_base64(content_type: str, body: bytes, text: str | None) -> None:
    seen = event(body=body, **({"content_type": content_type} if content_type else {}))
    assert seen["isBase64Encoded"] is (text is None)
    assert seen["body"] == (base64.b64encode(body).decode() if text is None else text)


def test_a_request_without_a_body() -> None:
    assert "body" not in event(content_type="application/json")


def test_who_signed() -> None:
    arn = "arn:aws:iam::222222222222:root"
    caller = Caller(account="222222222222", region="us-east-1", access_key_id="AKIA1", arn=arn, user_id="U1")
    context = event(caller=caller)["requestContext"]
    assert context["accountId"] == "222222222222"
    assert context["authorizer"] == {
        "iam": {
            "accessKey": "AKIA1",
            "accountId": "222222222222",
            "callerId": "U1",
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": arn,
            "userId": "U1",
        }
    }


def test_a_trace_goes_on_or_begins() -> None:
    shown, trace = trace_of(Request("GET", "/"), 1_600_000_000)
    assert shown == trace
    assert trace.startswith("Root=1-5f5e1000-")
    given = "Root=1-5f5e0fff-aaaaaaaaaaaaaaaaaaaaaaaa;Sampled=1"
    shown, trace = trace_of(Request("GET", "/", "", {"x-amzn-trace-id": given}), 1_600_000_000)
    assert trace == given
    assert shown.startswith("Self=1-5f5e1000-")
    assert shown.endswith(f";{given}")
