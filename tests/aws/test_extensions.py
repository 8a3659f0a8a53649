"""Extensions in layers, through the real server: what they are told and when, and how their environment ends."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aws.deploying import Deployer
from tests.aws.extending import CLIENT, LOOP, publish
from tests.running import RunningServer

HELLO = "def handler(event, context):\n    print('hello')\n    return context.aws_request_id\n"


@pytest.fixture(scope="module", params=["auto", "off"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("extensions"), "--isolation", request.param)
    yield server
    server.stop()


@pytest.fixture
def client(running: RunningServer) -> Any:
    return running.client("lambda")


@pytest.fixture
def deploy(client: Any) -> Iterator[Deployer]:
    deployer = Deployer(client)
    yield deployer
    deployer.remove_all()


class Log:
    """What is in a function's log."""

    def __init__(self, running: RunningServer, function: str) -> None:
        self._client = running.client("logs")
        self._group = f"/aws/lambda/{function}"

    def lines(self) -> list[str]:
        try:
            events = self._client.filter_log_events(logGroupName=self._group)["events"]
        except self._client.exceptions.ResourceNotFoundException:
            return []
        return [event["message"].rstrip("\n") for event in events]

    def until(self, pattern: str, timeout_s: float = 10) -> list[str]:
        """The lines, once one of them matches."""
        end = time.monotonic() + timeout_s
        while True:
            lines = self.lines()
            if any(re.search(pattern, line) for line in lines):
                return lines
            if time.monotonic() > end:
                raise AssertionError(f"no line matches {pattern!r} in:\n" + "\n".join(lines))
            time.sleep(0.02)


def test_an_extension_is_told_of_each_invocation_and_of_the_end(
    running: RunningServer, client: Any, deploy: Deployer
) -> None:
    name = deploy(HELLO, Layers=[publish(client, {"watcher": LOOP})])
    first, second = (json.loads(deploy.invoke(name)["Payload"]) for _ in range(2))
    client.update_function_configuration(FunctionName=name, Description="another")
    lines = Log(running, name).until("watcher SHUTDOWN")
    told = [line for line in lines if line.startswith("watcher")]
    assert told == [f"watcher INVOKE {first}", f"watcher INVOKE {second}", "watcher SHUTDOWN spindown"]
    ready = lines.index("EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]")
    assert lines[0].startswith("INIT_START")
    assert lines[ready + 1].startswith(f"START RequestId: {first}")


def test_an_extension_registers_and_learns_its_function(running: RunningServer, client: Any, deploy: Deployer) -> None:
    source = CLIENT + (
        "say(register('INVOKE', **{'Lambda-Extension-Accept-Feature': 'accountId'})[2])\n"
        "say(sorted(name for name in os.environ if name.startswith(('AWS_LAMBDA_LOG', 'LAMBDA_', '_HANDLER', 'MINE'))))\n"
        "event = next_event()\n"
        "say(sorted(event), sorted(event['tracing']), event['invokedFunctionArn'].rpartition(':')[2])\n"
        "next_event()\n"
    )
    name = deploy(HELLO, Layers=[publish(client, {"asker": source})], Environment={"Variables": {"MINE": "1"}})
    deploy.invoke(name)
    lines = [line for line in Log(running, name).until("invokedFunctionArn") if line.startswith("asker")]
    assert json.loads(lines[0].removeprefix("asker ")) == {
        "functionName": name,
        "functionVersion": "$LATEST",
        "handler": "app.handler",
        "accountId": "000000000000",
    }
    assert lines[1] == 'asker ["MINE"]'
    assert lines[2] == (
        'asker ["deadlineMs", "eventType", "invokedFunctionArn", "requestId", "tracing"] ["type", "value"] ' + name
    )
