"""Errors of CloudWatch Logs, in its words (AWS: recorded 2026-02 unless noted)."""

from __future__ import annotations

from lambdad.domain.errors import ServiceError


def invalid_parameter(message: str) -> ServiceError:
    """A parameter is refused."""
    return ServiceError("InvalidParameterException", message)


def no_such_group() -> ServiceError:
    """The group does not exist."""
    return ServiceError("ResourceNotFoundException", "The specified log group does not exist.")


def no_such_stream() -> ServiceError:
    """The group has no such stream."""
    return ServiceError("ResourceNotFoundException", "The specified log stream does not exist.")


def no_such_filter() -> ServiceError:
    """The group has no such subscription filter (the words of other operations)."""
    return ServiceError("ResourceNotFoundException", "The specified subscription filter does not exist.")


def group_exists() -> ServiceError:
    """There is a group of this name."""
    return ServiceError("ResourceAlreadyExistsException", "The specified log group already exists")


def stream_exists() -> ServiceError:
    """There is a stream of this name in the group."""
    return ServiceError("ResourceAlreadyExistsException", "The specified log stream already exists")


def invalid_token() -> ServiceError:
    """A nextToken that no answer has given."""
    return invalid_parameter("The specified nextToken is invalid.")
