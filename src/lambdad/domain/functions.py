"""Functions, versions and aliases as values, and how a qualifier resolves to the version that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

LATEST = "$LATEST"


class State(StrEnum):
    """State of a version; AWS's words (botocore model)."""

    PENDING = "Pending"
    ACTIVE = "Active"
    INACTIVE = "Inactive"
    FAILED = "Failed"


class UpdateStatus(StrEnum):
    """LastUpdateStatus of a version."""

    SUCCESSFUL = "Successful"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingConfig:
    """Where and how a function logs. The levels are set in JSON format only."""

    log_format: str
    log_group: str
    application_log_level: str | None = None
    system_log_level: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedLayer:
    """A layer version as a function holds it: all that is needed of it, also after it was deleted."""

    arn: str
    code_sha256: str
    code_size: int
    """Bytes of the zip."""
    unzipped_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcConfig:
    """VPC settings; all empty for a function that was taken out of its VPC."""

    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    vpc_id: str = ""
    ipv6_allowed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionVersion:
    """The whole configuration of one version: `$LATEST`, which changes, or a published one, which does not."""

    account: str
    region: str
    name: str
    version: str = LATEST
    """`$LATEST` or a number as text."""
    generation: int
    """Grows with each change of code or configuration; environments of older generations are retired."""

    role: str
    package_type: str = "Zip"
    runtime: str | None = None
    handler: str | None = None
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    ephemeral_mb: int = 512
    architectures: tuple[str, ...] = ("x86_64",)
    environment: Mapping[str, str] | None = None
    """None when the configuration has no Environment member at all."""
    code_sha256: str
    """Base64 of the SHA-256 of the zip."""
    code_size: int
    """Bytes of the zip."""
    tracing_mode: str = "PassThrough"
    logging: LoggingConfig
    snap_start: str = "None"
    layers: tuple[AttachedLayer, ...] = ()
    """In merge order: later ones win."""
    dead_letter_target: str | None = None
    kms_key_arn: str | None = None
    source_kms_key_arn: str | None = None
    """The key that the archive is encrypted with; shown, nothing more."""
    vpc: VpcConfig | None = None
    """None when there never was a VpcConfig."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Members that are stored and shown as given, by their wire name (FileSystemConfigs)."""

    revision_id: str
    last_modified: str
    """As AWS prints it: `2026-09-13T15:32:02.357+0000`."""
    state: State = State.PENDING
    state_reason: str | None = None
    state_reason_code: str | None = None
    last_update_status: UpdateStatus | None = None
    last_update_status_reason: str | None = None
    last_update_status_reason_code: str | None = None

    @property
    def unqualified_arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"

    @property
    def has_snapshot(self) -> bool:
        """SnapStart applies to it: published versions only (AWS Lambda developer guide)."""
        return self.snap_start != "None" and self.version != LATEST

    @property
    def arn(self) -> str:
        """Qualified for a published version, unqualified for `$LATEST`."""
        return self.unqualified_arn if self.version == LATEST else f"{self.unqualified_arn}:{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for a version, or for two of them with a weight."""

    account: str
    region: str
    function: str
    name: str
    function_version: str
    description: str = ""
    routing: Mapping[str, float] = field(default_factory=dict)
    """AdditionalVersionWeights: at most one version and its share, 0.0 to 1.0."""
    revision_id: str

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.function}:{self.name}"

    def choose(self, roll: float) -> str:
        """The version for one call; `roll` is a random number from 0 up to but not including 1."""
        for version, weight in self.routing.items():
            if roll < weight:
                return version
        return self.function_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function with everything that calls need to know about it."""

    account: str
    region: str
    name: str
    reserved_concurrency: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    recursive_loop: str = "Terminate"
    """What recursion detection does with it: `Terminate` or `Allow`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeUpdate:
    """The runtime management configuration of a version."""

    update_on: str = "Auto"
    """`Auto`, `FunctionUpdate` or `Manual`."""
    runtime_version_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version as it is kept."""

    current: FunctionVersion
    """What the control plane shows."""
    previous: FunctionVersion | None = None
    """What serves calls while an update of `current` is in progress or after it failed."""

    @property
    def serving(self) -> FunctionVersion:
        """What calls run."""
        return self.current if self.previous is None else self.previous


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSnapshot:
    """A function with all its versions and aliases at one moment."""

    function: Function
    versions: Mapping[str, StoredVersion]
    """By `$LATEST` or number."""
    aliases: Mapping[str, Alias]
    """By name."""
    provisioned: Mapping[str, int] = field(default_factory=dict)
    """Environments to keep initialised, by the number of a version or the name of an alias."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Resource policies by number or alias name; that of the function itself under the empty text."""

    def policy_of(self, qualifier: str | None) -> str | None:
        """The policy that calls with a qualifier are asked about; `$LATEST` has none of its own."""
        return self.policies.get("" if qualifier in (None, LATEST) else qualifier or "")
