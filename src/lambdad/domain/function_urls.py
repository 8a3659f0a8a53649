"""Function URLs as values: what a URL is, and what its CORS settings say to a request."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from lambdad.domain.arns import FunctionReference

ID_LENGTH = 32
"""Lower-case letters and digits (AWS: recorded 2025-11)."""
URL_LABEL = "lambda-url"
CUSTOM_ID_TAG = "_custom_id_"
"""A tag of the function that names the id of its URLs. Not AWS's: LocalStack has it, and those who come from there rely
on it, as tests do that want to know an address beforehand."""
_ALPHABET = string.ascii_lowercase + string.digits
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which pages of other origins may call a URL. None is what a client did not give."""

    allow_credentials: bool | None = None
    allow_headers: tuple[str, ...] | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_origins: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    max_age_s: int | None = None

    def answer_headers(self, origin: str) -> list[tuple[str, str]]:
        """What an answer to a page of this origin carries; nothing for one that is not allowed."""
        allowed = self._allowed_origin(origin)
        if allowed is None:
            return []
        headers = [("access-control-allow-origin", allowed)]
        if allowed != "*":
            headers.append(("vary", "Origin"))
        if self.allow_credentials:
            headers.append(("access-control-allow-credentials", "true"))
        if self.expose_headers:
            headers.append(("access-control-expose-headers", ",".join(self.expose_headers)))
        return headers

    def preflight_headers(self, origin: str) -> list[tuple[str, str]]:
        """What the answer to a preflight carries beside those; nothing for an origin that is not allowed."""
        headers = self.answer_headers(origin)
        if headers:
            if self.allow_methods:
                headers.append(("access-control-allow-methods", ",".join(self.allow_methods)))
            if self.allow_headers:
                headers.append(("access-control-allow-headers", ",".join(self.allow_headers)))
            if self.max_age_s is not None:
                headers.append(("access-control-max-age", str(self.max_age_s)))
        return headers

    def _allowed_origin(self, origin: str) -> str | None:
        """With credentials a browser does not take `*` for an answer, so the origin itself is named."""
        origins = self.allow_origins or ()
        if "*" in origins:
            return origin if self.allow_credentials else "*"
        return origin if origin.lower() in (one.lower() for one in origins) else None


def random_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUrl:
    """The URL of a function or of an alias."""

    id: str = field(default_factory=random_id)
    account: str
    region: str
    function: str
    qualifier: str | None = None
    """The name of an alias."""
    auth_type: str
    """`NONE` or `AWS_IAM`."""
    cors: Cors | None = None
    invoke_mode: str = "BUFFERED"
    """Or `RESPONSE_STREAM`."""
    created: str
    last_modified: str
    """Both ISO 8601."""

    @property
    def reference(self) -> FunctionReference:
        return FunctionReference(self.account, self.region, self.function, self.qualifier)

    def host(self, served: str) -> str:
        """The name of the URL below a name that this server answers to."""
        return f"{self.id}.{URL_LABEL}.{self.region}.{served}"


def id_of_new_url(tags: Mapping[str, str], qualifier: str | None) -> str:
    """What the function's tag asks for, an alias' name behind it; a random one where that cannot be part of a host
    name, or nothing is asked for."""
    asked = tags.get(CUSTOM_ID_TAG, "")
    wanted = (f"{asked}-{qualifier}" if asked and qualifier else asked).lower()
    return wanted if _DNS_LABEL.fullmatch(wanted) else random_id()


def url_of_host(host: str) -> tuple[str, str] | None:
    """Id and region of a Host header that looks like the name of a URL, whether or not there is such a URL."""
    labels = host.lower().split(".", 3)
    if len(labels) < 4 or labels[1] != URL_LABEL:
        return None
    return labels[0], labels[2]
