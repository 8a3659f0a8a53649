"""Names, partial ARNs and ARNs of functions, and the qualifiers beside them.

A function is addressed as `name`, `name:qualifier`, `account:function:name` or by its ARN, each with or without a
qualifier; a qualifier may also stand on its own. The patterns are the service's, as it prints them (AWS: recorded
2025-11).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from lambdad.domain.errors import AccessDenied, InvalidParameterValue, ResourceNotFound, ValidationFailed
from lambdad.domain.functions import LATEST
from lambdad.domain.identity import Caller

MAX_NAME_LENGTH = 64
MAX_QUALIFIER_LENGTH = 128

_BEFORE_NAME = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
)
QUALIFIER_PATTERN = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"

_FUNCTIONS_ONLY = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)


class NameKind(Enum):
    """What an operation takes as a function's name: pattern and greatest length of the whole text."""

    NAMESPACED = (_BEFORE_NAME + r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?", 256)
    FUNCTION = (_BEFORE_NAME + r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?", 140)
    UNQUALIFIED = (_BEFORE_NAME + r"([a-zA-Z0-9-_]+)", 140)

    @property
    def pattern(self) -> str:
        return self.value[0]

    @property
    def max_length(self) -> int:
        return self.value[1]


_COMPILED = {kind: re.compile(kind.pattern, re.ASCII) for kind in NameKind}
_QUALIFIER = re.compile(QUALIFIER_PATTERN, re.ASCII)
_ALIAS = re.compile(r"(?![0-9]+$)[a-zA-Z0-9-_]+", re.ASCII)
_VERSION = re.compile(r"[0-9]+", re.ASCII)
# The groups of the pattern: the region with its colon, the account with its colon, the name, the qualifier.
_REGION, _ACCOUNT, _NAME, _QUALIFIED = 3, 9, 11, 13


@dataclass(frozen=True, slots=True)
class FunctionReference:
    """A function as a caller addressed it; `qualifier` is None when there was none."""

    account: str
    region: str
    name: str
    qualifier: str | None = None

    @property
    def unqualified_arn(self) -> str:
        return function_arn(self.region, self.account, self.name)

    @property
    def arn(self) -> str:
        """With the qualifier, if there is one."""
        return function_arn(self.region, self.account, self.name, self.qualifier)


def function_arn(region: str, account: str, name: str, qualifier: str | None = None) -> str:
    unqualified = f"arn:aws:lambda:{region}:{account}:function:{name}"
    return unqualified if qualifier is None else f"{unqualified}:{qualifier}"


def is_alias_name(qualifier: str) -> bool:
    """Whether an alias could have this name: not digits alone, no `$`."""
    return _ALIAS.fullmatch(qualifier) is not None


def is_version_number(qualifier: str) -> bool:
    return _VERSION.fullmatch(qualifier) is not None


def parse_function_reference(
    text: str,
    qualifier: str | None = None,
    *,
    account: str,
    region: str,
    kind: NameKind = NameKind.NAMESPACED,
    action: str = "InvokeFunction",
    caller_arn: str | None = None,
    other_accounts: bool = False,
) -> FunctionReference:
    """Reads a function's name as an operation was given it, and the qualifier beside it.

    `account` and `region` are the caller's. `action` and `caller_arn` (the account's root if None) appear in the
    refusal of another account's function; with `other_accounts` such a function is for the caller to judge.
    Raises ValidationFailed for broken patterns and lengths, ResourceNotFound for an ARN of another region,
    AccessDenied for one of another account, InvalidParameterValue when the name's own qualifier is not the given one.
    """
    match = _COMPILED[kind].fullmatch(text)
    violations = violations_of(text, qualifier, kind)
    if violations or match is None:
        raise ValidationFailed(violations)
    name: str = match[_NAME]
    own_qualifier: str | None = match[_QUALIFIED] if kind is not NameKind.UNQUALIFIED else None
    own_region = (match[_REGION] or region).rstrip(":")
    if own_region != region:
        raise ResourceNotFound(f"Functions from '{own_region}' are not reachable in this region ('{region}')")
    own_account = (match[_ACCOUNT] or account).rstrip(":")
    if own_account != account and not other_accounts:
        raise no_policy_allows(
            caller_arn or f"arn:aws:iam::{account}:root",
            f"lambda:{action}",
            function_arn(region, own_account, name, own_qualifier),
        )
    if own_qualifier is not None and qualifier is not None and own_qualifier != qualifier:
        raise InvalidParameterValue(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return FunctionReference(own_account, region, name, qualifier if own_qualifier is None else own_qualifier)


def violations_of(text: str, qualifier: str | None, kind: NameKind = NameKind.NAMESPACED) -> list[str]:
    """What is wrong with the form of a function's name and of the qualifier beside it."""
    found = _length_violations(text, "functionName", kind.max_length)
    if not _COMPILED[kind].fullmatch(text):
        found.append(_violation(text, "functionName", f"satisfy regular expression pattern: {kind.pattern}"))
    return found if qualifier is None else found + _qualifier_violations(qualifier)


def no_policy_allows(caller: str, action: str, resource: str) -> AccessDenied:
    """The refusal of a caller of another account, or a service, that no policy lets in (AWS: captured)."""
    return AccessDenied(
        f"User: {caller} is not authorized to perform: {action} on resource: {resource} "
        f"because no resource-based policy allows the {action} action"
    )


def policy_denies(caller: str, action: str, resource: str) -> AccessDenied:
    """The refusal by a statement of a policy (AWS: captured)."""
    return AccessDenied(
        f"User: {caller} is not authorized to perform: {action} on resource: {resource} "
        "with an explicit deny in a resource-based policy"
    )


def parse_new_function_name(text: str, *, caller: Caller) -> FunctionReference:
    """The name that CreateFunction is given: as above, and the bare name has at most 64 characters."""
    reference = parse_function_reference(
        text,
        account=caller.account,
        region=caller.region,
        kind=NameKind.FUNCTION,
        action="CreateFunction",
        caller_arn=caller.arn,
    )
    if len(reference.name) > MAX_NAME_LENGTH:
        raise InvalidParameterValue(
            f"1 validation error detected: Value '{reference.name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_NAME_LENGTH}"
        )
    return unqualified(reference, latest_allowed=True)


def unqualified(reference: FunctionReference, *, latest_allowed: bool = False) -> FunctionReference:
    """The function itself, for operations that versions and aliases do not have.

    Raises InvalidParameterValue for a qualified reference (AWS: recorded 2025-11, PutFunctionConcurrency); operations
    that work on `$LATEST` take that qualifier too.
    """
    if reference.qualifier is None:
        return reference
    if latest_allowed and reference.qualifier == LATEST:
        return FunctionReference(reference.account, reference.region, reference.name)
    raise InvalidParameterValue(_FUNCTIONS_ONLY)


def _qualifier_violations(text: str) -> list[str]:
    found = _length_violations(text, "qualifier", MAX_QUALIFIER_LENGTH)
    if not _QUALIFIER.fullmatch(text):
        found.append(_violation(text, "qualifier", f"satisfy regular expression pattern: {QUALIFIER_PATTERN}"))
    return found


def _length_violations(text: str, path: str, maximum: int) -> list[str]:
    if len(text) > maximum:
        return [_violation(text, path, f"have length less than or equal to {maximum}")]
    if not text:
        return [_violation(text, path, "have length greater than or equal to 1")]
    return []


def _violation(value: str, path: str, must: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {must}"
