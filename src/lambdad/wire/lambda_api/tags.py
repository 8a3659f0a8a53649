"""Tags on the wire: resources are named by their ARN."""

from __future__ import annotations

from lambdad.control.tags import Tags
from lambdad.domain.arns import FunctionReference, parse_function_reference
from lambdad.domain.errors import InvalidParameterValue, ResourceNotFound, ValidationFailed
from lambdad.wire.service import Answer, ApiCall, Handler

_MISSING = {
    "event-source-mapping": "Event source mapping not found: {arn}",
    "capacity-provider": "Capacity provider not found: {arn}",
    "code-signing-config": "The Lambda code signing configuration {arn} can not be found.",
}


class TagsApi:
    """TagResource, UntagResource, ListTags."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags

    def handlers(self) -> dict[str, Handler]:
        return {"TagResource": self.add, "UntagResource": self.remove, "ListTags": self.list}

    async def add(self, call: ApiCall) -> Answer:
        await self._tags.add(_parse_resource(call), call.params["Tags"])
        return Answer(status=204)

    async def remove(self, call: ApiCall) -> Answer:
        keys = call.params.get("TagKeys")
        if not keys:  # an empty list leaves nothing in the query string
            raise ValidationFailed(["Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"])
        await self._tags.remove(_parse_resource(call), keys)
        return Answer(status=204)

    async def list(self, call: ApiCall) -> Answer:
        return Answer(members={"Tags": dict(await self._tags.list(_parse_resource(call)))})


def _parse_resource(call: ApiCall) -> FunctionReference:
    arn: str = call.params["Resource"]
    kind = arn.split(":")[5]
    if kind != "function":
        raise ResourceNotFound(_MISSING.get(kind, "The resource you requested does not exist.").format(arn=arn))
    caller = call.caller
    reference = parse_function_reference(
        arn, account=caller.account, region=caller.region, action=call.operation, caller_arn=caller.arn
    )
    if reference.qualifier is not None:
        raise InvalidParameterValue(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return reference
