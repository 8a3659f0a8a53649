"""The query form of services whose model has moved to JSON: older SDKs still speak it, with names of its own.

Lists and maps are flattened there and carry names that the model of today has not (AWS: SQS API reference, query
protocol).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from lambdad.wire.protocols import model as models
from lambdad.wire.protocols.model import ServiceModel, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of one service, by shape."""

    lists: dict[str, str] = field(default_factory=dict)
    """Flattened lists, and the name of every element."""
    items: dict[str, str] = field(default_factory=dict)
    """Nested lists: the list keeps its member's name, this is that of its elements."""
    maps: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Flattened maps: the names of an entry, its key and its value."""


_BATCHES = ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")

_SQS = Names(
    lists={
        "ActionNameList": "ActionName",
        "AWSAccountIdList": "AWSAccountId",
        "AttributeNameList": "AttributeName",
        "MessageAttributeNameList": "MessageAttributeName",
        "MessageSystemAttributeList": "MessageSystemAttributeName",
        "TagKeyList": "TagKey",
        "QueueUrlList": "QueueUrl",
        "MessageList": "Message",
        "BatchResultErrorEntryList": "BatchResultErrorEntry",
        "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
        **{f"{batch}{kind}EntryList": f"{batch}{kind}Entry" for batch in _BATCHES for kind in ("Request", "Result")},
    },
    items={"StringList": "StringListValue", "BinaryList": "BinaryListValue"},
    maps={
        "QueueAttributeMap": ("Attribute", "Name", "Value"),
        "MessageSystemAttributeMap": ("Attribute", "Name", "Value"),
        "MessageBodyAttributeMap": ("MessageAttribute", "Name", "Value"),
        "MessageBodySystemAttributeMap": ("MessageSystemAttribute", "Name", "Value"),
        "TagMap": ("Tag", "Key", "Value"),
    },
)

_NAMES = {"sqs": _SQS}


def load(service: str, operations: Collection[str] | None = None) -> ServiceModel:
    """As `model.load`, with the names of the query form where they are others."""
    model = models.load(service, operations)
    names = _NAMES.get(service)
    if names is not None:
        seen: set[int] = set()
        for operation in model.operations.values():
            for shape in (operation.input, operation.output):
                if shape is not None:
                    _rename(shape, names, seen)
    return model


def _rename(shape: Shape, names: Names, seen: set[int]) -> None:
    if id(shape) in seen:
        return
    seen.add(id(shape))
    if shape.name in names.lists:
        shape.flattened = True
    shape.item_name = names.items.get(shape.name, shape.item_name)
    if shape.name in names.maps:
        shape.flattened = True
        _, shape.key_name, shape.value_name = names.maps[shape.name]
    for member in shape.members.values():
        if member.shape.name in names.lists:
            member.wire_name = names.lists[member.shape.name]
        elif member.shape.name in names.maps:
            member.wire_name = names.maps[member.shape.name][0]
        _rename(member.shape, names, seen)
    if shape.element is not None:
        _rename(shape.element, names, seen)
