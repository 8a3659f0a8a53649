"""What a message may contain, how large it is, and the digests that clients check.

Texts of errors were recorded from AWS where they are known; the digest of attributes is that of the SQS guide.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from lambdad.domain.errors import ServiceError
from lambdad.domain.queues import MessageAttribute
from lambdad.neighbours.sqs.errors import invalid_parameter, invalid_value, missing_parameter

MAX_ATTRIBUTES: Final = 10
_NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.ASCII)
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
TRACE_HEADER: Final = "AWSTraceHeader"


def check_body(body: str) -> None:
    """Raises MissingParameter for an empty body, InvalidMessageContents for characters that messages cannot have."""
    if not body:
        raise missing_parameter("MessageBody")
    check_characters(body)


def check_characters(text: str) -> None:
    """Raises InvalidMessageContents for characters that XML 1.0 cannot hold."""
    if not text.isascii() or not text.isprintable():
        found = _NOT_ALLOWED.search(text)
        if found is not None:
            raise ServiceError(
                "InvalidMessageContents",
                "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | "
                "#xE000 to #xFFFD | #x10000 to #x10FFFF",
            )


def check_attributes(attributes: Mapping[str, MessageAttribute]) -> None:
    """Raises InvalidParameterValue for the first attribute that a message cannot have."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise invalid_parameter(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        )
    for name, attribute in attributes.items():
        _check_attribute(name, attribute)


def _check_attribute(name: str, attribute: MessageAttribute) -> None:
    if _NAME.fullmatch(name) is None:
        raise invalid_parameter(
            f"Message (user) attribute name '{name}' is invalid: it can contain A-Z, a-z, 0-9, underscore, hyphen and "
            "period, 1 to 256 of them, must not start with AWS. or Amazon., and not have periods at an end or in a row."
        )
    check_characters(attribute.data_type)
    kind = attribute.data_type.split(".", 1)[0]
    if not attribute.data_type:
        raise invalid_parameter(f"The message attribute '{name}' must contain non-empty message attribute type.")
    if kind not in ("String", "Number", "Binary") or len(attribute.data_type) > 256:
        raise invalid_parameter(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes "
            "is Binary, Number, and String."
        )
    value = attribute.binary_value if kind == "Binary" else attribute.string_value
    if not value:
        raise invalid_parameter(f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'.")
    if isinstance(value, str):
        check_characters(value)
        if kind == "Number" and _NUMBER.fullmatch(value.strip()) is None:
            raise invalid_parameter(f"Can't cast the value of message (user) attribute '{name}' to a number.")


def check_token(value: str, parameter: str) -> None:
    """Raises InvalidParameterValue for a group or deduplication id of other characters or length."""
    if _TOKEN.fullmatch(value) is None:
        reason = f"{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        raise invalid_value(value, parameter, reason)


def size_of(body: str, attributes: Mapping[str, MessageAttribute]) -> int:
    """Bytes of a message as limits count them: the body, and name, type and value of each attribute."""
    size = _bytes(body)
    for name, attribute in attributes.items():
        size += _bytes(name) + _bytes(attribute.data_type)
        size += len(attribute.binary_value) if attribute.binary_value is not None else 0
        size += _bytes(attribute.string_value) if attribute.string_value is not None else 0
    return size


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def md5_of_text(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, MessageAttribute]) -> str:
    """Over the attributes by name: name, type, a byte 1 (text) or 2 (binary), value; lengths before the texts."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        _digest_part(digest, name.encode())
        _digest_part(digest, attribute.data_type.encode())
        if attribute.binary_value is not None:
            digest.update(b"\x02")
            _digest_part(digest, attribute.binary_value)
        else:
            digest.update(b"\x01")
            _digest_part(digest, (attribute.string_value or "").encode())
    return digest.hexdigest()


def _digest_part(digest: hashlib._Hash, data: bytes) -> None:
    digest.update(len(data).to_bytes(4, "big"))
    digest.update(data)


def select_attributes(attributes: Mapping[str, MessageAttribute], names: list[str]) -> Mapping[str, MessageAttribute]:
    """Those that a receiver asked for: names, `All`, `.*`, or the start of a name followed by `.*`."""
    if not names or not attributes:
        return {}
    if "All" in names or ".*" in names:
        return attributes
    prefixes = tuple(name[:-2] for name in names if name.endswith(".*"))
    return {
        name: value for name, value in attributes.items() if name in names or (prefixes and name.startswith(prefixes))
    }
