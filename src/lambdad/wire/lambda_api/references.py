"""The function that a call is about."""

from __future__ import annotations

from lambdad.domain.arns import FunctionReference, NameKind, parse_function_reference, unqualified
from lambdad.wire.service import ApiCall


def any_version(call: ApiCall) -> FunctionReference:
    """For operations that take a version or an alias, in the name or as Qualifier."""
    return _parse(call, NameKind.NAMESPACED, call.params.get("Qualifier"))


def function_or_alias(call: ApiCall) -> FunctionReference:
    """For operations whose qualifier can only be an alias; the model's constraints see to that."""
    return _parse(call, NameKind.FUNCTION, call.params.get("Qualifier"))


def function_only(
    call: ApiCall, kind: NameKind = NameKind.FUNCTION, *, latest_allowed: bool = False
) -> FunctionReference:
    """For operations on functions themselves; some take `$LATEST` too."""
    return unqualified(_parse(call, kind, None), latest_allowed=latest_allowed)


def _parse(call: ApiCall, kind: NameKind, qualifier: str | None) -> FunctionReference:
    caller = call.caller
    return parse_function_reference(
        call.params["FunctionName"],
        qualifier,
        account=caller.account,
        region=caller.region,
        kind=kind,
        action=call.operation,
        caller_arn=caller.arn,
    )
