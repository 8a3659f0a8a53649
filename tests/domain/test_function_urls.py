"""CORS settings of function URLs, and their names."""

from __future__ import annotations

import re

import pytest

from lambdad.domain.function_urls import Cors, FunctionUrl, url_of_host

PAGE = "https://page.example"


def names(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {name.removeprefix("access-control-"): value for name, value in headers}


def test_an_origin_that_is_listed_is_named() -> None:
    cors = Cors(allow_origins=("https://a.example", PAGE), expose_headers=("x-a", "x-b"))
    assert names(cors.answer_headers(PAGE)) == {"allow-origin": PAGE, "vary": "Origin", "expose-headers": "x-a,x-b"}
    assert cors.answer_headers("https://b.example") == []
    assert cors.preflight_headers("https://b.example") == []


def test_every_origin() -> None:
    assert names(Cors(allow_origins=("*",)).answer_headers(PAGE)) == {"allow-origin": "*"}
    with_credentials = Cors(allow_origins=("*",), allow_credentials=True)
    assert names(with_credentials.answer_headers(PAGE)) == {
        "allow-origin": PAGE,
        "vary": "Origin",
        "allow-credentials": "true",
    }


def test_what_a_preflight_is_told() -> None:
    cors = Cors(allow_origins=("*",), allow_methods=("GET", "PUT"), allow_headers=("x-a",), max_age_s=0)
    assert names(cors.preflight_headers(PAGE)) == {
        "allow-origin": "*",
        "allow-methods": "GET,PUT",
        "allow-headers": "x-a",
        "max-age": "0",
    }


def test_settings_without_origins_let_in_nobody() -> None:
    assert Cors(allow_methods=("*",)).preflight_headers(PAGE) == []


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("abc.lambda-url.eu-west-1.localhost:4566", ("abc", "eu-west-1")),
        ("ABC.Lambda-Url.eu-west-1.lambda.example.org", ("abc", "eu-west-1")),
        ("localhost:4566", None),
        ("lambda-url.localhost", None),
        ("a.b.lambda-url.localhost", None),
        ("", None),
    ],
)
def test_names_of_urls(host: str, address: tuple[str, str] | None) -> None:
    assert url_of_host(host) == address


def test_every_url_has_an_id_of_its_own() -> None:
    made = [
        FunctionUrl(account="1", region="r", function="f", auth_type="NONE", created="", last_modified="")
        for _ in range(3)
    ]
    assert len({url.id for url in made}) == 3
    assert all(re.fullmatch("[a-z0-9]{32}", url.id) for url in made)
    assert url_of_host(made[0].host("localhost:1")) == (made[0].id, "r")
