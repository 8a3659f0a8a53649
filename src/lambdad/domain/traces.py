"""The X-Ray trace header: `Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=0;Lineage=1:<8 hex>:0`.

A caller's Root and Sampled are kept and its Parent is replaced (AWS Lambda developer guide). Lineage counts how often
a chain has come by: `Lineage=<depth>:<hash of the function>:<depth - 1>`, as seen on AWS in 2026.
"""

from __future__ import annotations

import random
import zlib

_random = random.SystemRandom().getrandbits(64)
_generator = random.Random(_random)  # noqa: S311 - ids of traces are no secrets, and this is on the hot path


def reseed() -> None:
    """Draws a new seed, for a process that was forked."""
    _generator.seed()


def trace_header(incoming: str, function_arn: str, now_s: float, *, is_active: bool = False) -> str:
    """The header that the function sees, from the one that the caller sent ('' for none).

    Whether a call is sampled is the caller's decision. Where it left that open, calls of a function with active
    tracing are sampled (AWS Lambda developer guide; X-Ray would take the first of each second and a part of the rest).
    """
    getrandbits = _generator.getrandbits
    if not incoming and not is_active:
        digits = f"{getrandbits(160):040x}"  # drawn once: a draw costs more than a cut
        end = _first_ends.get(function_arn) or _first_end(function_arn)
        return f"Root=1-{int(now_s):08x}-{digits[:24]};Parent={digits[24:]};{end}"
    fields = parse(incoming)
    root = fields.get("Root") or new_root(now_s)
    sampled = fields.get("Sampled", "")
    if sampled not in ("0", "1"):
        sampled = "1" if is_active else "0"
    depth = lineage_depth(fields.get("Lineage", "")) + 1
    return (
        f"Root={root};Parent={getrandbits(64):016x};Sampled={sampled};"
        f"Lineage={depth}:{function_hash(function_arn)}:{depth - 1}"
    )


def new_root(now_s: float) -> str:
    """The id of a trace that begins now."""
    return f"1-{int(now_s):08x}-{_generator.getrandbits(96):024x}"


def parse(header: str) -> dict[str, str]:
    """The parts of a header by name; parts without `=` are dropped."""
    fields: dict[str, str] = {}
    for part in header.split(";"):
        name, separator, value = part.strip().partition("=")
        if separator:
            fields[name] = value
    return fields


def lineage_depth(lineage: str) -> int:
    """How many functions the chain has come through: 0 for an absent or unreadable Lineage."""
    depth, _, _ = lineage.partition(":")
    return int(depth) if depth.isascii() and depth.isdigit() else 0


_hashes: dict[str, str] = {}
_first_ends: dict[str, str] = {}
"""Function ARN to the end of the headers of chains that begin with it."""


def _first_end(function_arn: str) -> str:
    if len(_first_ends) > 10_000:
        _first_ends.clear()
    end = _first_ends[function_arn] = f"Sampled=0;Lineage=1:{function_hash(function_arn)}:0"
    return end


def function_hash(function_arn: str) -> str:
    """Eight hex digits that stand for a function in Lineage."""
    known = _hashes.get(function_arn)
    if known is None:
        if len(_hashes) > 10_000:
            _hashes.clear()
        known = _hashes[function_arn] = f"{zlib.crc32(function_arn.encode()):08x}"
    return known
