"""Why a request is not let in. Codes and statuses differ by protocol: `wire/errors.py` has them."""

from __future__ import annotations

from lambdad.domain.errors import LambdadError

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
INVALID_TOKEN = "The security token included in the request is invalid."  # noqa: S105 - a text
EXPIRED_TOKEN = "The security token included in the request is expired"  # noqa: S105 - a text


class AccessRefused(LambdadError):
    """Base: the caller is not known or did not prove who it is."""


class MissingAuthenticationToken(AccessRefused):
    """The request carries no signature."""

    def __init__(self) -> None:
        super().__init__("Missing Authentication Token")


class IncompleteSignature(AccessRefused):
    """The signature's form is wrong."""


class SignatureMismatch(AccessRefused):
    """The signature is not the one that the key's secret gives, or it is too old or too early."""

    def __init__(self, message: str = MISMATCH) -> None:
        super().__init__(message)


class UnknownAccessKey(AccessRefused):
    """The access key was not issued here, was revoked, or its session token is another one's."""

    def __init__(self) -> None:
        super().__init__(INVALID_TOKEN)


class ExpiredToken(AccessRefused):
    """The temporary key has expired."""

    def __init__(self) -> None:
        super().__init__(EXPIRED_TOKEN)


class NothingToAuthorize(AccessRefused):
    """A signed request whose method and path belong to no operation: what AWS cannot name it cannot allow (AWS:
    captured, where clients called operations that a region did not have yet)."""

    def __init__(self) -> None:
        super().__init__("Unable to determine service/operation name to be authorized")


class HostRefused(AccessRefused):
    """The Host header names a host that this server does not serve (DNS rebinding)."""


class CrossOriginRefused(AccessRefused):
    """A web page of another origin asks one of the server's own endpoints."""
