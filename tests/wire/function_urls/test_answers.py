"""Results of functions as HTTP responses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdad.domain.invocations import Outcome
from lambdad.wire.function_urls.answers import HTTP_INTEGRATION, PRELUDE_END, BadAnswer, UrlAnswer, answer_of

JSON = ("content-type", "application/json")


def answer(result: Any, content_type: str = "application/json") -> UrlAnswer:
    payload = result if isinstance(result, bytes) else json.dumps(result).encode()
    return answer_of(Outcome(payload=payload, content_type=content_type))


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (b'{"hello": "world"}', b'{"hello":"world"}'),
        (b'["hello", 3, true]', b'["hello",3,true]'),
        (b'"hello"', b"hello"),
        (b'"a \\"b\\" \\u00e4"', 'a "b" ä'.encode()),
        (b"3", b"3"), (b"3.10", b"3.10"), (b"true", b"true"), (b"null", b"null"), (b'""', b""),
        (b'{"body": "b", "headers": {}}', b'{"body":"b","headers":{}}'),
        (b"[1e999, 1]", b"[1e999, 1]"),
    ],
)  # fmt: skip
def test_any_other_value_is_the_body(payload: bytes, body: bytes) -> None:
    assert answer(payload) == UrlAnswer(status=200, headers=[JSON], body=body)


def test_a_response_as_the_function_wants_it() -> None:
    made = answer({
        "statusCode": 201,
        "headers": {"X-One": "1", "x-two": 2, "x-three": True, "x-none": None, "Content-Type": "text/html"},
        "cookies": ["a=1; HttpOnly", "b=2"],
        "body": "<p>ä</p>",
        "isBase64Encoded": False,
    })  # fmt: skip
    assert made == UrlAnswer(
        status=201,
        headers=[
            ("x-one", "1"), ("x-two", "2"), ("x-three", "true"), ("content-type", "text/html"),
            ("set-cookie", "a=1; HttpOnly"), ("set-cookie", "b=2"),
        ],
        body="<p>ä</p>".encode(),
    )  # fmt: skip


def test_defaults_of_a_response() -> None:
    assert answer({"statusCode": "404"}) == UrlAnswer(status=404, headers=[JSON])
    assert answer({"statusCode": 204.0, "body": None, "headers": None, "cookies": None}).status == 204


def test_a_binary_body() -> None:
    assert answer({"statusCode": 200, "body": "AP/+", "isBase64Encoded": True}).body == b"\x00\xff\xfe"


@pytest.mark.parametrize(
    "result",
    [
        b"not JSON", b"",
        {"statusCode": "ok"}, {"statusCode": None}, {"statusCode": True}, {"statusCode": 99}, {"statusCode": 600},
        {"statusCode": 200.5}, {"statusCode": 200, "body": {"a": 1}}, {"statusCode": 200, "body": 1},
        {"statusCode": 200, "body": "*", "isBase64Encoded": True}, {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a b": "c"}}, {"statusCode": 200, "headers": {"a": "b\r\nset-cookie: c"}},
        {"statusCode": 200, "headers": {"a": ["b"]}}, {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": ["a=1\nx"]}, {"statusCode": 200, "headers": {"": "b"}},
    ],
)  # fmt: skip
def test_what_is_no_response(result: Any) -> None:
    with pytest.raises(BadAnswer):
        answer(result)


def test_a_stream_that_came_whole() -> None:
    prelude = json.dumps({"statusCode": 418, "headers": {"x-a": "b"}, "cookies": ["c=d"]}).encode()
    made = answer(prelude + PRELUDE_END + b"\0rest", HTTP_INTEGRATION)
    assert (made.status, made.body) == (418, b"\0rest")
    assert made.headers == [("content-type", "application/octet-stream"), ("x-a", "b"), ("set-cookie", "c=d")]
    assert answer(b"text", "text/plain") == UrlAnswer(
        status=200, headers=[("content-type", "text/plain")], body=b"text"
    )
    for broken in (b"{}", b"{" + PRELUDE_END, b"[]" + PRELUDE_END):
        with pytest.raises(BadAnswer):
            answer(broken, HTTP_INTEGRATION)
