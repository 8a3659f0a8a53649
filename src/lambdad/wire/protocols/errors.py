"""What can be wrong with a request before its operation is known or its members are read."""

from __future__ import annotations

from lambdad.domain.errors import LambdadError


class SerializationFailed(LambdadError):
    """The body or a member is not of the type that the operation takes (AWS: SerializationException, 400)."""


class UnknownOperation(LambdadError):
    """No operation has this name, or this method and path (AWS: UnknownOperationException)."""


class OperationNotOffered(LambdadError):
    """An operation of AWS that this server does not have."""


class RequestTooLarge(LambdadError):
    """The body passes what the operation takes; refused while it is read."""
