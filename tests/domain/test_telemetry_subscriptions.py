"""What may be subscribed to."""

from __future__ import annotations

from typing import Any

import pytest

from lambdad.domain.telemetry_subscriptions import Api, Destination, InvalidSubscription, Subscription, parse

HTTP = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/path?x=1"}


def a_body(**changes: Any) -> dict[str, Any]:
    body = {"schemaVersion": "2022-12-13", "types": ["platform"], "destination": HTTP} | changes
    return {name: value for name, value in body.items() if value is not None}


def test_defaults() -> None:
    assert parse(Api.TELEMETRY, a_body()) == Subscription(
        api=Api.TELEMETRY,
        schema_version="2022-12-13",
        types=("platform",),
        max_items=10_000,
        max_bytes=262_144,
        timeout_ms=1_000,
        destination=Destination(port=8080, path="/path?x=1", host="sandbox.localdomain:8080"),
    )
    assert parse(Api.TELEMETRY, a_body(schemaVersion=None)).schema_version == "2022-07-01"
    assert parse(Api.LOGS, a_body(schemaVersion=None)).schema_version == "2020-08-15"


def test_everything_given() -> None:
    buffering = {"maxItems": 1000, "maxBytes": 1_048_576, "timeoutMs": 25}
    found = parse(
        Api.TELEMETRY,
        a_body(
            schemaVersion="2025-01-29",
            types=["function", "extension", "platform", "function"],
            buffering=buffering,
            destination={"protocol": "TCP", "port": 9},
        ),
    )
    assert found.types == ("function", "extension", "platform")
    assert (found.max_items, found.max_bytes, found.timeout_ms) == (1000, 1_048_576, 25)
    assert found.destination == Destination(port=9)
    assert not found.destination.is_http


def test_the_logs_api_takes_put() -> None:
    assert (
        parse(Api.LOGS, a_body(schemaVersion="2021-03-18", destination=HTTP | {"method": "PUT"})).destination.method
        == "PUT"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schemaVersion": "2020-08-15"}, "schemaVersion should be one of 2022-07-01, 2022-12-13, 2025-01-29"),
        ({"types": []}, "types should not be empty"),
        ({"types": None}, "types should not be empty"),
        ({"types": ["other"]}, "types should be of platform, function, extension"),
        ({"types": "platform"}, "types should be of platform, function, extension"),
        ({"buffering": {"maxItems": 999}}, "maxItems should be a number from 1000 to 10000"),
        ({"buffering": {"maxItems": True}}, "maxItems should be a number from 1000 to 10000"),
        ({"buffering": {"maxBytes": 1_048_577}}, "maxBytes should be a number from 262144 to 1048576"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs should be a number from 25 to 30000"),
        ({"buffering": {"timeoutMs": "100"}}, "timeoutMs should be a number from 25 to 30000"),
        ({"buffering": [1]}, "buffering should be an object"),
        ({"destination": None}, "destination is not provided"),
        ({"destination": {"protocol": "UDP"}}, "protocol should be HTTP or TCP"),
        ({"destination": {"protocol": "TCP"}}, "port should be a number from 1 to 65535"),
        ({"destination": {"protocol": "TCP", "port": 65_536}}, "port should be a number from 1 to 65535"),
        ({"destination": {"protocol": "HTTP"}}, "URI is not provided"),
        ({"destination": HTTP | {"URI": "http://sandbox.localdomain/"}}, "URI port is not provided"),
        ({"destination": HTTP | {"URI": "http://sandbox.localdomain:99999/"}}, "URI is not valid"),
        ({"destination": HTTP | {"URI": "http://sandbox.localdomain:80/a\r\nb: c"}}, "URI is not valid"),
        ({"destination": HTTP | {"URI": "http://10.0.0.1:80/"}}, "URI should begin with http://sandbox.localdomain:"),
        ({"destination": HTTP | {"URI": "https://sandbox.localdomain:80/"}}, "URI should begin with http://sandbox.localdomain:"),
        ({"destination": HTTP | {"method": "PUT"}}, "method PUT is not supported"),
        ({"destination": HTTP | {"encoding": "CBOR"}}, "encoding should be JSON"),
    ],
)  # fmt: skip
def test_mistakes_are_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSubscription) as mistake:
        parse(Api.TELEMETRY, a_body(**changes))
    assert str(mistake.value) == message


def test_several_mistakes_are_told_together() -> None:
    with pytest.raises(InvalidSubscription) as mistake:
        parse(Api.LOGS, {"types": [], "destination": {"protocol": "HTTP", "URI": "http://sandbox:/"}})
    assert str(mistake.value) == "URI port is not provided; types should not be empty"


@pytest.mark.parametrize("body", [None, [], "text", 1])
def test_anything_but_an_object_is_refused(body: Any) -> None:
    with pytest.raises(InvalidSubscription):
        parse(Api.TELEMETRY, body)
