"""The errors of SQS, in its words. Codes are the names of error shapes; the edge gives statuses and the old codes."""

from __future__ import annotations

from lambdad.domain.errors import ServiceError


class NonExistentQueue(ServiceError):
    """There is no queue of this name."""

    def __init__(self) -> None:
        super().__init__("QueueDoesNotExist", "The specified queue does not exist.")


def invalid_parameter(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValueException", message)


def invalid_value(value: object, parameter: str, reason: str) -> ServiceError:
    return invalid_parameter(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def missing_parameter(name: str) -> ServiceError:
    return ServiceError("MissingRequiredParameterException", f"The request must contain the parameter {name}.")


def unknown_attribute(name: str) -> ServiceError:
    return ServiceError("InvalidAttributeName", f"Unknown Attribute {name}.")


def invalid_attribute(name: str, reason: str = "") -> ServiceError:
    text = f"Invalid value for the parameter {name}."
    return ServiceError("InvalidAttributeValue", f"{text} Reason: {reason}" if reason else text)


def invalid_handle(handle: str) -> ServiceError:
    return ServiceError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.')


def unsupported(message: str) -> ServiceError:
    return ServiceError("UnsupportedOperation", message)


def not_found(message: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", message)
