"""Host names that are served, and signed links."""

from __future__ import annotations

import pytest

from lambdad.wire.access.hosts import HostNames
from lambdad.wire.access.links import SignedLinks


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:4566", "LOCALHOST:1", "x.y.localhost:4566", "127.0.0.1:4566", "127.1.2.3", "[::1]:4566",
     "[::1]", "localhost.", "lambda.example.org", "f.lambda.example.org:80"],
)  # fmt: skip
def test_names_of_this_machine_and_given_ones_are_served(host: str):
    assert HostNames("127.0.0.1", ["Lambda.example.org"]).serves(host)


@pytest.mark.parametrize(
    "host",
    ["", ":80", "evil.example", "localhost.evil.example", "evillocalhost", "10.0.0.1:4566", "[::2]", "[::1", "a:b:c",
     "localhost.localstack.cloud", "xlambda.example.org", ".localhost", "127.0.0.1.evil.example"],
)  # fmt: skip
def test_others_are_not(host: str):
    served = HostNames("127.0.0.1", ["lambda.example.org"]).serves(host)
    assert served == (host == ".localhost")  # resolves nowhere, so nobody can rebind it


def test_a_star_stands_for_the_names_below():
    hosts = HostNames("127.0.0.1", ["*.example.org"])
    assert hosts.serves("f.example.org:80")
    assert hosts.serves("a.f.example.org")
    assert not hosts.serves("example.org")
    assert not hosts.serves("fexample.org")


def test_the_bound_address_is_served_and_with_all_of_them_every_address():
    assert HostNames("10.0.0.1").serves("10.0.0.1:4566")
    assert not HostNames("10.0.0.1").serves("10.0.0.2:4566")
    assert HostNames("0.0.0.0").serves("10.0.0.2:4566")
    assert HostNames("::").serves("[fd00::1]:4566")
    assert not HostNames("0.0.0.0").serves("evil.example")


def test_memory_of_hosts_is_bounded():
    hosts = HostNames("127.0.0.1")
    for number in range(10_000):
        hosts.serves(f"evil{number}.example")
    assert len(hosts._known) <= 4096


def test_a_link_is_good_for_its_path_until_it_expires():
    links = SignedLinks(b"s" * 32)
    path, _, query = links.sign("/_lambdad/code/abc", 1000.9).partition("?")
    assert path == "/_lambdad/code/abc"
    assert links.allows(path, query, now=999)
    assert not links.allows(path, query, now=1000)
    assert not links.allows("/_lambdad/code/abd", query, now=999)
    assert not links.allows(path, query.replace("Expires=1000", "Expires=1001"), now=999)
    assert not SignedLinks(b"t" * 32).allows(path, query, now=999)


@pytest.mark.parametrize("query", ["", "Expires=1", "Expires=x&Signature=y", "Signature=%ff", "Expires=²&Signature=a"])
def test_broken_links_are_not_good(query: str):
    assert not SignedLinks(b"s" * 32).allows("/", query, now=0)
