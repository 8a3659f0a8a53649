"""Resource policies on the wire."""

from __future__ import annotations

from lambdad.control.permissions import ResourcePolicies
from lambdad.domain.arns import FunctionReference, parse_function_reference
from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.permissions import Permission
from lambdad.wire.lambda_api.references import any_version
from lambdad.wire.service import Answer, ApiCall, Handler


class PermissionsApi:
    """AddPermission, RemovePermission, GetPolicy, and the operations on whole policies."""

    def __init__(self, policies: ResourcePolicies) -> None:
        self._policies = policies

    def handlers(self) -> dict[str, Handler]:
        return {
            "AddPermission": self.add,
            "RemovePermission": self.remove,
            "GetPolicy": self.get,
            "PutResourcePolicy": self.put_whole,
            "GetResourcePolicy": self.get_whole,
            "DeleteResourcePolicy": self.delete_whole,
        }

    async def add(self, call: ApiCall) -> Answer:
        params = call.params
        permission = Permission(
            statement_id=params["StatementId"],
            action=params["Action"],
            principal=params["Principal"],
            source_arn=params.get("SourceArn"),
            source_account=params.get("SourceAccount"),
            event_source_token=params.get("EventSourceToken"),
            function_url_auth_type=params.get("FunctionUrlAuthType"),
            invoked_via_function_url=params.get("InvokedViaFunctionUrl"),
            principal_org_id=params.get("PrincipalOrgID"),
        )
        statement = await self._policies.add(any_version(call), permission, revision_id=params.get("RevisionId"))
        return Answer(members={"Statement": statement}, status=201)

    async def remove(self, call: ApiCall) -> Answer:
        params = call.params
        await self._policies.remove(any_version(call), params["StatementId"], revision_id=params.get("RevisionId"))
        return Answer(status=204)

    async def get(self, call: ApiCall) -> Answer:
        policy = await self._policies.get(any_version(call))
        return Answer(members={"Policy": policy.document, "RevisionId": policy.revision_id})

    async def put_whole(self, call: ApiCall) -> Answer:
        params = call.params
        policy = await self._policies.put(_resource(call), params["Policy"], revision_id=params.get("RevisionId"))
        return Answer(members={"Policy": policy.document, "RevisionId": policy.revision_id})

    async def get_whole(self, call: ApiCall) -> Answer:
        policy = await self._policies.get(_resource(call))
        return Answer(members={"Policy": policy.document, "RevisionId": policy.revision_id})

    async def delete_whole(self, call: ApiCall) -> Answer:
        await self._policies.delete(_resource(call), revision_id=call.params.get("RevisionId"))
        return Answer(status=204)


def _resource(call: ApiCall) -> FunctionReference:
    arn = call.params["ResourceArn"]
    if ":function:" not in arn:
        raise InvalidParameterValue(f"lambdad has policies of functions, versions and aliases only, not of {arn}.")
    caller = call.caller
    return parse_function_reference(
        arn, account=caller.account, region=caller.region, action=call.operation, caller_arn=caller.arn
    )
