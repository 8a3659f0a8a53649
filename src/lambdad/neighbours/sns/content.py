"""What a message may contain and how large it is. Texts of errors were recorded from AWS where they are known."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from lambdad.domain.errors import ServiceError
from lambdad.domain.queues import MessageAttribute
from lambdad.domain.topics import Draft
from lambdad.neighbours.sns.errors import bad_attribute_value, invalid_parameter

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
_SUBJECT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,100}")
_KINDS: Final = ("String", "Number", "Binary")


def check_draft(draft: Draft) -> Mapping[str, str]:
    """Checks what does not depend on the topic. The texts by protocol, `default` among them.

    Raises InvalidParameter, ParameterValueInvalid and ValidationError.
    """
    if not draft.message:
        raise invalid_parameter("Empty message")
    if draft.subject is not None and not _SUBJECT.fullmatch(draft.subject):
        raise invalid_parameter("Subject")
    if draft.structure not in (None, "", "json"):
        raise invalid_parameter("MessageStructure")
    texts = _texts_by_protocol(draft.message) if draft.structure == "json" else {"default": draft.message}
    for name, attribute in draft.attributes.items():
        check_attribute(name, attribute)
    for parameter, value in (("MessageGroupId", draft.group_id), ("MessageDeduplicationId", draft.deduplication_id)):
        if value is not None and not _TOKEN.fullmatch(value):
            raise invalid_parameter(
                f"{parameter} Reason: {parameter} can only include alphanumeric and punctuation characters. "
                "1 to 128 in length"
            )
    return texts


def _texts_by_protocol(message: str) -> dict[str, str]:
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise invalid_parameter("Message Structure - JSON message body failed to parse")
    if not isinstance(document.get("default"), str):
        raise invalid_parameter("Message Structure - No default entry in JSON message body")
    # JSON may name half a character, which no store and no subscriber could take.
    return {protocol: _whole(text) for protocol, text in document.items() if isinstance(text, str)}


def check_attribute(name: str, attribute: MessageAttribute) -> None:
    """Raises ParameterValueInvalid or ValidationError for an attribute that a message cannot have."""
    if not _NAME.fullmatch(name):
        raise bad_attribute_value(
            f"Invalid non-alphanumeric character was found in the message attribute name '{name}'. "
            "Can only include alphanumeric characters, hyphens, underscores, or dots."
        )
    if name.startswith(".") or name.endswith(".") or ".." in name:
        raise bad_attribute_value(
            f"Invalid message attribute name '{name}': it must not start or end with a dot, or have two in a row."
        )
    if name.lower().startswith(("aws.", "amazon.")):
        raise bad_attribute_value(f"Message attribute name '{name}' must not start with 'AWS.' or 'Amazon.'.")
    if not attribute.data_type:
        raise ServiceError(
            "ValidationError",
            f"1 validation error detected: Value null at 'messageAttributes.{name}.member.dataType' failed to satisfy "
            "constraint: Member must not be null",
        )
    kind = attribute.data_type.split(".", 1)[0]
    if kind not in _KINDS:
        raise bad_attribute_value(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes "
            "is Binary, Number, and String."
        )
    value = attribute.binary_value if kind == "Binary" else attribute.string_value
    if not value:
        raise bad_attribute_value(
            f"The message attribute '{name}' must contain non-empty message attribute value for message attribute type "
            f"'{attribute.data_type}'."
        )
    if kind == "Number" and isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise bad_attribute_value(f"Could not cast message attribute '{name}' value to number.")


def storable(draft: Draft) -> Draft:
    """The draft with U+003F for every half of a character, which JSON texts may name and no store can hold."""
    attributes = {
        name: replace(each, string_value=each.string_value and _whole(each.string_value))
        for name, each in draft.attributes.items()
    }
    return replace(draft, message=_whole(draft.message), attributes=attributes)


def _whole(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def size_of(draft: Draft) -> int:
    """Bytes of a message as limits count them: the message, and name, type and value of each attribute."""
    size = _bytes(draft.message)
    for name, attribute in draft.attributes.items():
        size += _bytes(name) + _bytes(attribute.data_type)
        size += len(attribute.binary_value) if attribute.binary_value is not None else 0
        size += _bytes(attribute.string_value) if attribute.string_value is not None else 0
    return size


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
