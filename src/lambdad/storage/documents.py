"""Domain values as JSON documents, for the columns that hold a whole value.

A member that a document lacks takes its default, one that the value no longer has is dropped: documents of earlier
releases stay readable.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from lambdad.domain.functions import (
    Alias,
    AttachedLayer,
    FunctionVersion,
    LoggingConfig,
    State,
    UpdateStatus,
    VpcConfig,
)

_VERSION_MEMBERS = frozenset(FunctionVersion.__dataclass_fields__)
_ALIAS_MEMBERS = frozenset(Alias.__dataclass_fields__)
_LAYER_MEMBERS = frozenset(AttachedLayer.__dataclass_fields__)
_VPC_MEMBERS = frozenset(VpcConfig.__dataclass_fields__)
_LOGGING_MEMBERS = frozenset(LoggingConfig.__dataclass_fields__)


def encode(value: FunctionVersion | Alias) -> str:
    return json.dumps(asdict(value), separators=(",", ":"), ensure_ascii=False)


def decode_version(document: str) -> FunctionVersion:
    members = _known(json.loads(document), _VERSION_MEMBERS)
    members["logging"] = LoggingConfig(**_known(members["logging"], _LOGGING_MEMBERS))
    members["architectures"] = tuple(members["architectures"])
    members["layers"] = _layers(members["layers"])
    if members.get("vpc") is not None:
        vpc = _known(members["vpc"], _VPC_MEMBERS)
        for name in ("subnet_ids", "security_group_ids"):
            vpc[name] = tuple(vpc[name])
        members["vpc"] = VpcConfig(**vpc)
    members["state"] = State(members["state"])
    if members["last_update_status"] is not None:
        members["last_update_status"] = UpdateStatus(members["last_update_status"])
    return FunctionVersion(**members)


def decode_layers(document: str) -> tuple[AttachedLayer, ...]:
    """The member `layers` of a version, on its own."""
    return _layers(json.loads(document))


def decode_alias(document: str) -> Alias:
    return Alias(**_known(json.loads(document), _ALIAS_MEMBERS))


def _layers(given: list[dict[str, Any]]) -> tuple[AttachedLayer, ...]:
    return tuple(AttachedLayer(**_known(layer, _LAYER_MEMBERS)) for layer in given)


def _known(members: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name in names}
