"""The errors of EventBridge, in its words (AWS: recorded 2024-25 unless noted)."""

from __future__ import annotations

from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller


def not_found(message: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", message)


def no_such_bus(name: str) -> ServiceError:
    return not_found(f"Event bus {name} does not exist.")


def no_such_rule(rule: str, bus: str) -> ServiceError:
    return not_found(f"Rule {rule} does not exist on EventBus {bus}.")


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def invalid_pattern(reason: str) -> ServiceError:
    return ServiceError("InvalidEventPatternException", f"Event pattern is not valid. Reason: {reason}")


def already_exists(message: str) -> ServiceError:
    return ServiceError("ResourceAlreadyExistsException", message)


def limit_exceeded() -> ServiceError:
    return ServiceError("LimitExceededException", "The requested resource exceeds the maximum number allowed.")


def access_denied(caller: Caller, action: str, arn: str) -> ServiceError:
    return ServiceError(
        "AccessDeniedException",
        f"User: {caller.arn} is not authorized to perform: events:{action} on resource: {arn} "
        f"because no resource-based policy allows the events:{action} action",
    )
