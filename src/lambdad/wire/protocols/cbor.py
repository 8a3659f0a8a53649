"""CBOR (RFC 8949), as much as Smithy's RPC v2 uses: maps with text keys, arrays, texts, bytes, numbers, times.

Of our own because it is two pages of code, and a library with a compiled part would serve one protocol of one service.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

MAX_DEPTH = 64
_INDEFINITE = 31
_BREAK = object()
_EPOCH_TAG = 1


class NotCbor(ValueError):
    """The bytes are not one value of CBOR that this module reads."""


def dump(value: Any) -> bytes:
    """A value of None, bool, int, float, str, bytes, datetime (tag 1), mappings with text keys and sequences."""
    out = bytearray()
    _write(out, value)
    return bytes(out)


def _write(out: bytearray, value: Any) -> None:
    if value is None or value is True or value is False:
        out.append({None: 0xF6, True: 0xF5, False: 0xF4}[value])
    elif isinstance(value, int | float):
        _write_number(out, value)
    elif isinstance(value, str | bytes | bytearray):
        content = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        _head(out, 3 if isinstance(value, str) else 2, len(content))
        out += content
    elif isinstance(value, datetime):
        _head(out, 6, _EPOCH_TAG)
        seconds = round(value.timestamp(), 3)
        _write_number(out, int(seconds) if seconds == int(seconds) else seconds)
    else:
        _write_container(out, value)


def _write_number(out: bytearray, value: Any) -> None:
    if isinstance(value, float):
        out += struct.pack(">Bd", 0xFB, value)
    elif value >= 0:
        _head(out, 0, value)
    else:
        _head(out, 1, -1 - value)


def _write_container(out: bytearray, value: Any) -> None:
    if isinstance(value, Mapping):
        _head(out, 5, len(value))
        for key, item in value.items():
            _write(out, str(key))
            _write(out, item)
    elif isinstance(value, Sequence):
        _head(out, 4, len(value))
        for item in value:
            _write(out, item)
    else:
        raise TypeError(f"CBOR has no form for {type(value).__name__}")


def _head(out: bytearray, major: int, number: int) -> None:
    for size, info in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if number < 24:
            out.append(major << 5 | number)
            return
        if number < 1 << (8 * size):
            out.append(major << 5 | info)
            out += number.to_bytes(size, "big")
            return
    raise TypeError("CBOR has no form for integers of more than 64 bits")


def load(data: bytes) -> Any:
    """The one value of `data`; times are aware datetimes. Raises NotCbor."""
    reader = _Reader(data)
    try:
        value = reader.value(0)
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError, OSError) as error:
        raise NotCbor(str(error)) from error
    if value is _BREAK or reader.place != len(data):
        raise NotCbor("bytes follow the value")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0
        self._readers: tuple[Callable[[int, int], Any], ...] = (
            lambda info, _: self._number(info),
            lambda info, _: -1 - self._number(info),
            lambda info, depth: b"".join(self._pieces(2, info, depth)),
            lambda info, depth: b"".join(self._pieces(3, info, depth)).decode(),
            lambda info, depth: list(self._items(info, depth)),
            self._map,
            self._tagged,
            lambda info, _: self._simple(info),
        )

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise NotCbor("too deeply nested")
        head = self._data[self.place]
        self.place += 1
        return self._readers[head >> 5](head & 31, depth + 1)

    def _take(self, size: int) -> bytes:
        end = self.place + size
        if end > len(self._data):
            raise NotCbor("the end is missing")
        piece = self._data[self.place : end]
        self.place = end
        return piece

    def _number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise NotCbor("a length is of no known form")
        return int.from_bytes(self._take(1 << (info - 24)), "big")

    def _pieces(self, major: int, info: int, depth: int) -> list[bytes]:
        if info != _INDEFINITE:
            return [self._take(self._number(info))]
        pieces = []
        while (head := self._data[self.place]) != 0xFF:
            if head >> 5 != major or head & 31 == _INDEFINITE or depth > MAX_DEPTH:
                raise NotCbor("a piece of a text is none")
            self.place += 1
            pieces.append(self._take(self._number(head & 31)))
        self.place += 1
        return pieces

    def _items(self, info: int, depth: int) -> list[Any]:
        if info != _INDEFINITE:
            return [self._item(depth) for _ in range(self._bounded(info))]
        items = []
        while (item := self.value(depth)) is not _BREAK:
            items.append(item)
        return items

    def _map(self, info: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        left = -1 if info == _INDEFINITE else self._bounded(info)
        while left:
            key = self.value(depth)
            if key is _BREAK and left < 0:
                break
            if not isinstance(key, str):
                raise NotCbor("the key of a map is not a text")
            found[key] = self._item(depth)
            left -= 1
        return found

    def _item(self, depth: int) -> Any:
        item = self.value(depth)
        if item is _BREAK:
            raise NotCbor("an item is missing")
        return item

    def _bounded(self, info: int) -> int:
        """A number of items, each of which takes a byte at least."""
        count = self._number(info)
        if count > len(self._data):
            raise NotCbor("the end is missing")
        return count

    def _tagged(self, info: int, depth: int) -> Any:
        tag, value = self._number(info), self._item(depth)
        if tag == _EPOCH_TAG and isinstance(value, int | float) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
        if tag in (2, 3) and isinstance(value, bytes):
            number = int.from_bytes(value, "big")
            return number if tag == 2 else -1 - number
        return value

    def _simple(self, info: int) -> Any:
        if info in (20, 21):
            return info == 21
        if info in (22, 23):
            return None
        if info in (25, 26, 27):
            form = {25: ">e", 26: ">f", 27: ">d"}[info]
            return struct.unpack(form, self._take(struct.calcsize(form)))[0]
        if info == _INDEFINITE:
            return _BREAK
        raise NotCbor("a simple value is of no known kind")
