"""The host names that this server answers to.

A page of a foreign site can let its own name point at 127.0.0.1 (DNS rebinding) and then counts as same-origin with us;
its requests carry that name in the Host header. Addresses cannot be rebound.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

REMEMBERED = 4096


class HostNames:
    """`bound`: the address that the server listens on; `extra`: names given with --hostname, with their subdomains, or
    as `*.name` the subdomains alone."""

    def __init__(self, bound: str, extra: Iterable[str] = ()) -> None:
        given = {"localhost", *(name.lower().rstrip(".") for name in extra if name)}
        self._names = {name for name in given if not name.startswith("*.")}
        self._suffixes = tuple(f".{name.removeprefix('*.')}" for name in given)
        self._bound = _address(bound)
        if self._bound is None and bound:
            self._names.add(bound.lower())
        self._known: dict[str, bool] = {}

    def serves(self, host: str) -> bool:
        """Whether a Host header, with or without a port, is one of ours. An empty one is not."""
        known = self._known.get(host)
        if known is None:
            known = self._decide(host)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[host] = known
        return known

    def subdomain(self, host: str) -> str:
        """What a Host header has before one of our names, in lower case: `bucket.s3` of `bucket.s3.localhost:4566`."""
        name = _without_port(host).lower().rstrip(".")
        if name in self._names:
            return ""
        ours = max((suffix for suffix in self._suffixes if name.endswith(suffix)), key=len, default="")
        return name.removesuffix(ours) if ours else ""

    def _decide(self, host: str) -> bool:
        name = _without_port(host).lower().rstrip(".")
        if name in self._names or name.endswith(self._suffixes):
            return bool(name)
        address = _address(name)
        if address is None:
            return False
        if address.is_loopback or address == self._bound:
            return True
        return self._bound is not None and self._bound.is_unspecified  # bound to every address of the machine


def _without_port(host: str) -> str:
    if host.startswith("["):
        name, closed, _ = host[1:].partition("]")
        return name if closed else ""
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() and ":" not in name else host


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
