"""Synchronous invocation through boto3 against a real server and real functions."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.execution.runtimes.interpreters import Interpreters
from tests.aws.deploying import Deployer, tail_of, zipped
from tests.running import RunningServer

needs_node_ahead = pytest.mark.skipif(
    os.geteuid() != 0 or Interpreters().find("node20") is None, reason="needs root and Node.js 20"
)

ECHO = "def handler(event, context):\n    return event\n"

IDENTITY = """
import boto3
def handler(event, context):
    identity = boto3.client("sts").get_caller_identity()
    return {key: identity[key] for key in ("UserId", "Account", "Arn")}
"""


def refused(call: Any, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return dict(error.value.response)


# --- answers ---


@pytest.mark.parametrize("event", [{"a": 1, "ü": "é"}, [1, 2], "text", 5, None, True, {}])
def test_an_event_comes_back(deploy: Deployer, event: object) -> None:
    name = deploy(ECHO)
    response = deploy.invoke(name, json.dumps(event).encode())
    assert json.loads(response["Payload"]) == event
    assert response["StatusCode"] == 200
    assert response["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in response
    assert "LogResult" not in response


def test_no_return_value_is_null(deploy: Deployer) -> None:
    assert deploy.invoke(deploy("def handler(e, c):\n    pass\n"))["Payload"] == b"null"


def test_an_absent_body_is_an_empty_object(deploy: Deployer) -> None:
    assert deploy.invoke(deploy(ECHO))["Payload"] == b"{}"


def test_the_request_id_is_the_functions(deploy: Deployer) -> None:
    name = deploy("def handler(e, c):\n    return c.aws_request_id\n")
    response = deploy.invoke(name)
    assert json.loads(response["Payload"]) == response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]


def test_the_headers_of_an_answer(deploy: Deployer) -> None:
    headers = deploy.invoke(deploy(ECHO))["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == "application/json"
    assert headers["x-amz-executed-version"] == "$LATEST"
    assert headers["x-amzn-remapped-content-length"] == "0"
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0;Lineage=1:[0-9a-f]{8}:0",
                        headers["x-amzn-trace-id"])  # fmt: skip
    assert uuid.UUID(headers["x-amzn-requestid"])


def test_dry_run_runs_nothing(deploy: Deployer, logs_client: Any) -> None:
    name = deploy(ECHO)
    response = deploy.invoke(name, InvocationType="DryRun")
    assert response["StatusCode"] == 204
    assert response["Payload"] == b""
    assert "ExecutedVersion" not in response
    assert not logs_client.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]


def test_globals_live_on_in_a_warm_environment(deploy: Deployer) -> None:
    name = deploy("n = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return n\n")
    assert [json.loads(deploy.invoke(name)["Payload"]) for _ in range(3)] == [1, 2, 3]


def test_the_context_and_the_environment(deploy: Deployer) -> None:
    name = deploy(
        """
import os
def handler(event, context):
    return {
        "name": context.function_name, "version": context.function_version, "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb, "group": context.log_group_name, "stream": context.log_stream_name,
        "left": context.get_remaining_time_in_millis(), "custom": context.client_context.custom,
        "cwd": os.getcwd(), "root": os.environ["LAMBDA_TASK_ROOT"], "mine": os.environ["MINE"],
        "secret": os.environ.get("LAMBDAD_TEST_SECRET"), "trace": os.environ["_X_AMZN_TRACE_ID"],
        "uid": os.getuid(), "file": __file__,
    }
""",
        Timeout=7,
        MemorySize=256,
        Environment={"Variables": {"MINE": "yes"}},
    )
    context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    seen = json.loads(deploy.invoke(name, ClientContext=context)["Payload"])
    assert seen["name"] == name
    assert seen["version"] == "$LATEST"
    assert seen["arn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert seen["memory"] == "256"
    assert seen["group"] == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", seen["stream"])
    assert 5000 < seen["left"] <= 7000
    assert seen["custom"] == {"k": "v"}
    assert seen["mine"] == "yes"
    assert seen["secret"] is None
    assert seen["trace"].startswith("Root=1-")
    assert seen["cwd"] == seen["root"]


def test_the_keys_of_a_function_are_its_own_accounts(server: RunningServer) -> None:
    """Also with a role of another account, such as one that examples name."""
    client = server.client("lambda", account="444455556666")
    deployer = Deployer(client)
    name = deployer(IDENTITY, Timeout=20)
    arn = f"arn:aws:sts::444455556666:assumed-role/lambda-role/{name}"
    assert json.loads(deployer.invoke(name)["Payload"])["Arn"] == arn
    deployer.remove_all()


def test_a_function_acts_as_a_session_of_its_role(server: RunningServer, deploy: Deployer) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = server.client("iam").create_role(RoleName="acting", Path="/of/", AssumeRolePolicyDocument=document)["Role"]
    name = deploy(IDENTITY, Timeout=20, Role=role["Arn"])
    assert json.loads(deploy.invoke(name)["Payload"]) == {
        "UserId": f"{role['RoleId']}:{name}",
        "Account": "000000000000",
        "Arn": f"arn:aws:sts::000000000000:assumed-role/acting/{name}",
    }


def test_boto3_can_be_imported(deploy: Deployer) -> None:
    name = deploy("import boto3\ndef handler(e, c):\n    return boto3.__name__\n", Timeout=20)
    assert json.loads(deploy.invoke(name)["Payload"]) == "boto3"


# --- failures ---


def test_an_exception(deploy: Deployer) -> None:
    name = deploy('def handler(e, c):\n    raise Exception("Handler fails")\n')
    response = deploy.invoke(name)
    assert response["StatusCode"] == 200
    assert response["FunctionError"] == "Unhandled"
    assert response["ExecutedVersion"] == "$LATEST"
    request_id = response["ResponseMetadata"]["RequestId"]
    assert response["Payload"].decode() == (
        '{"errorMessage": "Handler fails", "errorType": "Exception", "requestId": "' + request_id + '", '
        '"stackTrace": ["  File \\"/var/task/app.py\\", line 2, in handler\\n    raise Exception(\\"Handler fails\\")\\n"]}'
    )


def test_a_module_that_fails_to_load(deploy: Deployer) -> None:
    response = deploy.invoke(deploy('raise Exception("Runtime startup fails")\n'), LogType="Tail")
    error = json.loads(response["Payload"])
    assert (error["errorMessage"], error["errorType"], error["requestId"]) == ("Runtime startup fails", "Exception", "")
    assert error["stackTrace"][0].startswith('  File "/var/lang/lib/python3.11/importlib/__init__.py", line ')
    assert error["stackTrace"][-1] == (
        '  File "/var/task/app.py", line 1, in <module>\n    raise Exception("Runtime startup fails")\n'
    )
    assert "\tPhase: init\tStatus: error\tError Type: Runtime.Unknown" in tail_of(response)
    assert "\tPhase: invoke\tStatus: error\tError Type: Runtime.Unknown" in tail_of(response)


@pytest.mark.parametrize(
    ("code", "handler", "error_type", "message"),
    [
        ("x = 1\n", "app.nothing", "Runtime.HandlerNotFound", "Handler 'nothing' missing on module 'app'"),
        ("x = 1\n", "other.handler", "Runtime.ImportModuleError", "Unable to import module 'other': No module named 'other'"),
        ("x = 1\n", "app", "Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)"),
        ("def handler(e, c):\n    return {1}\n", "app.handler", "Runtime.MarshalError",
         "Unable to marshal response: Object of type set is not JSON serializable"),
    ],
)  # fmt: skip
def test_what_the_runtime_refuses(deploy: Deployer, code: str, handler: str, error_type: str, message: str) -> None:
    response = deploy.invoke(deploy(code, Handler=handler))
    error = json.loads(response["Payload"])
    assert (error["errorType"], error["errorMessage"], error["stackTrace"]) == (error_type, message, [])
    assert response["FunctionError"] == "Unhandled"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("sys.exit(0)", "Runtime exited without providing a reason"),
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
        ("os.kill(os.getpid(), 11)", "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_an_exit(deploy: Deployer, statement: str, reason: str) -> None:
    name = deploy(
        f"import os, sys\nn = 0\ndef handler(e, c):\n    global n\n    n += 1\n    if e == 'go':\n        {statement}\n    return n\n"
    )
    assert deploy.invoke(name)["Payload"] == b"1"
    response = deploy.invoke(name, "go")
    request_id = response["ResponseMetadata"]["RequestId"]
    assert json.loads(response["Payload"]) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: {reason}",
    }
    assert deploy.invoke(name)["Payload"] == b"1"


def test_a_timeout_keeps_tmp_and_the_log_stream(deploy: Deployer) -> None:
    name = deploy(
        """
import time, os
n = 0
def handler(event, context):
    global n
    n += 1
    if event == "sleep":
        open("/tmp/kept", "w").write("some-content")
        time.sleep(30)
    return [n, os.path.exists("/tmp/kept") and open("/tmp/kept").read(), context.log_stream_name]
""",
        Timeout=1,
    )
    before = json.loads(deploy.invoke(name)["Payload"])
    response = deploy.invoke(name, "sleep", LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    assert response["Payload"].decode() == (
        f'{{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: {request_id} Error: '
        'Task timed out after 1.00 seconds"}'
    )
    assert re.search(r"\tDuration: 1000.00 ms\tBilled Duration: 1000 ms\t.*\tStatus: timeout\n$", tail_of(response))
    after = json.loads(deploy.invoke(name)["Payload"])
    assert after == [1, "some-content", before[2]]


def test_out_of_memory(deploy: Deployer) -> None:
    name = deploy(
        "def handler(e, c):\n    x = bytearray(600 * 1024 * 1024)\n    return len(x)\n", MemorySize=128, Timeout=20
    )
    response = deploy.invoke(name, LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    assert json.loads(response["Payload"]) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: Runtime exited with error: signal: killed",
    }
    assert "\tStatus: error\tError Type: Runtime.OutOfMemory\n" in tail_of(response)


# --- requests that are refused ---


def test_an_event_that_is_not_json(deploy: Deployer) -> None:
    error = refused(deploy.client.invoke, FunctionName=deploy(ECHO), Payload=b"n\x87r\x9e\xe9\xb5\xd7I\xee\x9bmt")
    assert error["Error"]["Code"] == "InvalidRequestContentException"
    assert error["message"] == (
        "Could not parse request body into json: Could not parse payload into json: Invalid UTF-8 start byte 0x87\n"
        " at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 3]"
    )
    assert error["Type"] == "User"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_sizes_of_events(deploy: Deployer) -> None:
    name = deploy("def handler(e, c):\n    return len(e)\n", MemorySize=512)
    limit = 6_291_456
    assert json.loads(deploy.invoke(name, b'"' + b"x" * (limit - 2) + b'"')["Payload"]) == limit - 2
    error = refused(deploy.client.invoke, FunctionName=name, Payload=b'"' + b"x" * (limit - 1) + b'"')
    assert error["Error"]["Code"] == "RequestEntityTooLargeException"
    assert error["Error"]["Message"] == (
        f"{limit + 1} byte payload is too large for the RequestResponse invocation type (limit {limit} bytes)"
    )
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 413
    error = refused(deploy.client.invoke, FunctionName=name, Payload=b'"' + b"x" * (9 * 1024 * 1024) + b'"')
    assert error["Error"]["Message"] == f"Request must be smaller than {limit} bytes for the InvokeFunction operation"


def test_sizes_of_responses(deploy: Deployer) -> None:
    name = deploy("def handler(e, c):\n    return 'x' * e\n", MemorySize=512)
    limit = 6_291_556
    assert len(deploy.invoke(name, limit - 2)["Payload"]) == limit
    response = deploy.invoke(name, limit - 1)
    assert response["Payload"] == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
        b'"errorType":"Function.ResponseSizeTooLarge"}'
    )
    assert response["FunctionError"] == "Unhandled"
    assert deploy.invoke(name, 1)["Payload"] == b'"x"'


def test_an_unknown_function(deploy: Deployer) -> None:
    error = refused(deploy.client.invoke, FunctionName="doesnotexist")
    assert error["Error"] == {
        "Code": "ResourceNotFoundException",
        "Message": "Function not found: arn:aws:lambda:us-east-1:000000000000:function:doesnotexist:$LATEST",
    }


def test_an_invocation_type_that_does_not_exist(deploy: Deployer) -> None:
    error = refused(deploy.client.invoke, FunctionName=deploy(ECHO), InvocationType="Later")
    assert error["Error"]["Code"] == "ValidationException"
    assert "Value 'Later' at 'invocationType' failed to satisfy constraint" in error["Error"]["Message"]


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ({"TenantId": "t"}, "The invoked function is not enabled with tenancy configuration."),
        ({"DurableExecutionName": "n"}, "The invoked function is not a durable function."),
    ],
)
def test_calls_of_other_kinds_of_functions(deploy: Deployer, member: dict[str, str], text: str) -> None:
    error = refused(deploy.client.invoke, FunctionName=deploy(ECHO), **member)
    assert error["Error"] == {"Code": "InvalidParameterValueException", "Message": text}


def test_a_client_context_that_is_no_json(deploy: Deployer) -> None:
    error = refused(deploy.client.invoke, FunctionName=deploy(ECHO), ClientContext="no base64")
    assert error["Error"]["Code"] == "InvalidRequestContentException"


# --- versions and aliases ---


def test_versions_and_weighted_aliases(deploy: Deployer) -> None:
    client = deploy.client
    name = deploy("def handler(e, c):\n    return [1, c.function_version, c.invoked_function_arn]\n")
    assert client.publish_version(FunctionName=name)["Version"] == "1"
    from tests.aws.deploying import zipped

    code = "def handler(e, c):\n    return [2, c.function_version, c.invoked_function_arn]\n"
    client.update_function_code(FunctionName=name, ZipFile=zipped({"app.py": code}))
    deploy.wait_updated(name)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    client.create_alias(
        FunctionName=name, Name="prod", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}}
    )
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert json.loads(deploy.invoke(name, Qualifier="1")["Payload"]) == [1, "1", f"{arn}:1"]
    assert json.loads(deploy.invoke(f"{name}:2")["Payload"]) == [2, "2", f"{arn}:2"]
    executed = set()
    for _ in range(40):
        response = deploy.invoke(f"{arn}:prod")
        number, version, invoked = json.loads(response["Payload"])
        assert response["ExecutedVersion"] == version == str(number)
        assert invoked == f"{arn}:prod"
        executed.add(version)
    assert executed == {"1", "2"}
    error = refused(client.invoke, FunctionName=name, Qualifier="nobody")
    assert error["Error"]["Message"] == f"Function not found: {arn}:nobody"


def test_an_update_does_not_drop_calls_that_run(deploy: Deployer) -> None:
    name = deploy("import time\ndef handler(e, c):\n    time.sleep(e)\n    return 'old'\n", Timeout=10)
    deploy.invoke(name, 0)
    answers: list[bytes] = []
    thread = threading.Thread(target=lambda: answers.append(deploy.invoke(name, 0.5)["Payload"]))
    thread.start()
    deploy.client.update_function_configuration(FunctionName=name, Environment={"Variables": {"MODE": "new"}})
    deploy.wait_updated(name)
    assert deploy.invoke(name, 0)["Payload"] == b'"old"'
    thread.join(10)
    assert answers == [b'"old"']


# --- concurrency ---


def test_a_reservation_of_zero_throttles(deploy: Deployer) -> None:
    name = deploy(ECHO)
    deploy.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    error = refused(deploy.client.invoke, FunctionName=name)
    assert error["Error"] == {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}
    assert error["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 429
    deploy.client.delete_function_concurrency(FunctionName=name)
    assert deploy.invoke(name, 1)["Payload"] == b"1"


def test_calls_of_one_function_run_at_once(deploy: Deployer) -> None:
    name = deploy("import time, os\ndef handler(e, c):\n    time.sleep(1)\n    return os.getpid()\n", Timeout=20)
    answers: list[Any] = []
    started = time.monotonic()
    threads = [threading.Thread(target=lambda: answers.append(deploy.invoke(name))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 20
    assert all("FunctionError" not in answer for answer in answers)
    # One after the other they would take 20 s; the bound leaves room for a slow machine.
    assert time.monotonic() - started < 12


# --- logs ---


def test_the_tail_has_the_whole_log_of_a_cold_start(deploy: Deployer) -> None:
    name = deploy("print('loading')\ndef handler(e, c):\n    print('hello')\n    return 1\n")
    response = deploy.invoke(name, LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    assert re.fullmatch(
        r"INIT_START Runtime Version: python:3\.11\.\S+\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}\n"
        rf"loading\nSTART RequestId: {request_id} Version: \$LATEST\nhello\nEND RequestId: {request_id}\n"
        rf"REPORT RequestId: {request_id}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: \d+ MB\tInit Duration: [\d.]+ ms\t\n",
        tail_of(response),
    )


def test_the_tail_is_cut_to_4_kb(deploy: Deployer) -> None:
    name = deploy("def handler(e, c):\n    print('x' * 10000)\n")
    assert len(base64.b64decode(deploy.invoke(name, LogType="Tail")["LogResult"])) == 4096


def test_active_tracing_is_told_to_function_and_log(deploy: Deployer) -> None:
    code = "import os\ndef handler(e, c):\n    return os.environ['_X_AMZN_TRACE_ID']\n"
    name = deploy(code, TracingConfig={"Mode": "Active"})
    response = deploy.invoke(name, LogType="Tail")
    parts = dict(part.split("=") for part in json.loads(response["Payload"]).split(";"))
    assert parts["Sampled"] == "1"
    assert tail_of(response).endswith(
        f" ms\t\nXRAY TraceId: {parts['Root']}\tSegmentId: {parts['Parent']}\tSampled: true\t\n"
    )
    plain = deploy.invoke(deploy(code), LogType="Tail")
    assert ";Sampled=0;" in json.loads(plain["Payload"])
    assert "XRAY" not in tail_of(plain)


def test_a_failed_init_is_told_in_json_too(deploy: Deployer) -> None:
    name = deploy("raise SystemExit(3)\n", LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"})
    records = [json.loads(line) for line in tail_of(deploy.invoke(name, LogType="Tail")).splitlines()]
    done = [one["record"] for one in records if one["type"] == "platform.initRuntimeDone"]
    assert [(one["phase"], one["status"], one["errorType"]) for one in done] == [
        ("init", "error", "Runtime.ExitError"),
        ("invoke", "error", "Runtime.ExitError"),
    ]


def test_logs_are_there_when_the_call_returns(deploy: Deployer, logs_client: Any) -> None:
    name = deploy("def handler(e, c):\n    print('multi\\nline\\nstring')\n    print('another\\rline')\n")
    deploy.invoke(name)
    events = logs_client.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    messages = [event["message"] for event in events]
    assert messages[0].startswith("INIT_START Runtime Version: ")
    assert messages[1].startswith("START RequestId: ")
    assert messages[2:6] == ["multi\n", "line\n", "string\n", "another\rline\n"]
    assert messages[6].startswith("END RequestId: ")
    assert messages[7].startswith("REPORT RequestId: ")
    assert len(messages) == 8


def test_an_exception_is_one_log_event(deploy: Deployer, logs_client: Any) -> None:
    name = deploy('def handler(e, c):\n    raise Exception("boom")\n')
    deploy.invoke(name)
    events = logs_client.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="ERROR")["events"]
    assert [event["message"].splitlines()[:3] for event in events] == [
        [
            "[ERROR] Exception: boom",
            "Traceback (most recent call last):",
            '\u00a0\u00a0File "/var/task/app.py", line 2, in handler',
        ]
    ]


def test_a_function_that_prints_much_is_not_held_up(deploy: Deployer) -> None:
    name = deploy(
        "def handler(e, c):\n    line = 'x' * 99 + '\\n'\n    for _ in range(500000):\n        print(line, end='')\n    return 'done'\n",
        Timeout=60,
        MemorySize=256,
    )
    response = deploy.invoke(name, LogType="Tail")
    assert response["Payload"] == b'"done"'
    assert "REPORT RequestId" in tail_of(response)


# --- streaming ---


def test_streaming_a_function_that_does_not_stream(deploy: Deployer) -> None:
    name = deploy(ECHO)
    response = deploy.client.invoke_with_response_stream(FunctionName=name, Payload=b'{"a":1}', LogType="Tail")
    assert response["StatusCode"] == 200
    assert response["ExecutedVersion"] == "$LATEST"
    events = list(response["EventStream"])
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event) == b'{"a": 1}'
    assert "REPORT" in base64.b64decode(events[-1]["InvokeComplete"]["LogResult"]).decode()


@pytest.mark.node
def test_streaming_arrives_piece_by_piece(deploy: Deployer) -> None:
    name = deploy(
        """
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.setContentType('text/plain');
  for (const part of ['a', 'b', 'c']) {
    stream.write(part);
    await new Promise(resolve => setTimeout(resolve, 30));
  }
  stream.end();
});
""",
        runtime="nodejs20.x",
        Timeout=10,
    )
    response = deploy.client.invoke_with_response_stream(FunctionName=name)
    chunks = [event["PayloadChunk"]["Payload"] for event in response["EventStream"] if "PayloadChunk" in event]
    assert chunks == [b"a", b"b", b"c"]
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-type"] == "text/plain"
    assert deploy.invoke(name)["Payload"] == b"abc"


@pytest.mark.node
def test_a_slow_reader_holds_up_the_function_and_not_the_servers_memory(
    deploy: Deployer, server: RunningServer
) -> None:
    name = deploy(
        """
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  const piece = Buffer.alloc(1024 * 1024, 'x');
  for (let i = 0; i < 60; i++) {
    if (!stream.write(piece)) await new Promise(resolve => stream.once('drain', resolve));
  }
  stream.end();
});
""",
        runtime="nodejs20.x",
        Timeout=60,
        MemorySize=512,
    )
    before = rss_mb(server)
    most = 0
    received = 0
    for event in deploy.client.invoke_with_response_stream(FunctionName=name)["EventStream"]:
        if "PayloadChunk" in event:
            received += len(event["PayloadChunk"]["Payload"])
            most = max(most, rss_mb(server))
    assert received == 60 * 1024 * 1024
    assert most - before < 30


def rss_mb(server: RunningServer) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) // 1024  # type: ignore[index]


# --- other runtimes ---


@pytest.mark.node
def test_node(deploy: Deployer) -> None:
    name = deploy(
        "export const handler = async (event, context) => ({event, id: context.awsRequestId, node: process.version});\n",
        runtime="nodejs20.x",
        Timeout=10,
    )
    response = deploy.invoke(name, {"a": 1})
    seen = json.loads(response["Payload"])
    assert seen["event"] == {"a": 1}
    assert seen["id"] == response["ResponseMetadata"]["RequestId"]


@pytest.mark.node
def test_a_node_error(deploy: Deployer) -> None:
    name = deploy("export const handler = async () => { throw new Error('some_error_msg'); };\n", runtime="nodejs20.x")
    response = deploy.invoke(name)
    error = json.loads(response["Payload"])
    assert list(error) == ["errorType", "errorMessage", "trace"]
    assert (error["errorType"], error["errorMessage"]) == ("Error", "some_error_msg")
    assert error["trace"][0] == "Error: some_error_msg"
    assert response["FunctionError"] == "Unhandled"


BOOTSTRAP = """#!/bin/sh
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "$api/next")
  id=$(grep -i '^lambda-runtime-aws-request-id:' "$headers" | tr -d '[:space:]' | cut -d: -f2)
  echo "custom runtime saw $_HANDLER"
  curl -sS -o /dev/null -X POST -d "{\\"custom\\": $event}" "$api/$id/response"
done
"""


@pytest.mark.parametrize("runtime", ["provided.al2", "provided.al2023"])
def test_a_custom_runtime(deploy: Deployer, runtime: str) -> None:
    name = deploy({"bootstrap": BOOTSTRAP}, runtime=runtime, Handler="any.thing", Timeout=20)
    response = deploy.invoke(name, {"a": 1}, LogType="Tail")
    assert json.loads(response["Payload"]) == {"custom": {"a": 1}}
    assert "custom runtime saw any.thing\n" in tail_of(response)
    assert json.loads(deploy.invoke(name, 5)["Payload"]) == {"custom": 5}


def test_a_missing_bootstrap(deploy: Deployer) -> None:
    name = deploy({"other": "x"}, runtime="provided.al2023")
    response = deploy.invoke(name)
    request_id = response["ResponseMetadata"]["RequestId"]
    assert json.loads(response["Payload"]) == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {request_id} Error: "
        "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
    }


@pytest.mark.skipif(Interpreters().find("python3.12") is None, reason="Python 3.12 is not installed")
def test_a_version_with_snapstart(deploy: Deployer, lambda_client: Any) -> None:
    code = (
        "import os\nfrom snapshot_restore_py import register_after_restore\nran = []\n"
        "register_after_restore(ran.append, 'restored')\n"
        "def handler(event, context): return [os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'], *ran]\n"
    )
    name = deploy(code, runtime="python3.12", SnapStart={"ApplyOn": "PublishedVersions"})
    lambda_client.publish_version(FunctionName=name)
    lambda_client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
    )
    assert deploy.invoke(name, {}, Qualifier="1")["Payload"] == b'["snap-start", "restored"]'
    assert deploy.invoke(name, {})["Payload"] == b'["on-demand"]'


def test_modules_are_compiled_when_a_function_is_deployed(deploy: Deployer, lambda_client: Any) -> None:
    many = "".join(f"def function_{number}(): return {number}\n" for number in range(500))
    code = {"app.py": "import os, many\ndef handler(event, context): return os.path.exists(many.__cached__)\n"}
    archive = zipped({**code, "many.py": many})
    name = deploy({**code, "many.py": many})
    sha256 = base64.b64encode(hashlib.sha256(archive).digest()).decode()
    assert lambda_client.get_function_configuration(FunctionName=name)["CodeSha256"] == sha256
    assert deploy.invoke(name, {})["Payload"] == b"true"


NODE_TELLS = """
const fs = require('fs');
exports.handler = async (event) => {
  if (event.exit) { fs.writeFileSync('/tmp/kept', 'kept'); process.exit(3); }
  return { began: Date.now() - process.uptime() * 1000, own: process.env.OWN, kept: fs.existsSync('/tmp/kept') };
};
"""


@needs_node_ahead
def test_node_starts_before_its_function_is_known(deploy: Deployer) -> None:
    for number in range(20):  # the first ones find no runtime that waits
        before = time.time() * 1000
        name = deploy({"app.js": NODE_TELLS}, runtime="nodejs20.x", Environment={"Variables": {"OWN": str(number)}})
        told = json.loads(deploy.invoke(name, {})["Payload"])
        assert told["own"] == str(number)
        if told["began"] < before - 1:
            break
    else:
        raise AssertionError("no function was started ahead")
    deploy.invoke(name, {"exit": True})
    assert json.loads(deploy.invoke(name, {})["Payload"])["kept"] is True  # the same environment, executed anew


@needs_node_ahead
def test_node_is_executed_for_functions_that_change_its_start(deploy: Deployer) -> None:
    code = "exports.handler = async () => process.title;\n"
    variables = {"Variables": {"NODE_OPTIONS": "--title=mine"}}
    assert (
        deploy.invoke(deploy({"app.js": code}, runtime="nodejs20.x", Environment=variables), {})["Payload"] == b'"mine"'
    )


@pytest.mark.parametrize("change", ["code", "configuration"])
def test_an_update_lets_calls_in_progress_finish(deploy: Deployer, lambda_client: Any, change: str) -> None:
    code = "import os, time\ndef handler(event, context):\n    time.sleep(event['s'])\n    return {answer}\n"
    old, new = code.format(answer="'old'"), code.format(answer="os.environ.get('WHO', 'new')")
    name = deploy(old if change == "code" else new, Environment={"Variables": {"WHO": "old"}})
    assert deploy.invoke(name, {"s": 0})["Payload"] == b'"old"'
    answers: list[bytes] = []
    running = threading.Thread(target=lambda: answers.append(deploy.invoke(name, {"s": 1.5})["Payload"]))
    running.start()
    if change == "code":
        lambda_client.update_function_code(
            FunctionName=name, ZipFile=zipped({"app.py": new.replace("'WHO'", "'NOBODY'")})
        )
    else:
        lambda_client.update_function_configuration(FunctionName=name, Environment={"Variables": {"WHO": "new"}})
    deploy.wait_updated(name)
    assert deploy.invoke(name, {"s": 0})["Payload"] == b'"new"'
    assert answers == []  # the old one still runs
    running.join()
    assert answers == [b'"old"']
