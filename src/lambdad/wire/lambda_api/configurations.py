"""Configurations of functions on the wire: read from requests, shown in answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambdad.domain.configuration import ConfigurationChange, LoggingChange
from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.functions import FunctionVersion, LoggingConfig, VpcConfig
from lambdad.domain.networks import VpcChange

RuntimeVersionArn = Callable[[str, str], str]
"""Gives the ARN of a runtime's build from region and runtime identifier."""

_NOT_OFFERED = (
    "AcceleratorConfig", "CapacityProviderConfig", "DurableConfig", "ImageConfig", "PublishTo", "RuntimeConfig",
    "TenancyConfig",
)  # fmt: skip
"""Members for kinds of functions that this server does not have: on EC2 instances, durable, from images, by tenant."""


def check_offered(params: Mapping[str, Any]) -> None:
    """Refuses members for what this server does not have, rather than to pass over them."""
    for member in _NOT_OFFERED:
        if params.get(member):
            raise InvalidParameterValue(f"{member} is not offered by this server.")


def parse_configuration(params: Mapping[str, Any]) -> ConfigurationChange:
    """The configuration members of CreateFunction and UpdateFunctionConfiguration."""
    check_offered(params)
    layers = params.get("Layers")
    return ConfigurationChange(
        role=params.get("Role"),
        runtime=params.get("Runtime"),
        handler=params.get("Handler"),
        description=params.get("Description"),
        timeout_s=params.get("Timeout"),
        memory_mb=params.get("MemorySize"),
        ephemeral_mb=_inner(params, "EphemeralStorage", "Size"),
        environment=(params["Environment"].get("Variables") or {}) if _given(params, "Environment") else None,
        tracing_mode=_inner(params, "TracingConfig", "Mode"),
        logging=_parse_logging(params["LoggingConfig"]) if _given(params, "LoggingConfig") else None,
        snap_start=_inner(params, "SnapStart", "ApplyOn"),
        layers=None if layers is None else tuple(layers),
        dead_letter_target=_inner(params, "DeadLetterConfig", "TargetArn"),
        kms_key_arn=params.get("KMSKeyArn"),
        vpc=_parse_vpc(params["VpcConfig"]) if _given(params, "VpcConfig") else None,
        extra=_parse_extra(params),
    )


def show_configuration(version: FunctionVersion, arn: str, runtime_version_arn: RuntimeVersionArn) -> dict[str, Any]:
    """FunctionConfiguration as single functions are answered with; members that are not set are left out."""
    shown = show_listed(version, arn)
    if version.runtime is not None:
        shown["RuntimeVersionConfig"] = {"RuntimeVersionArn": runtime_version_arn(version.region, version.runtime)}
    return shown | _set(
        {
            "State": version.state.value,
            "StateReason": version.state_reason,
            "StateReasonCode": version.state_reason_code,
            "LastUpdateStatus": None if version.last_update_status is None else version.last_update_status.value,
            "LastUpdateStatusReason": version.last_update_status_reason,
            "LastUpdateStatusReasonCode": version.last_update_status_reason_code,
        }
    )


def show_listed(version: FunctionVersion, arn: str) -> dict[str, Any]:
    """FunctionConfiguration as listings have it: without states and runtime version (AWS: recorded 2025-11)."""
    return _set(
        {
            "FunctionName": version.name,
            "FunctionArn": arn,
            "Runtime": version.runtime,
            "Role": version.role,
            "Handler": version.handler,
            "CodeSize": version.code_size,
            "Description": version.description,
            "Timeout": version.timeout_s,
            "MemorySize": version.memory_mb,
            "LastModified": version.last_modified,
            "CodeSha256": version.code_sha256,
            "Version": version.version,
            "DeadLetterConfig": {"TargetArn": version.dead_letter_target} if version.dead_letter_target else None,
            "Environment": None if version.environment is None else {"Variables": dict(version.environment)},
            "KMSKeyArn": version.kms_key_arn,
            "Layers": [{"Arn": layer.arn, "CodeSize": layer.code_size} for layer in version.layers] or None,
            "TracingConfig": {"Mode": version.tracing_mode},
            "RevisionId": version.revision_id,
            "PackageType": version.package_type,
            "Architectures": list(version.architectures),
            "EphemeralStorage": {"Size": version.ephemeral_mb},
            "SnapStart": {"ApplyOn": version.snap_start, "OptimizationStatus": "On" if version.has_snapshot else "Off"},
            "LoggingConfig": _show_logging(version.logging),
            **version.extra,
            "VpcConfig": None if version.vpc is None else _show_vpc(version.vpc),
        }
    )


def _parse_logging(given: Mapping[str, Any]) -> LoggingChange:
    return LoggingChange(
        log_format=given.get("LogFormat"),
        log_group=given.get("LogGroup"),
        application_log_level=given.get("ApplicationLogLevel"),
        system_log_level=given.get("SystemLogLevel"),
    )


def _show_logging(logging: LoggingConfig) -> dict[str, Any]:
    return _set(
        {
            "LogFormat": logging.log_format,
            "LogGroup": logging.log_group,
            "ApplicationLogLevel": logging.application_log_level,
            "SystemLogLevel": logging.system_log_level,
        }
    )


def _parse_vpc(given: Mapping[str, Any]) -> VpcChange:
    return VpcChange(
        subnet_ids=_listed(given.get("SubnetIds")),
        security_group_ids=_listed(given.get("SecurityGroupIds")),
        ipv6_allowed=given.get("Ipv6AllowedForDualStack"),
    )


def _show_vpc(vpc: VpcConfig) -> dict[str, Any]:
    return {
        "SubnetIds": list(vpc.subnet_ids),
        "SecurityGroupIds": list(vpc.security_group_ids),
        "VpcId": vpc.vpc_id,
        "Ipv6AllowedForDualStack": vpc.ipv6_allowed,
    }


def _listed(given: list[str | None] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(one for one in given if one is not None)


def _parse_extra(params: Mapping[str, Any]) -> dict[str, object]:
    if not _given(params, "FileSystemConfigs"):
        return {}
    return {"FileSystemConfigs": [dict(config) for config in params["FileSystemConfigs"]]}


def _inner(params: Mapping[str, Any], member: str, inner: str) -> Any:
    return params[member].get(inner) if _given(params, member) else None


def _given(params: Mapping[str, Any], member: str) -> bool:
    return params.get(member) is not None


def _set(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
