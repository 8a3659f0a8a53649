"""Calls of functions, replayed against what AWS answered."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.deploying import Deployer, tail_of, zipped
from tests.recordings import Recording, paths
from tests.running import RunningServer

ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambda-role"

# Functions of the same behaviour for both languages, by the file that the recorded handler names.
NOTHING = {
    "handler.py": "def handler(event, context):\n    pass\n",
    "handler.mjs": "export const handler = async () => {};\n",
}
COUNTS = {
    "handler.py": "n = -1\ndef handler(event, context):\n    global n\n    n += 1\n    return {'counter': n}\n",
    "handler.mjs": "let n = 0;\nexport const handler = async () => ({counter: n++});\n",
}
PRINTS = {
    "handler.py": "def handler(event, context):\n    print(event)\n    return event\n",
    "handler.mjs": "export const handler = async (event) => { console.log(event); return event; };\n",
}
FAILS = {
    "handler.py": "def handler(event, context):\n    raise Exception(f\"Failed: {event['error_msg']}\")\n",
    "index.mjs": "export const handler = async (event) => { throw new Error('Error: ' + event.error_msg); };\n",
}
WRAPPED = {
    "handler.py": "import os\ndef handler(event, context):\n    return os.environ['WRAPPER_VAR']\n",
    "index.mjs": "export const handler = async () => process.env.WRAPPER_VAR;\n",
    "environment_wrapper": '#!/bin/bash\nexport WRAPPER_VAR=set\nexec "$@"\n',
}
SCRATCH = """
import time
number = 0
def handler(event, context):
    global number
    if "write" in event:
        open("/tmp/file", "w").write(event["write"])
    elif "read" in event:
        return {"content": open("/tmp/file").read()}
    elif "set" in event:
        number = event["set"]
    elif "number" in event:
        return {"number": number}
    else:
        time.sleep(30)
"""
CONTEXT = """
import logging
logger = logging.getLogger()
logger.setLevel(logging.INFO)
NAMES = ("invoked_function_arn", "function_version", "function_name", "memory_limit_in_mb", "aws_request_id",
         "log_group_name", "log_stream_name", "client_context")
def handler(event, context):
    print("Lambda log message - print function")
    logger.info("Lambda log message - logging module")
    return {"event": event, "context": {name: getattr(context, name) for name in NAMES}}
"""


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Any:
    return server.client("lambda", account=ACCOUNT)


@pytest.fixture
def deploy(client: Any) -> Iterator[Callable[..., str]]:
    """Deploys to the account of the recordings."""
    deployer = Deployer(client)

    def run(*args: Any, **settings: Any) -> str:
        return deployer(*args, Role=ROLE, **settings)

    yield run
    deployer.remove_all()


@pytest.fixture
def replay(client: Any) -> Iterator[Callable[..., str]]:
    """Creates the function that a recording creates and compares the answer; skips what this machine cannot run."""
    made: list[str] = []

    def run(recording: Recording, step: str, files: Mapping[str, str | bytes]) -> str:
        expected = recording.steps[step]
        expected = expected.get("CreateFunctionResponse", expected)
        settings = {key: expected[key] for key in ("Runtime", "Handler", "Timeout", "MemorySize")}
        settings |= {key: expected[key] for key in ("Environment",) if key in expected}
        if expected["Version"] != "$LATEST":
            settings["Publish"] = True
        name = f"replayed-{len(made)}"
        made.append(name)
        answer = client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": zipped(files)}, **settings)
        recording.check(step, answer)
        while (state := client.get_function_configuration(FunctionName=name))["State"] == "Pending":
            pass
        if state["State"] == "Failed":
            pytest.skip(state["StateReason"])
        return name

    yield run
    for name in made:
        client.delete_function(FunctionName=name)


def invoke(client: Any, name: str, event: object = None, **settings: Any) -> dict[str, Any]:
    """An answer in the form of the recordings: objects as such, any other payload as text."""
    response: dict[str, Any] = client.invoke(FunctionName=name, Payload=json.dumps(event or {}), **settings)
    payload = response["Payload"].read().decode()
    return response | {"Payload": json.loads(payload) if payload.startswith("{") else payload}


def recorded(test: str) -> list[str]:
    """The names under which a test was recorded, for each of its parameters."""
    found = [name for name in paths() if name.startswith(f"{test}[")]
    assert found
    return found


def without_times(line: str) -> str:
    """A log line with times and sizes as the recordings have them."""
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "date", line)
    return re.sub(r"\b\d+(\.\d\d)?(?= ms)", "<duration>", line)


def runtime_of(name: str) -> str:
    return "nodejs20.x" if "nodejs" in name else "python3.12"


@pytest.mark.parametrize("name", recorded("TestLambdaBehavior::test_lambda_cache_local"))
def test_globals_are_kept(client: Any, deploy: Callable[..., str], name: str) -> None:
    recording = Recording.find(name)
    function = deploy(COUNTS, runtime=runtime_of(name), Handler="handler.handler")
    recording.check("first_invoke_result", invoke(client, function))
    recording.check("second_invoke_result", invoke(client, function))


def test_tmp_outlives_a_timeout_and_globals_do_not(client: Any, replay: Callable[..., str]) -> None:
    recording = Recording.find("TestLambdaBehavior::test_lambda_invoke_timed_out_environment_reuse")
    # This one was recorded in 2024. A timeout in its form of November 2025:
    timeout = Recording.find("TestLambdaErrors::test_lambda_runtime_exit_segfault").steps["invocation_error"]
    timeout["Payload"]["errorMessage"] = timeout["Payload"]["errorMessage"].replace("30.00", "1.00")
    recording.steps["invoke-result-timed-out"] = timeout
    function = replay(recording, "create-result", {"handler.py": SCRATCH})
    for step, event in (
        ("invoke-result-file-write", {"write": "some-content"}),
        ("invoke-result-file-read", {"read": 1}),
        ("invoke-result-set-number", {"set": 42}),
        ("invoke-result-read-number", {"number": 1}),
        ("invoke-result-timed-out", {"sleep": 1}),
        ("invoke-result-file-read-after-timeout", {"read": 1}),
        ("invoke-result-read-number-after-timeout", {"number": 1}),
    ):
        recording.check(step, invoke(client, function, event))


def test_an_exception(client: Any, deploy: Callable[..., str]) -> None:
    recording = Recording.find("TestLambdaErrors::test_lambda_handler_error")
    code = 'def handler(event, context):\n    raise Exception("Handler fails")\n'
    function = deploy({"lambda_handler_error.py": code}, Handler="lambda_handler_error.handler")
    recording.check("invocation_error", invoke(client, function))


def test_a_module_that_fails(client: Any, deploy: Callable[..., str]) -> None:
    recording = Recording.find("TestLambdaErrors::test_lambda_runtime_error")
    code = 'raise Exception("Runtime startup fails")\ndef handler(event, context):\n    pass\n'
    function = deploy({"lambda_runtime_error.py": code}, runtime="python3.13", Handler="lambda_runtime_error.handler")
    answer = invoke(client, function)
    # Lines of the standard library move from one patch version of Python to the next.
    for response in (answer, recording.steps["invocation_error"]):
        trace = response["Payload"]["stackTrace"]
        trace[:-1] = [re.sub(r"line \d+", "line N", frame) for frame in trace[:-1]]
    recording.check("invocation_error", answer)


@pytest.mark.parametrize(
    "place", ["{}\ndef handler(event, context):\n    pass\n", "def handler(event, context):\n    {}\n"]
)
def test_an_exit(client: Any, deploy: Callable[..., str], place: str) -> None:
    recording = Recording.find("TestLambdaErrors::test_lambda_runtime_exit")
    function = deploy(place.format("__import__('sys').exit(0)"))
    recording.check("invocation_error", invoke(client, function))


@pytest.mark.parametrize("name", recorded("TestLambdaErrors::test_lambda_invoke_payload_encoding_error"))
def test_events_that_are_no_text(client: Any, deploy: Callable[..., str], name: str) -> None:
    recording = Recording.find(name)
    kind, _, escaped = name[name.index("[") + 1 : -1].partition("-")
    payload = escaped.encode().decode("unicode_escape").encode("latin-1")
    function = deploy(PRINTS, Handler="handler.handler")
    with pytest.raises(ClientError) as error:
        client.invoke(FunctionName=function, Payload=payload)
    recording.check(f"invoke_function_invalid_payload_{kind}", error.value)


@pytest.mark.parametrize("name", recorded("TestLambdaFeatures::test_invocation_type_no_return_payload"))
def test_nothing_is_returned(client: Any, deploy: Callable[..., str], name: str) -> None:
    function = deploy(NOTHING, runtime=runtime_of(name), Handler="handler.handler")
    invocation_type = name.rpartition("-")[2][:-1]
    Recording.find(name).check("invoke-result", invoke(client, function, InvocationType=invocation_type))


@pytest.mark.parametrize("name", recorded("TestLambdaFeatures::test_invocation_with_logs"))
def test_log_lines(server: RunningServer, client: Any, deploy: Callable[..., str], name: str) -> None:
    recording = Recording.find(name)
    function = deploy(PRINTS, runtime=runtime_of(name), Handler="handler.handler")
    answer = invoke(client, function, LogType="Tail")
    recording.check("invoke", answer | {"LogResult": "log-result"})
    logs = server.client("logs", account=ACCOUNT)
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
    lines = [without_times(event["message"]) for event in events]
    assert lines[0].startswith("INIT_START Runtime Version: ")
    recording.check("logs", {"logs": lines[1:]})


def test_a_published_version_by_its_number(client: Any, replay: Callable[..., str]) -> None:
    recording = Recording.find("TestLambdaFeatures::test_invocation_with_qualifier")
    function = replay(recording, "creation-response", {"handler.py": CONTEXT})
    event = {"foo": "bar with 'quotes\""}
    answer = invoke(client, function, event, LogType="Tail", Qualifier="1")
    recording.check("invocation-response", answer)
    lines = [without_times(line) for line in tail_of(answer).splitlines()]
    first = next(index for index, line in enumerate(lines) if line.startswith("START"))
    recording.check("log_result", {"log_result": lines[first:-1]})


def test_a_reservation_of_zero(server: RunningServer, client: Any, deploy: Callable[..., str]) -> None:
    recording = Recording.find("TestLambdaConcurrency::test_reserved_concurrency")
    function = deploy(
        NOTHING, runtime="python3.12", Handler="handler.handler", Timeout=20, Environment={"Variables": {}}
    )
    recording.check("fn", client.get_function_configuration(FunctionName=function, Qualifier="$LATEST"))
    reserved = client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    recording.check("put_reserved", reserved)
    with pytest.raises(ClientError) as error:
        client.invoke(FunctionName=function)
    recording.check("exc_no_cap_requestresponse", error.value)
    sqs = server.client("sqs", account=ACCOUNT)
    url = sqs.create_queue(QueueName=function)["QueueUrl"]
    target = {"Destination": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{function}"}
    settings = client.put_function_event_invoke_config(
        FunctionName=function, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": target}
    )
    recording.check("put_event_invoke_conf", settings)
    recording.check("invoke_result", invoke(client, function, InvocationType="Event"))
    (message,) = sqs.receive_message(QueueUrl=url, AttributeNames=["All"], WaitTimeSeconds=10)["Messages"]
    body = json.loads(message["Body"])
    body["timestamp"] = "date"
    recording.check("msg", message | {"Body": body})


@pytest.mark.parametrize("name", recorded("TestLambdaRuntimesCommon::test_uncaught_exception_invoke"))
def test_an_exception_in_every_runtime(client: Any, replay: Callable[..., str], name: str) -> None:
    recording = Recording.find(name)
    function = replay(recording, "create_function_result", FAILS)
    recording.check("error_result", invoke(client, function, {"error_msg": "some_error_msg"}))


@pytest.mark.parametrize("name", recorded("TestLambdaRuntimesCommon::test_runtime_wrapper_invoke"))
def test_a_wrapper_script(client: Any, replay: Callable[..., str], name: str) -> None:
    function = replay(Recording.find(name), "create_function_result", WRAPPED)
    assert invoke(client, function)["Payload"] == '"set"'


@pytest.mark.parametrize("name", recorded("TestNodeJSRuntimes::test_invoke_nodejs_es6_lambda"))
def test_an_es_module(client: Any, replay: Callable[..., str], name: str) -> None:
    recording = Recording.find(name)
    code = """
export const handler = async (event) => {
  const text = `response from localstack lambda: ${JSON.stringify(event)}`;
  return {statusCode: 200, body: JSON.stringify(text)};
};
"""
    function = replay(recording, "creation-result", {"lambda_handler_es6.mjs": code})
    recording.check("invocation-result", invoke(client, function, {"event_type": "test_lambda"}))


def test_a_large_package(client: Any, replay: Callable[..., str]) -> None:
    recording = Recording.find("TestLambdaSizeLimits::test_large_lambda")
    files = NOTHING | {"ballast": random.Random(1).randbytes(50_000_000)}
    function = replay(recording, "create_function_large_zip", files)
    assert invoke(client, function)["Payload"] == "null"


def test_a_request_that_is_too_large(client: Any) -> None:
    recording = Recording.find("TestLambdaSizeLimits::test_oversized_request_create_lambda")
    with pytest.raises(ClientError) as error:
        client.create_function(
            FunctionName="too-large",
            Runtime="python3.12",
            Handler="handler.handler",
            Role=ROLE,
            Code={"ZipFile": b"P" * 52_700_000},
        )
    recording.check("invalid_param_exc", error.value)
