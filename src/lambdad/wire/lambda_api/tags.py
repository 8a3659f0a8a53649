"""Tags on the wire: resources are named by their ARN, and each kind of resource keeps its own tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from lambdad.control.code_signing import CodeSigningConfigs
from lambdad.control.mappings import Mappings
from lambdad.control.tags import Tags
from lambdad.domain.arns import FunctionReference, parse_function_reference
from lambdad.domain.errors import InvalidParameterValue, ResourceNotFound, ValidationFailed
from lambdad.wire.service import Answer, ApiCall, Handler

_MISSING = {"capacity-provider": "Capacity provider not found: {arn}"}


class TaggedKind(Protocol):
    """The tags of one kind of resource."""

    async def list(self, call: ApiCall, arn: str) -> Mapping[str, str]: ...

    async def add(self, call: ApiCall, arn: str, tags: Mapping[str, str]) -> None: ...

    async def remove(self, call: ApiCall, arn: str, keys: Iterable[str]) -> None: ...


class TagsApi:
    """TagResource, UntagResource, ListTags. `kinds` by the word in the ARN: `function`, `event-source-mapping`…"""

    def __init__(self, kinds: Mapping[str, TaggedKind]) -> None:
        self._kinds = kinds

    def handlers(self) -> dict[str, Handler]:
        return {"TagResource": self.add, "UntagResource": self.remove, "ListTags": self.list}

    async def add(self, call: ApiCall) -> Answer:
        arn, kind = self._resource(call)
        await kind.add(call, arn, call.params["Tags"])
        return Answer(status=204)

    async def remove(self, call: ApiCall) -> Answer:
        keys = call.params.get("TagKeys")
        if not keys:  # an empty list leaves nothing in the query string
            raise ValidationFailed(["Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"])
        arn, kind = self._resource(call)
        await kind.remove(call, arn, keys)
        return Answer(status=204)

    async def list(self, call: ApiCall) -> Answer:
        arn, kind = self._resource(call)
        return Answer(members={"Tags": dict(await kind.list(call, arn))})

    def _resource(self, call: ApiCall) -> tuple[str, TaggedKind]:
        arn: str = call.params["Resource"]
        word = arn.split(":")[5]
        kind = self._kinds.get(word)
        if kind is None:
            raise ResourceNotFound(_MISSING.get(word, "The resource you requested does not exist.").format(arn=arn))
        return arn, kind


class FunctionTags:
    """Tags of functions, which versions and aliases do not have."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags

    async def list(self, call: ApiCall, arn: str) -> Mapping[str, str]:
        return await self._tags.list(_function(call, arn))

    async def add(self, call: ApiCall, arn: str, tags: Mapping[str, str]) -> None:
        await self._tags.add(_function(call, arn), tags)

    async def remove(self, call: ApiCall, arn: str, keys: Iterable[str]) -> None:
        await self._tags.remove(_function(call, arn), keys)


class MappingTags:
    """Tags of event source mappings."""

    def __init__(self, mappings: Mappings) -> None:
        self._mappings = mappings

    async def list(self, call: ApiCall, arn: str) -> Mapping[str, str]:
        return await self._mappings.tags(call.caller.account, call.caller.region, arn)

    async def add(self, call: ApiCall, arn: str, tags: Mapping[str, str]) -> None:
        await self._mappings.add_tags(call.caller.account, call.caller.region, arn, tags)

    async def remove(self, call: ApiCall, arn: str, keys: Iterable[str]) -> None:
        await self._mappings.remove_tags(call.caller.account, call.caller.region, arn, keys)


class CodeSigningTags:
    """Tags of code signing configurations."""

    def __init__(self, configs: CodeSigningConfigs) -> None:
        self._configs = configs

    async def list(self, call: ApiCall, arn: str) -> Mapping[str, str]:
        return (await self._configs.get(arn, call.caller)).tags

    async def add(self, call: ApiCall, arn: str, tags: Mapping[str, str]) -> None:
        await self._configs.add_tags(arn, call.caller, tags)

    async def remove(self, call: ApiCall, arn: str, keys: Iterable[str]) -> None:
        await self._configs.remove_tags(arn, call.caller, keys)


def _function(call: ApiCall, arn: str) -> FunctionReference:
    caller = call.caller
    reference = parse_function_reference(
        arn, account=caller.account, region=caller.region, action=call.operation, caller_arn=caller.arn
    )
    if reference.qualifier is not None:
        raise InvalidParameterValue(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return reference
