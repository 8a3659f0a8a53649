"""Signature Version 4: reading it from a header or a presigned query, and computing what it should be.

The canonical form is AWS's: the path encoded once more than on the wire (S3: as it is), the query sorted, headers
trimmed and folded (AWS general reference, "Create a signed request").
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from lambdad.http.messages import Request
from lambdad.wire.access.errors import IncompleteSignature, SignatureMismatch

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_HASH = hashlib.sha256(b"").hexdigest()
CACHED = 4096

_sha256 = hashlib.sha256
_same = hmac.compare_digest


class Scope:
    """The credential of a signature: whose key, and for which day, region and service."""

    __slots__ = ("access_key_id", "date", "keyed", "region", "service", "text")

    def __init__(self, access_key_id: str, date: str, region: str, service: str) -> None:
        self.access_key_id = access_key_id
        self.date = date
        self.region = region
        self.service = service
        self.text = f"{date}/{region}/{service}/aws4_request"
        self.keyed: tuple[str, _Keyed] | None = None
        """The secret that verified last, with its keyed hashes. All calls of a kind share this object for a day."""


class Signature:
    """A signature as the request carries it."""

    __slots__ = ("amz_date", "expires_s", "presigned", "scope", "session_token", "signed_headers", "value")

    def __init__(
        self,
        scope: Scope,
        signed_headers: tuple[str, ...],
        value: str,
        amz_date: str,
        session_token: str,
        expires_s: int | None = None,
    ) -> None:
        self.scope = scope
        self.signed_headers = signed_headers
        self.value = value
        self.amz_date = amz_date
        """Basic ISO 8601, `20261123T100000Z`."""
        self.session_token = session_token
        self.expires_s = expires_s
        self.presigned = expires_s is not None


def carries_signature(request: Request) -> bool:
    """Whether the request tries to sign itself at all."""
    return "authorization" in request.headers or "X-Amz-Signature=" in request.query


def read(request: Request) -> Signature | None:
    """The signature of a request, None if it has none. Raises IncompleteSignature for a malformed one."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return _read_header(authorization, request)
    if "X-Amz-Signature=" in request.query:
        return _read_query(request.query)
    return None


def _read_header(authorization: str, request: Request) -> Signature:
    # What stands before the signature is the same in all of a client's calls of one kind and day: parsed once.
    prefix, _, value = authorization.rpartition("Signature=")
    if len(value) == 64 and prefix:
        scope, signed_headers = _parse_prefix(prefix)
    else:
        scope, signed_headers, value = _parse_fields(authorization)
    headers = request.headers
    amz_date = headers.get("x-amz-date")
    if amz_date is None:
        amz_date = _basic_date(headers.get("date", ""), authorization)
    return Signature(scope, signed_headers, value, amz_date, headers.get("x-amz-security-token", ""))


@lru_cache(maxsize=CACHED)
def _parse_prefix(prefix: str) -> tuple[Scope, tuple[str, ...]]:
    scope, signed_headers, _ = _parse_fields(prefix + "Signature=0")
    return scope, signed_headers


def _parse_fields(authorization: str) -> tuple[Scope, tuple[str, ...], str]:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise IncompleteSignature(f"Unsupported AWS 'algorithm': '{algorithm[:64]}'. Authorization={algorithm[:64]}")
    fields = {}
    for part in rest.split(","):
        name, _, text = part.strip().partition("=")
        fields[name] = text
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not fields.get(name)
    ]
    if missing:
        raise IncompleteSignature(f"{' '.join(missing)} Authorization={algorithm}")
    scope = parse_credential(fields["Credential"])
    return scope, _signed_headers(fields["SignedHeaders"]), fields["Signature"]


def parse_credential(credential: str) -> Scope:
    """`KEY/20261123/us-east-1/lambda/aws4_request`. Raises IncompleteSignature."""
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not parts[0] or parts[4] != "aws4_request":
        raise IncompleteSignature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential[:200]}'"
        )
    key_id, date, region, service, _ = parts
    if not (len(date) == 8 and date.isascii() and date.isdigit()):
        raise IncompleteSignature(f"Date in Credential scope is not of the form YYYYMMDD: '{date[:32]}'")
    if not (0 < len(region) <= 64 and region.isascii() and region.replace("-", "").isalnum()):
        raise SignatureMismatch("Credential should be scoped to a valid region. ")
    return Scope(key_id, date, region, service)


def _signed_headers(text: str) -> tuple[str, ...]:
    names = tuple(text.lower().split(";"))
    if "host" not in names and ":authority" not in names:
        raise SignatureMismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    return names


def _basic_date(http_date: str, authorization: str) -> str:
    try:
        return parsedate_to_datetime(http_date).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except (TypeError, ValueError, IndexError, OverflowError):
        algorithm = authorization.partition(" ")[0][:64]
        raise IncompleteSignature(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
            f"Authorization={algorithm}"
        ) from None


def _read_query(query: str) -> Signature:
    fields = {}
    for pair in query.split("&"):
        name, _, text = pair.partition("=")
        fields[unquote(name)] = unquote(text)
    algorithm = fields.get("X-Amz-Algorithm", "")
    if algorithm != ALGORITHM:
        raise IncompleteSignature(f"Unsupported AWS 'algorithm': '{algorithm[:64]}'.")
    missing = [
        f"AWS query-string parameters must include '{name}'."
        for name in ("X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders")
        if not fields.get(name)
    ]
    if missing:
        raise IncompleteSignature(" ".join(missing))
    expires = fields.get("X-Amz-Expires", "300")
    if not (expires.isascii() and expires.isdigit() and 0 < int(expires[:9]) <= 604_800):
        raise IncompleteSignature("X-Amz-Expires must be a number of seconds between 1 and 604800.")
    return Signature(
        parse_credential(fields["X-Amz-Credential"]),
        _signed_headers(fields["X-Amz-SignedHeaders"]),
        fields["X-Amz-Signature"],
        fields["X-Amz-Date"],
        fields.get("X-Amz-Security-Token", ""),
        int(expires),
    )


@lru_cache(maxsize=CACHED)
def moment(amz_date: str) -> float:
    """Unix seconds of a basic ISO 8601 date. Raises IncompleteSignature."""
    try:
        return datetime.strptime(amz_date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise IncompleteSignature(
            f"Date must be in ISO-8601 'basic format'. Got '{amz_date[:64]}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def verify(request: Request, signature: Signature, secret: str) -> None:
    """Raises SignatureMismatch unless the request was signed with `secret`."""
    scope = signature.scope
    if signature.amz_date[:8] != scope.date:
        raise SignatureMismatch(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope.date}' != '{signature.amz_date[:8]}', from '{signature.amz_date[:64]}'."
        )
    known = scope.keyed
    if known is not None and known[0] is secret:
        keyed = known[1]
    else:
        keyed = _keyed_hashes(secret, scope.date, scope.region, scope.service)
        scope.keyed = (secret, keyed)
    head = _canonical_head(signature, request)
    is_s3 = scope.service in ("s3", "s3express")
    path = request.path if is_s3 else _path_encoded(request.path)
    query = _sorted_query(request.query, signature.presigned) if request.query else ""
    if _matches(f"{request.method}\n{path}\n{query}{head}", signature, keyed):
        return
    # Clients differ in what they encode in a query; AWS decodes and encodes again before it compares.
    if request.query:
        normal = _normal_query(request.query, signature.presigned)
        if normal != query and _matches(f"{request.method}\n{path}\n{normal}{head}", signature, keyed):
            return
    raise SignatureMismatch


def _matches(canonical: str, signature: Signature, keyed: _Keyed) -> bool:
    try:
        encoded = canonical.encode("latin-1")
    except UnicodeEncodeError:
        return False
    digest = _sha256(encoded).hexdigest()
    text = f"{ALGORITHM}\n{signature.amz_date}\n{signature.scope.text}\n{digest}"
    inner, outer = keyed[0](), keyed[1]()
    inner.update(text.encode("latin-1", "replace"))
    outer.update(inner.digest())
    value = signature.value
    return value.isascii() and _same(outer.hexdigest(), value)


def _canonical_head(signature: Signature, request: Request) -> str:
    """From the line end after the query to the payload's hash."""
    headers = request.headers
    parts = ["\n"]
    for name in signature.signed_headers:
        value = headers.get(name, "")
        if "  " in value or "\t" in value:
            value = " ".join(value.split())
        parts.append(f"{name}:{value}\n")
    return f"{''.join(parts)}\n{';'.join(signature.signed_headers)}\n{_payload_hash(signature, request)}"


def _payload_hash(signature: Signature, request: Request) -> str:
    announced = request.headers.get("x-amz-content-sha256")
    if announced is None:
        if signature.presigned and signature.scope.service.startswith("s3"):
            return UNSIGNED_PAYLOAD
        body = request.body
        return _sha256(body).hexdigest() if body else EMPTY_HASH
    if announced == UNSIGNED_PAYLOAD or announced.startswith("STREAMING-"):
        return announced  # the marker is signed in place of the hash; chunks carry their own signatures
    if announced != (_sha256(request.body).hexdigest() if request.body else EMPTY_HASH):
        raise SignatureMismatch
    return announced


_Keyed = tuple[Callable[[], Any], Callable[[], Any]]


@lru_cache(maxsize=CACHED)
def _keyed_hashes(secret: str, date: str, region: str, service: str) -> _Keyed:
    """HMAC's two hashes with a scope's key already in them, to be copied for each message.

    Half the time of `hmac.digest`, which sets up the key anew each time (measured: 1.0 against 2.3 microseconds).
    """
    key = signing_key(secret, date, region, service).ljust(64, b"\0")
    inner = _sha256(bytes(byte ^ 0x36 for byte in key))
    outer = _sha256(bytes(byte ^ 0x5C for byte in key))
    return inner.copy, outer.copy


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key that signs a day's requests of one scope."""
    key = hmac.digest(b"AWS4" + secret.encode(), date.encode(), "sha256")
    for part in (region, service, "aws4_request"):
        key = hmac.digest(key, part.encode("latin-1", "replace"), "sha256")
    return key


@lru_cache(maxsize=CACHED)
def _path_encoded(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    normal = "/" + "/".join(parts) + ("/" if parts and path.endswith("/") else "")
    return quote(normal.encode("latin-1", "replace"), safe="/~")


@lru_cache(maxsize=CACHED)
def _sorted_query(query: str, presigned: bool) -> str:
    pairs = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name and not (presigned and name == "X-Amz-Signature"):
            pairs.append((name, value))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _normal_query(query: str, presigned: bool) -> str:
    pairs = []
    for pair in query.split("&"):
        name, _, value = pair.replace("+", "%20").partition("=")
        name, value = unquote(name, "latin-1"), unquote(value, "latin-1")
        if name and not (presigned and name == "X-Amz-Signature"):
            pairs.append((quote(name.encode("latin-1"), safe="~"), quote(value.encode("latin-1"), safe="~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))
