"""Operations on functions of other accounts, for callers that the function's policy lets in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lambdad.control.permissions import ResourcePolicies
from lambdad.domain.arns import FunctionReference, parse_function_reference
from lambdad.domain.errors import LambdadError
from lambdad.wire.service import Answer, ApiCall, Handler

GRANTABLE = frozenset({
    "CreateAlias", "DeleteAlias", "DeleteFunction", "DeleteFunctionConcurrency", "DeleteFunctionEventInvokeConfig",
    "DeleteProvisionedConcurrencyConfig", "GetAlias", "GetFunction", "GetFunctionConcurrency",
    "GetFunctionConfiguration", "GetFunctionEventInvokeConfig", "GetPolicy", "GetProvisionedConcurrencyConfig",
    "ListAliases", "ListFunctionEventInvokeConfigs", "ListProvisionedConcurrencyConfigs", "ListTags",
    "ListVersionsByFunction", "PublishVersion", "PutFunctionConcurrency", "PutFunctionEventInvokeConfig",
    "PutProvisionedConcurrencyConfig", "TagResource", "UntagResource", "UpdateAlias", "UpdateFunctionCode",
    "UpdateFunctionEventInvokeConfig",
})  # fmt: skip
"""What a function's policy can grant to other accounts beside its invocation (AWS Lambda developer guide, cross-account
access)."""


def open_to_others(handlers: Mapping[str, Handler], policies: ResourcePolicies) -> dict[str, Handler]:
    """The handlers, those of grantable operations asking the policy of a function of another account."""
    return {
        operation: _asking(handler, policies) if operation in GRANTABLE else handler
        for operation, handler in handlers.items()
    }


def _asking(handler: Handler, policies: ResourcePolicies) -> Handler:
    async def handle(call: ApiCall) -> Answer:
        reference = _foreign(call)
        if reference is not None and await policies.allows(reference, call.caller.arn, f"lambda:{call.operation}"):
            # From here on the call is one within the account that the function belongs to.
            call.caller = replace(call.caller, account=reference.account)
        return await handler(call)

    return handle


def _foreign(call: ApiCall) -> FunctionReference | None:
    """The function of another account that a call is about. None otherwise, and for addresses that the handler will
    refuse by itself."""
    caller, params = call.caller, call.params
    text = params.get("FunctionName") or params.get("Resource") or ""
    if ":" not in text:
        return None
    try:
        reference = parse_function_reference(
            text, params.get("Qualifier"), account=caller.account, region=caller.region, other_accounts=True
        )
    except LambdadError:
        return None
    return reference if reference.account != caller.account else None
