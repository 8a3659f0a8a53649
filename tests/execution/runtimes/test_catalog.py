"""How runtimes boot, and the variables their processes find."""

from __future__ import annotations

import re

import pytest

from lambdad.domain.runtimes import RESERVED_VARIABLES, RUNTIMES
from lambdad.execution.runtimes.catalog import (
    NODE_BOOTSTRAP,
    Boot,
    Credentials,
    Places,
    base_environment,
    boot,
    node_arguments,
    runtime_version,
    runtime_version_arn,
    why_not_runnable,
)
from lambdad.execution.spawner.zygote import USUAL_ENVIRON


def an_environment(runtime: str, **values: object) -> dict[str, str]:
    given: dict[str, object] = {
        "handler": "index.handler",
        "function_name": "f",
        "function_version": "$LATEST",
        "memory_mb": 512,
        "region": "eu-west-1",
        "log_group": "/aws/lambda/f",
        "log_stream": "2026/01/31/[$LATEST]0123456789abcdef0123456789abcdef",
        "credentials": Credentials(access_key_id="AK", secret_access_key="SK", session_token="ST"),
    }
    return base_environment(runtime=runtime, **(given | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("python3.12", Boot(kind="python", interpreter="python3.12")),
        ("python3.9", Boot(kind="python", interpreter="python3.9")),
        ("nodejs22.x", Boot(kind="node", interpreter="node22")),
        ("provided.al2023", Boot(kind="bootstrap", interpreter="")),
        ("python3.8", Boot(kind="python", interpreter="python3.8")),
        ("java21", None),
        ("ruby3.3", None),
        ("no-such-runtime", None),
    ],
)
def test_how_a_runtime_boots(identifier: str, expected: Boot | None) -> None:
    assert boot(identifier) == expected


def test_a_runtime_that_cannot_run_is_named_in_the_reason() -> None:
    assert "java21" in why_not_runnable("java21")


def test_the_node_bootstrap_is_in_the_package() -> None:
    assert NODE_BOOTSTRAP.is_file()


# Names recorded from Python 3.14 and Node 24 functions; values that are fixed on AWS.
RECORDED_OF_ALL = {
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_RUNTIME_API": "169.254.100.1:9001",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
    "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "LANG": "en_US.UTF-8",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LD_LIBRARY_PATH": (
        "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
    ),
    "TZ": ":UTC",
    "PWD": "/var/task",
    "SHLVL": "0",
}
RECORDED = {
    "python3.14": {"LC_CTYPE": "C.UTF-8", "PYTHONPATH": "/var/runtime", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.14"},
    "nodejs24.x": {
        "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x",
        "NODE_PATH": (
            "/opt/nodejs/node24/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
        ),
    },
}


@pytest.mark.parametrize("runtime", RECORDED)
def test_the_environment_is_the_recorded_one(runtime: str) -> None:
    environment = an_environment(runtime)
    assert environment.items() >= (RECORDED_OF_ALL | RECORDED[runtime]).items()
    assert environment["AWS_SECRET_ACCESS_KEY"] == "SK"


def test_a_custom_runtime_has_no_execution_env() -> None:
    assert "AWS_EXECUTION_ENV" not in an_environment("provided.al2023")


def test_json_logging_tells_format_and_level() -> None:
    environment = an_environment("python3.12", log_format="JSON", log_level="WARN")
    assert (environment["AWS_LAMBDA_LOG_FORMAT"], environment["AWS_LAMBDA_LOG_LEVEL"]) == ("JSON", "WARN")
    assert not {"AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL"} & set(an_environment("python3.12"))


def test_other_places_appear_wherever_paths_do() -> None:
    environment = an_environment("nodejs20.x", places=Places(task="/d/task", layers="/d/opt", runtime="/d/run"))
    joined = " ".join(value for key, value in environment.items() if key != "PATH")
    assert "/var/task" not in joined
    assert "/var/runtime" not in joined
    assert environment["LAMBDA_TASK_ROOT"] == "/d/task"
    assert environment["NODE_PATH"].startswith("/d/opt/nodejs/node20/node_modules:")


def test_every_reserved_variable_that_a_started_runtime_has_is_set() -> None:
    set_later_or_never = {"_X_AMZN_TRACE_ID", "AWS_ACCESS_KEY"}
    assert set(an_environment("python3.12")) >= RESERVED_VARIABLES - set_later_or_never


def test_version_arns_have_the_recorded_form_and_differ_by_runtime() -> None:
    arns = {runtime_version_arn("us-east-1", name) for name in RUNTIMES}
    assert len(arns) == len(RUNTIMES)
    assert all(re.fullmatch(r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", arn) for arn in arns)
    assert runtime_version_arn("cn-north-1", "python3.12").startswith("arn:aws-cn:")


def test_version_texts_have_the_form_seen_in_logs() -> None:
    assert re.fullmatch(r"python:3\.12\.mainlinev2\.v\d+", runtime_version("python3.12"))
    assert re.fullmatch(r"nodejs:22\.mainline\.v\d+", runtime_version("nodejs22.x"))


@pytest.mark.parametrize(
    ("identifier", "node", "options", "expected"),
    [
        ("nodejs20.x", (20, 20, 2), "", {"--no-experimental-require-module", "--no-experimental-detect-module"}),
        ("nodejs20.x", (20, 5, 0), "", set()),
        ("nodejs18.x", (18, 20, 0), "", set()),
        ("nodejs22.x", (22, 1, 0), "--experimental-require-module", {"--no-experimental-detect-module"}),
        ("nodejs24.x", (24, 1, 0), "", set()),
    ],
)
def test_node_features_that_aws_switches_off(
    identifier: str, node: tuple[int, ...], options: str, expected: set[str]
) -> None:
    arguments = node_arguments(identifier, node, 1024, options)
    assert {argument for argument in arguments if "experimental" in argument} == expected
    assert {"--max-old-space-size=921", "--max-semi-space-size=51"} <= set(arguments)


def test_what_zygotes_have_in_their_environment_is_what_functions_get() -> None:
    # What differs would have to be set anew in each environment.
    found = an_environment("python3.12")
    assert {name: found[name] for name in USUAL_ENVIRON} == USUAL_ENVIRON
