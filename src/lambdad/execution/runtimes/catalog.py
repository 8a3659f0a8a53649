"""How each runtime boots here, and what its processes find in their environment.

The identifiers themselves are in `domain.runtimes`. Python and Node functions run under our own bootstraps, which
speak frames; `provided.*` runs the function's own `bootstrap` against the HTTP Runtime API; the rest (Java, .NET,
Ruby) is known, so that functions can be created and described, but needs the user's own runtime client to run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lambdad.domain.runtimes import RUNTIMES, Family, Runtime

NODE_BOOTSTRAP: Final = Path(__file__).parent / "node" / "index.mjs"
"""Our bootstrap on the host; its folder is what environments see as /var/runtime."""

# The address on AWS. Our own bootstraps use no HTTP, yet libraries look at whether the variable is there.
RUNTIME_API_ADDRESS = "169.254.100.1:9001"
_XRAY_DAEMON = ("169.254.100.1", "2000")


# Feature, and since when Node knows its switch: within Node 20, and elsewhere. An unknown switch ends Node at once.
_FEATURES_OFF: Final = (("require-module", (20, 17), (22, 0)), ("detect-module", (20, 10), (21, 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """How environments of one runtime start."""

    kind: str
    """`python`, `node` (our bootstraps, frames); `official` (awslambdaric), `bootstrap` (the function's own), both over
    HTTP. See LaunchPlan."""
    interpreter: str
    """What must be found on the machine: `python3.12`, `node22`; empty for `bootstrap`."""


def boot(identifier: str, *, official_python: bool = False) -> Boot | None:
    """How the runtime boots; None if it is known but cannot be run here. With `official_python` Python functions run
    under awslambdaric."""
    runtime = RUNTIMES.get(identifier)
    if runtime is None:
        return None
    if runtime.family is Family.PYTHON:
        return Boot(kind="official" if official_python else "python", interpreter=identifier)
    if runtime.family is Family.NODEJS:
        return Boot(kind="node", interpreter=f"node{runtime.version}")
    if runtime.family is Family.PROVIDED:
        return Boot(kind="bootstrap", interpreter="")
    return None


def why_not_runnable(identifier: str) -> str:
    """One sentence for a function whose runtime `boot` answers with None."""
    return (
        f"The runtime {identifier} cannot run on this server. Package the function with its own runtime client "
        "and a bootstrap file, and use provided.al2023."
    )


def _python_minor(runtime: Runtime) -> int:
    return int(runtime.version.partition(".")[2])


def node_arguments(
    identifier: str, node_version: tuple[int, ...], memory_mb: int, node_options: str = ""
) -> tuple[str, ...]:
    """The interpreter's options: heap sizes that follow the memory size, as AWS starts its Node runtimes.

    `node_version` is that of the interpreter found, such as (22, 11, 0). Before nodejs24.x AWS switches off two
    features that newer Node versions have by default (`require` of ES modules, guessing whether a file is one),
    unless the function asks for them in `node_options`, its own NODE_OPTIONS (AWS Lambda developer guide).
    """
    arguments = [
        "--expose-gc",
        f"--max-semi-space-size={max(1, memory_mb * 5 // 100)}",
        f"--max-old-space-size={memory_mb * 90 // 100}",
    ]
    if int(RUNTIMES[identifier].version) < 24:
        arguments += [
            f"--no-experimental-{feature}"
            for feature, since_20, since in _FEATURES_OFF
            if (node_version >= since or since_20 <= node_version < (21,))
            and f"--experimental-{feature}" not in node_options
        ]
    return tuple(arguments)


def runtime_version(identifier: str) -> str:
    """The runtime version that INIT_START names, in AWS's form and with our own number; stable per identifier."""
    runtime = RUNTIMES[identifier]
    match runtime.family:
        case Family.PYTHON:
            # The name of AWS's line of Python runtimes changed with 3.12 (public logs) and went with 3.13 (recorded
            # 2025-11, test_multi_line_prints).
            minor = _python_minor(runtime)
            line = "" if minor >= 13 else ".mainlinev2" if minor == 12 else ".mainline"
            return f"python:{runtime.version}{line}.v1"
        case Family.NODEJS:
            return f"nodejs:{runtime.version}.mainline.v1"
        case _:
            return f"{runtime.family}:{runtime.version}.v1"


def runtime_version_arn(region: str, identifier: str) -> str:
    """ARN of the runtime version: the same on every server for one region and identifier (AWS: 64 hex digits)."""
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    digest = hashlib.sha256(runtime_version(identifier).encode()).hexdigest()
    return f"arn:{partition}:lambda:{region}::runtime:{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where an environment finds its files; other than on AWS where the machine has no mount namespaces."""

    task: str = "/var/task"
    layers: str = "/opt"
    runtime: str = "/var/runtime"


ON_AWS: Final = Places()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Temporary keys of the function's role."""

    access_key_id: str
    secret_access_key: str
    session_token: str


def base_environment(
    *,
    runtime: str,
    handler: str,
    function_name: str,
    function_version: str,
    memory_mb: int,
    region: str,
    log_group: str,
    log_stream: str,
    credentials: Credentials,
    initialization_type: str = "on-demand",
    runtime_api: str = RUNTIME_API_ADDRESS,
    log_format: str = "Text",
    log_level: str | None = None,
    places: Places = ON_AWS,
) -> dict[str, str]:
    """The variables that AWS sets, as recorded from Python 3.14 and Node 24 functions in early 2026.

    `runtime_api` is `host:port` of the environment's own Runtime API; `log_level` is the application log level of the
    JSON format. The function's own variables go on top (`{**base, **own}`): those it may not override are refused
    when they are configured (`domain.runtimes.RESERVED_VARIABLES`).
    """
    known = RUNTIMES[runtime]
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": function_version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization_type,
        "AWS_LAMBDA_LOG_GROUP_NAME": log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": ":".join(_XRAY_DAEMON),
        "_AWS_XRAY_DAEMON_ADDRESS": _XRAY_DAEMON[0],
        "_AWS_XRAY_DAEMON_PORT": _XRAY_DAEMON[1],
        "_HANDLER": handler,
        "LAMBDA_TASK_ROOT": places.task,
        "LAMBDA_RUNTIME_DIR": places.runtime,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": f"/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:{places.layers}/bin",
        "LD_LIBRARY_PATH": ":".join(
            [
                "/var/lang/lib:/lib64:/usr/lib64",
                f"{places.runtime}:{places.runtime}/lib",
                f"{places.task}:{places.task}/lib",
                f"{places.layers}/lib",
            ]
        ),
        "PWD": places.task,
        "SHLVL": "0",
    }
    if known.family is not Family.PROVIDED:
        environment["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{runtime}"
    if log_format.upper() == "JSON":
        environment["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        environment["AWS_LAMBDA_LOG_LEVEL"] = log_level or "INFO"
    return environment | _of_family(known, places)


def common_environment(runtime: str, places: Places = ON_AWS) -> dict[str, str]:
    """Those of the variables that are the same for every function of a runtime."""
    nothing = Credentials(access_key_id="", secret_access_key="", session_token="")
    every = base_environment(
        runtime=runtime,
        handler="",
        function_name="",
        function_version="",
        memory_mb=0,
        region="",
        log_group="",
        log_stream="",
        credentials=nothing,
        places=places,
    )
    return {name: value for name, value in every.items() if not name.startswith(("AWS_", "_"))}


def _of_family(runtime: Runtime, places: Places) -> dict[str, str]:
    match runtime.family:
        case Family.PYTHON:
            return {"LC_CTYPE": "C.UTF-8", "PYTHONPATH": places.runtime}
        case Family.NODEJS:
            modules = f"{places.layers}/nodejs"
            return {
                "NODE_PATH": ":".join(
                    [
                        f"{modules}/node{runtime.version}/node_modules",
                        f"{modules}/node_modules",
                        f"{places.runtime}/node_modules",
                        places.runtime,
                        places.task,
                    ]
                )
            }
        case Family.RUBY:
            gems = f"ruby/{'.'.join(runtime.version.split('.')[:2])}.0"
            return {"GEM_PATH": f"{places.task}/vendor/bundle/{gems}:{places.layers}/ruby/gems/{gems.split('/')[1]}"}
        case _:
            return {}
