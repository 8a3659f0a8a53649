"""The runtime identifiers that AWS knows, as data. Dates change: they are data, never a rule in code.

What becomes of an identifier here (which interpreter, or that nothing on this machine can run it) is told by
`execution.runtimes.catalog`; whether the control plane accepts it depends on this table alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final


class Family(StrEnum):
    """The language of a runtime, in AWS's spelling."""

    PYTHON = "python"
    NODEJS = "nodejs"
    JAVA = "java"
    DOTNET = "dotnet"
    RUBY = "ruby"
    PROVIDED = "provided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One runtime that functions can be created with."""

    identifier: str
    """As in CreateFunction's `Runtime`, such as `nodejs22.x`."""
    family: Family
    version: str
    """The identifier without its family: `3.12`, `22`, `al2023`."""
    os: str
    """`AL2` or `AL2023`: the operating system it has on AWS."""
    deprecated_on: date | None
    """AWS stops patching it then; creating and invoking go on for longer."""


def _runtime(identifier: str, os: str, deprecated_on: str | None) -> Runtime:
    family = next(family for family in Family if identifier.startswith(family.value))
    version = identifier.removeprefix(family.value).removeprefix(".").removesuffix(".x")
    return Runtime(
        identifier=identifier,
        family=family,
        version=version,
        os=os,
        deprecated_on=date.fromisoformat(deprecated_on) if deprecated_on else None,
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# State of the AWS developer guide's table in 2026.
RUNTIMES: Final[dict[str, Runtime]] = {
    runtime.identifier: runtime
    for runtime in (
        _runtime("nodejs24.x", "AL2023", "2028-04-30"),
        _runtime("nodejs22.x", "AL2023", "2027-04-30"),
        _runtime("nodejs20.x", "AL2023", "2026-04-30"),
        _runtime("nodejs18.x", "AL2", "2025-09-01"),
        _runtime("nodejs16.x", "AL2", "2024-06-12"),
        _runtime("python3.14", "AL2023", "2029-06-30"),
        _runtime("python3.13", "AL2023", "2029-06-30"),
        _runtime("python3.12", "AL2023", "2028-10-31"),
        _runtime("python3.11", "AL2", "2027-06-30"),
        _runtime("python3.10", "AL2", "2026-10-31"),
        _runtime("python3.9", "AL2", "2025-12-15"),
        _runtime("python3.8", "AL2", "2024-10-14"),
        _runtime("java25", "AL2023", "2029-06-30"),
        _runtime("java21", "AL2023", "2029-06-30"),
        _runtime("java17", "AL2", "2027-06-30"),
        _runtime("java17.al2023", "AL2023", "2029-06-30"),
        _runtime("java11", "AL2", "2027-06-30"),
        _runtime("java11.al2023", "AL2023", "2029-06-30"),
        _runtime("java8.al2", "AL2", "2027-06-30"),
        _runtime("java8.al2023", "AL2023", "2029-06-30"),
        _runtime("dotnet10", "AL2023", "2028-11-14"),
        _runtime("dotnet8", "AL2023", "2026-11-10"),
        _runtime("dotnet6", "AL2", "2024-12-20"),
        _runtime("ruby4.0", "AL2023", "2029-03-31"),
        _runtime("ruby3.4", "AL2023", "2028-03-31"),
        _runtime("ruby3.3", "AL2023", "2027-03-31"),
        _runtime("ruby3.2", "AL2", "2026-03-31"),
        _runtime("provided.al2023", "AL2023", "2029-06-30"),
        _runtime("provided.al2", "AL2", "2026-07-31"),
    )
}
"""Every identifier that CreateFunction and UpdateFunctionConfiguration accept."""

RETIRED: Final[frozenset[str]] = frozenset(
    {
        "nodejs",
        "nodejs4.3",
        "nodejs4.3-edge",
        "nodejs6.10",
        "nodejs8.10",
        "nodejs10.x",
        "nodejs12.x",
        "nodejs14.x",
        "python2.7",
        "python3.6",
        "python3.7",
        "java8",
        "dotnetcore1.0",
        "dotnetcore2.0",
        "dotnetcore2.1",
        "dotnetcore3.1",
        "go1.x",
        "ruby2.5",
        "ruby2.7",
        "provided",
    }
)
"""Identifiers that AWS once ran and now refuses by name (AWS: recorded 2026-01 for eight of them)."""

FUNCTION_VALUE_SET: Final[tuple[str, ...]] = _listed(
    "nodejs20.x python3.14 provided.al2023 python3.12 python3.13 nodejs24.x nodejs22.x java25 python3.10 python3.11 "
    "java21 ruby3.3 ruby3.4 ruby3.2 python3.8 python3.9 java17 nodejs16.x dotnet10 dotnet8 java11 dotnet6 "
    "nodejs18.x provided.al2 java8.al2"
)
"""What the refusal of an unknown function runtime lists, in the order recorded in January 2026. Identifiers that came
later are accepted although this text lacks them."""

LAYER_VALUE_SET: Final[tuple[str, ...]] = _listed(
    "ruby3.5 ruby2.6 dotnetcore1.0 python3.7 nodejs8.10 nasa ruby2.7 python2.7-greengrass dotnetcore2.0 python3.8 "
    "java21 dotnet6 dotnetcore2.1 python3.9 java11 nodejs6.10 provided dotnetcore3.1 dotnet8 java25 java17 nodejs "
    "nodejs4.3 java8.al2 go1.x dotnet10 nodejs20.x go1.9 byol nodejs10.x provided.al2023 nodejs22.x python3.10 "
    "java8 nodejs12.x python3.11 nodejs24.x nodejs8.x python3.12 nodejs14.x nodejs8.9 nodejs26.x python3.13 "
    "python3.14 nodejs16.x python3.15 provided.al2 nodejs4.3-edge nodejs18.x ruby3.2 python3.4 ruby3.3 ruby3.4 "
    "ruby2.5 python3.6 python2.7"
)
"""What the refusal of an unknown layer runtime (`CompatibleRuntime`) lists, in the order recorded in November 2025."""

RESERVED_VARIABLES: Final[frozenset[str]] = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
"""Environment variables that a function's configuration may not set (AWS Lambda developer guide)."""
