"""What extensions hear of their environment through the Telemetry API and the Logs API, through the real server."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aws.deploying import Deployer
from tests.aws.extending import CLIENT, publish
from tests.aws.test_extensions import Log
from tests.running import RunningServer

HANDLER = """
import json, os, sys, tempfile, time
print('loading')

def handler(event, context):
    print('event', json.dumps(event))
    if event == 'read':
        with open(tempfile.gettempdir() + '/telemetry') as kept:
            return [json.loads(line) for line in kept]
    if event == 'raise':
        raise ValueError('no')
    if event == 'sleep':
        time.sleep(30)
    if event == 'exit':
        os._exit(3)
    return event
"""
LISTENER = CLIENT + (
    "port = listen()\nregister('INVOKE')\nsay(subscribe(port, **json.loads('''{settings}'''))[0])\n"
    "while True:\n    next_event()\n"
)


@pytest.fixture(scope="module", params=["auto", "off"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("telemetry"), "--isolation", request.param)
    yield server
    server.stop()


class Watched:
    """A function whose extension listens."""

    def __init__(self, running: RunningServer, deploy: Deployer, source: str, **settings: Any) -> None:
        self._deploy = deploy
        self.layer = publish(running.client("lambda"), {"listener": source})
        self.name = deploy(HANDLER, Layers=[self.layer], **settings)
        self._log = Log(running, self.name)

    def call(self, event: object) -> str:
        """The id of a request whose invocation is over, extension included."""
        request_id = str(self._deploy.invoke(self.name, event)["ResponseMetadata"]["RequestId"])
        self._log.until(f"REPORT RequestId: {request_id}|platform.report.*{request_id}")
        return request_id

    def heard(self, last: str) -> list[dict[str, Any]]:
        """What was heard, once a record of type `last` is among it."""
        for _ in range(50):
            records: list[dict[str, Any]] = json.loads(self._deploy.invoke(self.name, "read")["Payload"])
            if any(record["type"] == last for record in records):
                return records
        raise AssertionError(f"no {last} in {records}")


@pytest.fixture
def deploy(running: RunningServer) -> Iterator[Deployer]:
    deployer = Deployer(running.client("lambda"))
    yield deployer
    deployer.remove_all()


def listener(**settings: Any) -> str:
    return LISTENER.replace("{settings}", json.dumps(settings))


def of(records: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The first record of a type."""
    found: dict[str, Any] = next(record["record"] for record in records if record["type"] == kind)
    return found


def test_a_cold_call_in_records(running: RunningServer, deploy: Deployer) -> None:
    watched = Watched(running, deploy, listener(schemaVersion="2025-01-29"))
    request_id = watched.call({"a": 1})
    records = watched.heard("platform.report")
    types = [record["type"].removeprefix("platform.") for record in records if "platform" in record["type"]]
    # The extension subscribes while the runtime starts.
    assert types.index("initStart") < types.index("telemetrySubscription") < types.index("extension")
    types.remove("telemetrySubscription")
    assert types[:7] == ["initStart", "initRuntimeDone", "extension", "initReport", "start", "runtimeDone", "report"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"]) for record in records)
    assert [record["time"] for record in records] == sorted(record["time"] for record in records)

    start = of(records, "platform.initStart")
    assert start.pop("runtimeVersion").startswith("python:3.11")
    assert start.pop("runtimeVersionArn").startswith("arn:aws:lambda:us-east-1::runtime:")
    assert len(start.pop("instanceId")) == 32
    assert start == {
        "initializationType": "on-demand",
        "phase": "init",
        "functionName": watched.name,
        "functionVersion": "$LATEST",
        "instanceMaxMemory": 128 << 20,
    }
    of_init = {"initializationType": "on-demand", "phase": "init", "status": "success"}
    assert of(records, "platform.initRuntimeDone") == of_init
    report = of(records, "platform.initReport")
    assert report.pop("metrics")["durationMs"] > 0
    assert report == of_init
    assert of(records, "platform.extension") == {"name": "listener", "state": "Ready", "events": ["INVOKE"]}
    assert of(records, "platform.telemetrySubscription") == {
        "name": "listener",
        "state": "Subscribed",
        "types": ["platform", "function", "extension"],
    }
    check_invocation(records, request_id)
    assert [record["record"] for record in records if record["type"] == "function"][:2] == [
        "loading",
        'event {"a": 1}',
    ]
    assert "listener 200" in [record["record"] for record in records if record["type"] == "extension"]


def check_invocation(records: list[dict[str, Any]], request_id: str) -> None:
    start, done, report = (of(records, f"platform.{kind}") for kind in ("start", "runtimeDone", "report"))
    tracing = start.pop("tracing")
    assert tracing["type"] == "X-Amzn-Trace-Id"
    assert tracing["value"].startswith("Root=1-")
    assert f"Parent={tracing['spanId']}" in tracing["value"]
    assert start == {"requestId": request_id, "version": "$LATEST"}
    assert (done["requestId"], done["status"], done["tracing"]) == (request_id, "success", tracing)
    assert done["metrics"].keys() == {"durationMs", "producedBytes"}
    assert done["metrics"]["producedBytes"] == len('{"a": 1}')
    assert [span["name"] for span in done["spans"]] == ["responseLatency", "responseDuration", "runtimeOverhead"]
    assert all(span.keys() == {"name", "start", "durationMs"} for span in done["spans"])
    assert (report["requestId"], report["status"], report["tracing"]) == (request_id, "success", tracing)
    metrics = report["metrics"]
    assert metrics.keys() == {
        "durationMs",
        "billedDurationMs",
        "memorySizeMB",
        "maxMemoryUsedMB",
        "initDurationMs",
    }
    assert metrics["memorySizeMB"] == 128
    assert metrics["durationMs"] >= done["metrics"]["durationMs"] - 1
    assert [span["name"] for span in report["spans"]] == ["extensionOverhead"]


@pytest.mark.parametrize(
    ("event", "status", "error_type"),
    [
        ("raise", "error", "Runtime.Unknown"),
        ("sleep", "timeout", "Sandbox.Timedout"),
        ("exit", "failure", "Runtime.ExitError"),
    ],
)
def test_how_invocations_end(
    running: RunningServer, deploy: Deployer, event: str, status: str, error_type: str
) -> None:
    watched = Watched(running, deploy, listener(), Timeout=1)
    request_id = watched.call(event)
    records = watched.heard("platform.report")
    for kind in ("platform.runtimeDone", "platform.report"):
        record = of(records, kind)
        assert (record["requestId"], record["status"], record["errorType"]) == (request_id, status, error_type)


def test_init_in_an_invocation_is_of_that_phase(running: RunningServer, deploy: Deployer) -> None:
    watched = Watched(running, deploy, listener(types=["platform"]), Timeout=2)
    watched.call("exit")
    watched.call({})
    phases = [one["record"]["phase"] for one in watched.heard("platform.report") if "platform.init" in one["type"]]
    assert phases == ["init"] * 3 + ["invoke"] * 3


def test_only_what_was_subscribed_to_is_heard(running: RunningServer, deploy: Deployer) -> None:
    watched = Watched(running, deploy, listener(types=["function"]))
    watched.call({})
    assert {record["type"] for record in watched.heard("function")} == {"function"}


def test_lines_of_the_json_format_are_objects(running: RunningServer, deploy: Deployer) -> None:
    logging = {"LogFormat": "JSON"}
    watched = Watched(running, deploy, listener(types=["function"], schemaVersion="2022-12-13"), LoggingConfig=logging)
    watched.call("raise")
    errors = [one["record"] for one in watched.heard("function") if isinstance(one["record"], dict)]
    assert errors[0]["errorType"] == "ValueError"


def test_the_logs_api(running: RunningServer, deploy: Deployer) -> None:
    watched = Watched(running, deploy, listener(api="/2020-08-15/logs", schemaVersion="2021-03-18"), Timeout=1)
    request_id = watched.call("sleep")
    records = watched.heard("platform.report")
    types = [record["type"].removeprefix("platform.") for record in records if "platform" in record["type"]]
    assert types[:7] == ["logsSubscription", "extension", "start", "runtimeDone", "fault", "end", "report"]
    assert of(records, "platform.start") == {"requestId": request_id, "version": "$LATEST"}
    assert of(records, "platform.runtimeDone") == {"requestId": request_id, "status": "timeout"}
    assert of(records, "platform.end") == {"requestId": request_id}
    assert of(records, "platform.report").keys() == {"requestId", "metrics"}
    assert of(records, "platform.fault") == f"RequestId: {request_id} Error: Task timed out after 1.00 seconds"


def test_over_tcp(running: RunningServer, deploy: Deployer) -> None:
    source = (
        CLIENT
        + """
server = socket.create_server((home(), 0))
register('INVOKE')
answer = call("PUT", "/2022-07-01/telemetry", {"types": ["function"], "buffering": {"timeoutMs": 25},
              "destination": {"protocol": "TCP", "port": server.getsockname()[1]}})
def keep():
    connection, _ = server.accept()
    for line in connection.makefile():
        with open(tempfile.gettempdir() + "/telemetry", "a") as kept:
            kept.write(line)
threading.Thread(target=keep, daemon=True).start()
while True:
    next_event()
"""
    )
    watched = Watched(running, deploy, source)
    watched.call({"a": 1})
    lines = [record["record"] for record in watched.heard("function")]
    assert lines[:2] == ["loading", 'event {"a": 1}']


def test_what_waits_is_sent_before_the_end(running: RunningServer, deploy: Deployer) -> None:
    source = CLIENT + (
        "port = listen()\nregister('SHUTDOWN')\n"
        "subscribe(port, types=['platform', 'function'], buffering={'timeoutMs': 30000})\nnext_event()\n"
        "time.sleep(0.2)\nsay(' '.join(record['type'] for record in heard()))\n"
    )
    watched = Watched(running, deploy, source)
    watched.call({})
    running.client("lambda").update_function_configuration(FunctionName=watched.name, Description="another")
    (told,) = [line for line in Log(running, watched.name).until("listener platform") if line.startswith("listener")]
    assert told.endswith("platform.start function platform.runtimeDone platform.report")


def test_environments_do_not_get_into_each_others_way(
    running: RunningServer, deploy: Deployer, request: pytest.FixtureRequest
) -> None:
    if "off" in request.node.name:
        pytest.skip("without namespaces there is one address for all")
    source = CLIENT + (
        "listen(port=8080)\nregister('INVOKE')\nsubscribe(8080, types=['function'])\nwhile True:\n    next_event()\n"
    )
    others = [Watched(running, deploy, source) for _ in range(2)]
    for number, watched in enumerate(others):
        watched.call(number)
    for number, watched in enumerate(others):
        assert f"event {number}" in [record["record"] for record in watched.heard("function")]


def test_without_a_network_there_are_extensions_but_no_telemetry(
    running: RunningServer, deploy: Deployer, request: pytest.FixtureRequest
) -> None:
    if "off" in request.node.name or os.geteuid() != 0:
        pytest.skip("networks of environments need namespaces")
    source = CLIENT + "register('INVOKE')\nsay(subscribe(8080))\nwhile True:\n    next_event()\n"
    watched = Watched(running, deploy, source, Environment={"Variables": {"LAMBDAD_NETWORK": "none"}})
    watched.call({})
    (told,) = [line for line in Log(running, watched.name).lines() if line.startswith("listener")]
    assert told.startswith("listener [202, ")
    assert "Telemetry.NotSupported" in told
