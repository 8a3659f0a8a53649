"""The configuration of a function: what may be set, what stays, what is refused.

Constraints that the service model knows (lengths, patterns, enumerations) were checked before; here are the rules that
the service itself checks, in AWS's words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lambdad.domain.destinations import check_dead_letter_target
from lambdad.domain.errors import InvalidParameterValue, ValidationFailed
from lambdad.domain.functions import FunctionVersion, LoggingConfig, VpcConfig
from lambdad.domain.networks import VpcChange, changed_vpc
from lambdad.domain.runtimes import FUNCTION_VALUE_SET, RESERVED_VARIABLES, RETIRED, RUNTIMES, Family

T = TypeVar("T")

MAX_TIMEOUT_S = 900
MAX_MEMORY_MB = 10_240
MAX_EPHEMERAL_MB = 10_240
SNAP_START_EPHEMERAL_MB = 512
MAX_ENVIRONMENT_BYTES = 4096
MAX_LAYERS = 5
MAX_TAGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingChange:
    """Members of LoggingConfig that a request gave."""

    log_format: str | None = None
    log_group: str | None = None
    application_log_level: str | None = None
    system_log_level: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationChange:
    """Members of a configuration that a request gave; None means that it did not, so the value stays."""

    role: str | None = None
    runtime: str | None = None
    handler: str | None = None
    description: str | None = None
    timeout_s: int | None = None
    memory_mb: int | None = None
    ephemeral_mb: int | None = None
    environment: Mapping[str, str] | None = None
    """Empty clears the variables."""
    tracing_mode: str | None = None
    logging: LoggingChange | None = None
    snap_start: str | None = None
    layers: tuple[str, ...] | None = None
    """Empty clears the layers."""
    dead_letter_target: str | None = None
    """Empty clears the target."""
    kms_key_arn: str | None = None
    """Empty clears the key."""
    vpc: VpcChange | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    """Members that are kept as given, by their wire name."""


def changed(version: FunctionVersion, change: ConfigurationChange) -> FunctionVersion:
    """The version with the change made and checked; `generation`, the states and the layers are the caller's.

    Of the layers only the ARNs are checked: what they stand for has to be looked up.
    Raises InvalidParameterValue and ValidationFailed in AWS's words.
    """
    _check_numbers(change)
    if change.runtime is not None:
        check_runtime(change.runtime)
    if change.environment is not None:
        check_environment(change.environment)
    if change.layers is not None:
        _check_layers(change.layers, version.region)
    if change.dead_letter_target:
        check_dead_letter_target(change.dead_letter_target, version.region)
    result = replace(
        version,
        role=_kept(change.role, version.role),
        runtime=_kept(change.runtime, version.runtime),
        handler=_kept(change.handler, version.handler),
        description=_kept(change.description, version.description),
        timeout_s=_kept(change.timeout_s, version.timeout_s),
        memory_mb=_kept(change.memory_mb, version.memory_mb),
        ephemeral_mb=_kept(change.ephemeral_mb, version.ephemeral_mb),
        environment=_kept(change.environment, version.environment),
        tracing_mode=_kept(change.tracing_mode, version.tracing_mode),
        logging=version.logging if change.logging is None else changed_logging(version.logging, change.logging),
        snap_start=_kept(change.snap_start, version.snap_start),
        dead_letter_target=_kept(change.dead_letter_target, version.dead_letter_target) or None,
        kms_key_arn=_kept(change.kms_key_arn, version.kms_key_arn) or None,
        vpc=version.vpc if change.vpc is None else _changed_vpc(version, change.vpc),
        extra={**version.extra, **change.extra},
    )
    if result.snap_start != "None" and result.runtime is not None:
        _check_snap_start(result.runtime)
        _check_beside_snap_start(result)
    return result


def changed_logging(current: LoggingConfig, change: LoggingChange) -> LoggingConfig:
    """A part of LoggingConfig keeps the rest; Text has no levels, JSON begins with INFO for both (AWS: recorded)."""
    log_format = _kept(change.log_format, current.log_format)
    log_group = _kept(change.log_group, current.log_group)
    if log_format != "JSON":
        if change.application_log_level is not None or change.system_log_level is not None:
            raise InvalidParameterValue("ApplicationLogLevel and SystemLogLevel need the LogFormat JSON.")
        return LoggingConfig(log_format=log_format, log_group=log_group)
    return LoggingConfig(
        log_format=log_format,
        log_group=log_group,
        application_log_level=change.application_log_level or current.application_log_level or "INFO",
        system_log_level=change.system_log_level or current.system_log_level or "INFO",
    )


def check_runtime(identifier: str) -> None:
    """Refuses a runtime that AWS has retired, and one that it never had (AWS: recorded 2026-01)."""
    if identifier in RETIRED:
        raise InvalidParameterValue(
            f"The runtime parameter of {identifier} is no longer supported for creating or updating AWS Lambda "
            "functions. We recommend you use a supported runtime while creating or updating functions."
        )
    if identifier not in RUNTIMES:
        raise InvalidParameterValue(
            f"Value {identifier} at 'runtime' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(FUNCTION_VALUE_SET)}] or be a valid ARN"
        )


def check_environment(variables: Mapping[str, str]) -> None:
    """Refuses variables that the service sets itself, and more than 4 KB as compact JSON (AWS: recorded)."""
    refused = "Lambda was unable to configure your environment variables because the environment variables you have "
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise InvalidParameterValue(
            f"{refused}provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(dict(variables), separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > MAX_ENVIRONMENT_BYTES:
        raise InvalidParameterValue(f"{refused}provided exceeded the 4KB limit. String measured: {measured}")


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuses more than 50 tags on one resource, and keys that belong to AWS."""
    if len(tags) > MAX_TAGS:
        raise InvalidParameterValue("Number of tags exceeds resource tag limit.")
    for key in tags:
        if key.lower().startswith("aws:"):
            raise InvalidParameterValue(f"The tag key {key} begins with aws:, which AWS keeps for itself.")


def _kept(given: T | None, current: T) -> T:
    return current if given is None else given


def _changed_vpc(version: FunctionVersion, change: VpcChange) -> VpcConfig:
    return changed_vpc(version.vpc, change, account=version.account, region=version.region)


def _check_numbers(change: ConfigurationChange) -> None:
    # The model's own bounds are wider: they also hold for kinds of functions that are not offered here.
    violations = [
        f"Value '{value}' at '{path}' failed to satisfy constraint: "
        f"Member must have value less than or equal to {maximum}"
        for value, path, maximum in (
            (change.timeout_s, "timeout", MAX_TIMEOUT_S),
            (change.memory_mb, "memorySize", MAX_MEMORY_MB),
            (change.ephemeral_mb, "ephemeralStorage.size", MAX_EPHEMERAL_MB),
        )
        if value is not None and value > maximum
    ]
    if violations:
        raise ValidationFailed(violations)


def _check_layers(layers: tuple[str, ...], region: str) -> None:
    if len(layers) > MAX_LAYERS:
        raise InvalidParameterValue(f"Cannot reference more than {MAX_LAYERS} layers.")
    seen: dict[str, str] = {}
    for arn in layers:
        if arn.split(":")[3] not in ("", region):
            raise InvalidParameterValue(
                f"Layers are not in the same region as the function. Layers are expected to be in region {region}."
            )
        layer = arn.rpartition(":")[0]
        if layer in seen:
            raise InvalidParameterValue(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[layer]} and {arn} are versions of the same layer."
            )
        seen[layer] = arn


def _check_snap_start(identifier: str) -> None:
    runtime = RUNTIMES.get(identifier)
    if runtime is None:
        return
    # Java 11 and later, Python 3.12 and later, .NET 8 and later (AWS Lambda documentation, 2025).
    number = runtime.version.partition(".al")[0]
    parts = tuple(int(part) for part in number.split(".") if part.isdigit())
    first = {Family.JAVA: (11,), Family.PYTHON: (3, 12), Family.DOTNET: (8,)}.get(runtime.family)
    if first is None or parts < first:
        raise InvalidParameterValue(f"{identifier} is not supported for SnapStart enabled functions.")


def _check_beside_snap_start(version: FunctionVersion) -> None:
    # What does not go with snapshots is documented (AWS Lambda documentation, 2025); the words are ours, in the form of
    # those for runtimes.
    refused = "is not supported for SnapStart enabled functions."
    if version.ephemeral_mb > SNAP_START_EPHEMERAL_MB:
        raise InvalidParameterValue(f"Ephemeral storage of more than {SNAP_START_EPHEMERAL_MB} MB {refused}")
    if version.extra.get("FileSystemConfigs"):
        raise InvalidParameterValue(f"Amazon EFS {refused}")
