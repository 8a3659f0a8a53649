"""The errors of SNS, in its words. Codes are the names of error shapes; the edge gives statuses and wire codes."""

from __future__ import annotations

from lambdad.domain.errors import ServiceError


class TopicNotFound(ServiceError):
    """There is no topic of this name."""

    def __init__(self) -> None:
        super().__init__("NotFoundException", "Topic does not exist")


class SubscriptionNotFound(ServiceError):
    """There is no subscription of this ARN."""

    def __init__(self) -> None:
        super().__init__("NotFoundException", "Subscription does not exist")


def invalid_parameter(reason: str) -> ServiceError:
    return ServiceError("InvalidParameterException", f"Invalid parameter: {reason}")


def missing_parameter(name: str) -> ServiceError:
    return invalid_parameter(f"{name} Reason: no value for required parameter")


def bad_attribute_value(message: str) -> ServiceError:
    """Of a message attribute."""
    return ServiceError("InvalidParameterValueException", message)


def resource_not_found() -> ServiceError:
    """What the operations on tags answer instead of NotFound."""
    return ServiceError("ResourceNotFoundException", "Resource does not exist")
