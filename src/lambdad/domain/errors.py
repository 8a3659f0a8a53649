"""The exception tree: AWS's names without the suffix `Exception`, messages in AWS's words.

HTTP statuses, codes and the spelling of keys are given at the edge, in `wire/errors.py`.
"""

from __future__ import annotations

from collections.abc import Sequence


class LambdadError(Exception):
    """Base of all errors that a caller is answered with."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ValidationFailed(LambdadError):
    """The request breaks constraints of the service model (AWS: ValidationException, body without `Type`)."""

    def __init__(self, violations: Sequence[str]) -> None:
        plural = "" if len(violations) == 1 else "s"
        super().__init__(f"{len(violations)} validation error{plural} detected: {'; '.join(violations)}")
        self.violations = tuple(violations)


class InvalidParameterValue(LambdadError):
    """A value that the service itself refuses."""

    def __init__(self, message: str, *, typed: bool = True) -> None:
        super().__init__(message)
        self.typed = typed
        """Whether the body carries `Type`; a few recorded answers do not."""


class InvalidRequestContent(LambdadError):
    """The request's body is not what the operation takes, such as an event that is not JSON."""


class RequestEntityTooLarge(LambdadError):
    """The body is larger than the operation allows (not modelled: body without `Type`)."""


class ResourceNotFound(LambdadError):
    """The function, version, alias or other resource does not exist."""

    def __init__(self, message: str, *, typed: bool = True) -> None:
        super().__init__(message)
        self.typed = typed
        """Whether the body carries `Type`; a few recorded answers do not."""


class ProvisionedConcurrencyConfigNotFound(LambdadError):
    """The function has no provisioned concurrency there."""


class CodeSigningConfigNotFound(LambdadError):
    """The code signing configuration does not exist."""


class CodeVerificationFailed(LambdadError):
    """The code is not signed as the function's code signing configuration asks for."""


class ResourceConflict(LambdadError):
    """The resource exists already, or is in a state that does not allow the operation."""


class ResourceInUse(LambdadError):
    """The resource is being changed or is needed by another one."""


class ResourceNotReady(LambdadError):
    """The function is inactive and is being restored."""


class PreconditionFailed(LambdadError):
    """The RevisionId given is not the latest."""


class CodeStorageExceeded(LambdadError):
    """The account's storage for code is used up."""


class PolicyLengthExceeded(LambdadError):
    """The resource policy would pass 20 KB."""


class AccessDenied(LambdadError):
    """The caller may not do this (not modelled: body without `Type`)."""


class RecursiveInvocation(LambdadError):
    """A chain of invocations was cut by recursion detection."""


class UnsupportedMediaType(LambdadError):
    """The content type of the request body is not JSON."""


class InvalidRuntime(LambdadError):
    """The runtime or runtime version is not supported here."""


class ServiceFailure(LambdadError):
    """The service itself failed (AWS: ServiceException, 500)."""


class TooManyRequests(LambdadError):
    """A throttle; `reason` is AWS's word for which limit was met."""

    def __init__(self, reason: str, message: str = "Rate Exceeded.", retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class ServiceError(LambdadError):
    """An error of a neighbouring service, which brings its own code and status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
