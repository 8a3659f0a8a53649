"""Events from JSON and results to JSON, with the habits of the encoder that AWS's runtime uses (simplejson).

The standard library's encoder does the work, in C. Where simplejson differs, results are put right before or after:
Decimals are written as numbers, bytes inside are text, a named tuple (or whatever has `_asdict`) is an object.
"""

# ruff: noqa: B905 - zip has no `strict` before Python 3.10
from __future__ import annotations

import decimal
import json
import marshal
import math
import os
from collections.abc import Callable, Iterable
from typing import Any

from . import faults

JSON_TYPE = "application/json"
BYTES_TYPE = "application/unknown"

_FIRST_WITH_PLAIN_TEXT = (3, 12)
"""From this runtime on characters beyond ASCII are written as they are (awslambdaric)."""


def writes_plain_text(execution_environment: str) -> bool:
    """Whether the runtime named by AWS_EXECUTION_ENV writes characters beyond ASCII as they are."""
    _, _, version = execution_environment.rpartition("AWS_Lambda_python")
    try:
        major, minor = version.split(".")
        return (int(major), int(minor)) >= _FIRST_WITH_PLAIN_TEXT
    except ValueError:
        return False


def _plain_encoder(plain_text: bool) -> Callable[[Any, int], Iterable[str]]:
    """The encoder in C, made once and not for each result, and without noting what it is inside of: two thirds of the
    time of `JSONEncoder.encode`. A value that contains itself then ends at the limit of recursion."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    write_text = json.encoder.encode_basestring_ascii
    if plain_text:
        write_text = json.encoder.encode_basestring
    if make is None:  # an interpreter without it
        return lambda value, _: (json.dumps(value, ensure_ascii=not plain_text, default=_refuse),)
    encoder: Callable[[Any, int], Iterable[str]] = make(None, _refuse, write_text, None, ": ", ", ", False, False, True)
    return encoder


def _refuse(_: Any) -> Any:
    raise TypeError


class Encoder:
    """Writes results; one for the life of the process."""

    def __init__(self, plain_text: bool) -> None:
        encoder = json.JSONEncoder(ensure_ascii=not plain_text, default=self._default)
        self._encode = encoder.encode
        self._encode_plainly = _plain_encoder(plain_text)
        # Stands before a Decimal's digits while they pass through the encoder as a text.
        self._mark = "decimal-" + os.urandom(12).hex() + ":"
        self._met_decimals = False

    def encode(self, value: Any) -> str:
        """JSON text, with Python's usual separators. Raises what the encoder raises."""
        try:
            text = "".join(self._encode_plainly(value, 0))
            # Fails at once, and in C, on anything but exact built-in types: only those need no second look. Not tried
            # before the text is there, because it does not stop at a value that contains itself.
            marshal.dumps(value, 2)
            return text
        except Exception:
            return self._encode_carefully(value)

    def _encode_carefully(self, value: Any) -> str:
        value = _as_objects(value, set())
        try:
            text = self._encode(value)
        except TypeError as error:
            adapted = _with_text_keys(value)
            if adapted is value:
                message = str(error)
                if message.startswith("keys must be "):  # simplejson names the class alone, without its module
                    head, _, name = message.rpartition(" ")
                    message = head + " " + name.rpartition(".")[2]
                raise TypeError(message) from None
            text = self._encode(adapted)
        if self._met_decimals:
            self._met_decimals = False
            text = self._unmark(text)
        return text

    def _default(self, value: Any) -> Any:
        if isinstance(value, decimal.Decimal):
            if value.is_nan():
                return math.nan
            self._met_decimals = True
            return self._mark + str(value)
        if isinstance(value, bytes):
            return value.decode("utf-8")
        as_dict = getattr(value, "_asdict", None)
        if callable(as_dict):
            return as_dict()
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    def _unmark(self, text: str) -> str:
        pieces = text.split('"' + self._mark)
        for index in range(1, len(pieces)):
            digits, _, rest = pieces[index].partition('"')
            pieces[index] = digits + rest
        return "".join(pieces)


def _as_objects(value: Any, above: set[int]) -> Any:
    """The value with named tuples replaced by dictionaries; the very same object if there are none."""
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) in above:
        raise ValueError("Circular reference detected")
    above.add(id(value))
    try:
        if isinstance(value, dict):
            changed_items: dict[Any, Any] = {}
            for key, item in value.items():
                changed = _as_objects(item, above)
                if changed is not item:
                    changed_items[key] = changed
            return {**value, **changed_items} if changed_items else value
        as_dict = getattr(value, "_asdict", None)
        if callable(as_dict) and not isinstance(value, list):
            return _as_objects(as_dict(), above)
        items = [_as_objects(item, above) for item in value]
        return value if all(new is old for new, old in zip(items, value)) else items
    finally:
        above.discard(id(value))


def _with_text_keys(value: Any) -> Any:
    """The value with keys of bytes decoded; the very same object if there are none."""
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = [
            (key.decode("utf-8") if isinstance(key, bytes) else key, _with_text_keys(item))
            for key, item in value.items()
        ]
        if all(new[0] is old[0] and new[1] is old[1] for new, old in zip(items, value.items())):
            return value
        return dict(items)
    if isinstance(value, (list, tuple)):
        entries = [_with_text_keys(item) for item in value]
        return value if all(new is old for new, old in zip(entries, value)) else entries
    return value


_scan_once = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def unmarshal(event: bytes | memoryview, loads: Callable[[str], Any] = json.loads) -> Any:
    """The event as the handler gets it. Raises Fault."""
    try:
        text = str(event, "utf-8")
        try:
            value, end = _scan_once(text, 0)
            if end == len(text):  # nearly always: no white space around the value
                return value
        except (StopIteration, ValueError):
            pass
        return loads(text)
    except Exception as error:
        raise faults.Fault(faults.UNMARSHAL_ERROR, f"Unable to unmarshal input: {error}") from error
