"""Code signing configurations: which publishers a function takes code from, and what becomes of other code.

This server cannot verify signatures of AWS Signer, so it takes no code for signed: a configuration that enforces
signatures refuses every deployment, one that warns lets it through and counts it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lambdad.domain.errors import CodeVerificationFailed

_ARN = re.compile(
    r"arn:[^:]+:lambda:(?P<region>[^:]+):(?P<account>\d{12}):code-signing-config:(?P<id>csc-[a-z0-9]{17})"
)


@dataclass(frozen=True, slots=True)
class CodeSigningKey:
    """What identifies a configuration."""

    account: str
    region: str
    id: str
    """`csc-` and 17 characters."""

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:code-signing-config:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSigningConfig:
    """One configuration."""

    key: CodeSigningKey
    description: str = ""
    publishers: tuple[str, ...]
    """ARNs of versions of signing profiles."""
    policy: str = "Warn"
    """`Warn` or `Enforce`: what is done with code that is not signed by one of them."""
    last_modified: str
    tags: Mapping[str, str] = field(default_factory=dict)


def parse_code_signing_arn(arn: str) -> CodeSigningKey | None:
    """None for an ARN that no configuration can have."""
    match = _ARN.fullmatch(arn)
    return None if match is None else CodeSigningKey(match["account"], match["region"], match["id"])


def check_deployment(config: CodeSigningConfig | None, function: str) -> bool:
    """Whether unsigned code is deployed against a warning. Raises CodeVerificationFailed when it may not be."""
    if config is None:
        return False
    if config.policy == "Enforce":  # (AWS: captured)
        raise CodeVerificationFailed(
            "Lambda cannot deploy the function. The function or layer might be signed using a signature that the "
            f"client is not configured to accept. Check the provided signature for {function}."
        )
    return True
