"""Roles and managed policies, as IAM keeps them. Policies are stored; they are not enforced yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

NO_TEXTS: Mapping[str, str] = {}
_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def role_id(arn: str) -> str:
    """`AROA…` with 21 characters, always the same for a role of this ARN, whether it was ever created or not.

    So those who issue a function's keys know the id that IAM shows of its role without asking the store. On AWS a role
    that was deleted and made again gets another one.
    """
    digits = sha256(arn.encode()).digest()
    return "AROA" + "".join(_ID_ALPHABET[byte & 31] for byte in digits[:17])


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role with its inline policies and the ARNs of the managed ones attached to it."""

    account: str
    name: str
    role_id: str
    path: str
    created_at: datetime
    trust_policy: str
    """The document as it was given: JSON text."""
    description: str = ""
    max_session_s: int = 3600
    permissions_boundary: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    inline_policies: Mapping[str, str] = field(default_factory=dict)
    """Documents by name."""
    attached_policies: tuple[str, ...] = ()
    """ARNs, in the order in which they were attached."""

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One version of a managed policy's document."""

    number: int
    document: str
    created_at: datetime

    @property
    def version_id(self) -> str:
        return f"v{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedPolicy:
    """A policy of an account, or one of AWS's own (account `aws`)."""

    account: str
    name: str
    policy_id: str
    path: str
    created_at: datetime
    updated_at: datetime
    default_version: int
    versions: tuple[PolicyVersion, ...]
    last_version: int
    """Numbers of deleted versions are not used again."""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:policy{self.path}{self.name}"

    @property
    def default_document(self) -> str:
        return next(version.document for version in self.versions if version.number == self.default_version)
