"""Layers: versions of archives that functions are given beside their code, and what a function may have of them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lambdad.domain.errors import AccessDenied, InvalidParameterValue
from lambdad.domain.functions import AttachedLayer
from lambdad.domain.identity import Caller

MAX_UNZIPPED_BYTES = 262_144_000
"""Of a function's code and its layers together (AWS Lambda quotas)."""

_ARN = re.compile(
    r"arn:[a-zA-Z0-9-]+:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):layer:(?P<name>[\w-]+)", re.ASCII
)
# A number is not written in other ways, and none has more digits.
_VERSION_ARN = re.compile(rf"(?P<layer>{_ARN.pattern}):(?P<version>0|[1-9]\d{{0,17}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class LayerReference:
    """A layer as a caller addressed it."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:layer:{self.name}"

    def version_arn(self, version: int) -> str:
        return f"{self.arn}:{version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerVersion:
    """One published version of a layer; it never changes."""

    account: str
    region: str
    name: str
    version: int
    description: str = ""
    created_date: str
    """As AWS prints it: `2026-09-13T15:32:02.357+0000`."""
    code_sha256: str
    """Base64 of the SHA-256 of the zip."""
    code_size: int
    """Bytes of the zip."""
    unzipped_size: int
    compatible_runtimes: tuple[str, ...] | None = None
    """None when the publisher said nothing, which AWS shows in another way than an empty list."""
    compatible_architectures: tuple[str, ...] | None = None
    license_info: str | None = None

    @property
    def reference(self) -> LayerReference:
        return LayerReference(self.account, self.region, self.name)

    @property
    def arn(self) -> str:
        return self.reference.version_arn(self.version)

    @property
    def attached(self) -> AttachedLayer:
        """As functions keep it, for the time when the version itself is deleted."""
        return AttachedLayer(
            arn=self.arn,
            code_sha256=self.code_sha256,
            code_size=self.code_size,
            unzipped_size=self.unzipped_size,
        )


def parse_layer_reference(text: str, caller: Caller) -> LayerReference:
    """A layer's name, or its ARN; the model's pattern has been checked."""
    match = _ARN.fullmatch(text)
    if match is None:
        return LayerReference(caller.account, caller.region, text)
    return LayerReference(match["account"], match["region"], match["name"])


def parse_layer_version_arn(arn: str) -> tuple[LayerReference, int] | None:
    """Layer and number; None for what no layer version here can have, such as AWS's own (`…:::awslayer:…`)."""
    match = _VERSION_ARN.fullmatch(arn)
    if match is None:
        return None
    return LayerReference(match["account"], match["region"], match["name"]), int(match["version"])


def not_allowed(caller_arn: str, action: str, arn: str, *, exists: bool = True) -> AccessDenied:
    """The refusal of another account's layer, which AWS also gives for one that does not exist (AWS: captured)."""
    text = (
        f"User: {caller_arn} is not authorized to perform: lambda:{action} on resource: {arn} "
        f"because no resource-based policy allows the lambda:{action} action"
    )
    if not exists:
        # Not on AWS: whoever copies the ARN of a public layer from somewhere has to learn that it is not here.
        text += ". This server has no such layer version: publish a copy of it with PublishLayerVersion"
    return AccessDenied(text)


def check_unzipped_size(code_bytes: int, layers: Sequence[AttachedLayer]) -> None:
    """Refuses code and layers that are too large together (AWS: captured)."""
    in_layers = sum(layer.unzipped_size for layer in layers)
    if in_layers > MAX_UNZIPPED_BYTES:
        raise InvalidParameterValue(f"Layers consume more than the available size of {MAX_UNZIPPED_BYTES} bytes")
    if code_bytes + in_layers > MAX_UNZIPPED_BYTES:
        raise InvalidParameterValue(
            f"Function code combined with layers exceeds the maximum allowed size of {MAX_UNZIPPED_BYTES} bytes. "
            f"The actual size is {code_bytes + in_layers} bytes."
        )


def merged_sha256(archives: Sequence[str]) -> str:
    """What names the tree that these archives give when they are unpacked over each other in this order.

    The form is that of an archive's own `code_sha256`; a single archive is its own tree.
    """
    if len(archives) == 1:
        return archives[0]
    return base64.b64encode(hashlib.sha256("\n".join(("layers", *archives)).encode()).digest()).decode("ascii")


def trees_of(layers: Sequence[AttachedLayer]) -> frozenset[str]:
    """Every archive and merged tree that a function with these layers needs, by code_sha256."""
    archives = [layer.code_sha256 for layer in layers]
    return frozenset((*archives, merged_sha256(archives))) if archives else frozenset()
