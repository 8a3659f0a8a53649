"""Extensions in layers, through the real server: what they are told and when, and how their environment ends."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aws.deploying import Deployer
from tests.aws.extending import CLIENT, LOOP, SHELL, layer_archive, publish
from tests.aws.test_invoke import BOOTSTRAP
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
    first = json.loads(deploy.invoke(name)["Payload"])
    Log(running, name).until(f"REPORT RequestId: {first}")  # the extension, too, waits for the next one
    second = json.loads(deploy.invoke(name)["Payload"])
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


def test_an_extension_in_shell_beside_a_custom_runtime(running: RunningServer, client: Any, deploy: Deployer) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    layer = publish(client, {"shelly": SHELL})
    name = deploy({"bootstrap": BOOTSTRAP}, runtime="provided.al2023", Layers=[layer])
    assert deploy.invoke(name)["StatusCode"] == 200
    client.update_function_configuration(FunctionName=name, Description="another")
    lines = [line for line in Log(running, name).until("shelly.*spindown") if line.startswith("shelly")]
    events = [json.loads(line.removeprefix("shelly ")) for line in lines]
    assert [event["eventType"] for event in events] == ["INVOKE", "SHUTDOWN"]


def test_the_answer_does_not_wait_for_an_extension(running: RunningServer, client: Any, deploy: Deployer) -> None:
    slow = CLIENT + (
        "register('INVOKE')\nwhile True:\n    if next_event():\n        time.sleep(0.5)\n        say('worked on')\n"
    )
    name = deploy(HELLO, Layers=[publish(client, {"slow": slow})], Timeout=5)
    deploy.invoke(name)
    log = Log(running, name)
    log.until("REPORT")
    begin = time.monotonic()
    deploy.invoke(name)
    assert time.monotonic() - begin < 0.4
    tail = base64.b64decode(deploy.invoke(name, LogType="Tail")["LogResult"]).decode()
    assert tail.index("hello") < tail.index("slow worked on") < tail.index("REPORT")
    duration = re.search(r"\tDuration: ([\d.]+) ms", tail)
    assert duration is not None
    assert float(duration[1]) >= 500


INTERNAL = """
import http.client, json, os, threading

def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension" + path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Lambda-Extension-Identifier"), answer.read().decode()

refused = call("POST", "/register", '{"events": ["SHUTDOWN"]}', **{"Lambda-Extension-Name": "inner"})
status, identifier, _ = call("POST", "/register", '{"events": ["INVOKE"]}', **{"Lambda-Extension-Name": "inner"})
seen = []

def watch():
    while True:
        seen.append(json.loads(call("GET", "/event/next", **{"Lambda-Extension-Identifier": identifier})[2]))

threading.Thread(target=watch, daemon=True).start()

def handler(event, context):
    return {"refused": refused[0], "why": json.loads(refused[2])["errorType"], "status": status,
            "seen": [one["requestId"] for one in seen], "late": call("POST", "/register", "{}",
            **{"Lambda-Extension-Name": "late"})[2]}
"""


def test_an_extension_inside_the_runtime(running: RunningServer, client: Any, deploy: Deployer) -> None:
    name = deploy(INTERNAL)
    first = deploy.invoke(name)
    lines = Log(running, name).until("REPORT")
    assert "EXTENSION\tName: inner\tState: Ready\tEvents: [INVOKE]" in lines
    second = json.loads(deploy.invoke(name)["Payload"])
    assert (second["refused"], second["why"], second["status"]) == (403, "Extension.InvalidEventType", 200)
    assert first["ResponseMetadata"]["RequestId"] in second["seen"]
    assert json.loads(second["late"])["errorType"] == "Extension.RegistrationClosed"


@pytest.mark.node
def test_an_extension_inside_node(running: RunningServer, client: Any, deploy: Deployer) -> None:
    source = """
import http from 'node:http';
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const call = (method, path, headers, body = '') => new Promise((resolve, reject) => {
  const request = http.request({ host, port, method, path: '/2020-01-01/extension' + path, headers }, (answer) => {
    let text = '';
    answer.on('data', (piece) => { text += piece; });
    answer.on('end', () => resolve({ headers: answer.headers, body: JSON.parse(text) }));
  });
  request.on('error', reject);
  request.end(body);
});
const registered = await call('POST', '/register', { 'Lambda-Extension-Name': 'inner' }, '{"events": ["INVOKE"]}');
const identity = { 'Lambda-Extension-Identifier': registered.headers['lambda-extension-identifier'] };
const seen = [];
(async () => {
  for (;;) {
    seen.push((await call('GET', '/event/next', identity)).body.requestId);
  }
})();
export const handler = async (event) => ({ seen, event });
"""
    name = deploy(source, runtime="nodejs20.x", Timeout=3)
    log = Log(running, name)
    first = deploy.invoke(name, "x")["ResponseMetadata"]["RequestId"]
    log.until(f"REPORT RequestId: {first}")
    large = deploy.invoke(name, "x" * 3_000_000)
    log.until(f"REPORT RequestId: {large['ResponseMetadata']['RequestId']}")
    answer = json.loads(large["Payload"])
    assert len(answer["event"]) == 3_000_000
    assert first in answer["seen"]
    assert not any("Status: timeout" in line for line in log.lines())


@pytest.mark.parametrize(
    ("source", "error_type", "message", "line"),
    [
        (
            CLIENT + "register('INVOKE')\ncall('POST', '/2020-01-01/extension/init/error', {},"
            " **{'Lambda-Extension-Function-Error-Type': 'Mine.Config'})\n",
            "Extension.InitError",
            "extension broken reported an init error: Mine.Config",
            "EXTENSION\tName: broken\tState: InitError\tEvents: [INVOKE]\tError Type: Mine.Config",
        ),
        (CLIENT + "sys.exit(4)\n", "Extension.Crash", "exit code 4", "EXTENSION\tName: broken\tState: Exited\tEvents: []"),
        (
            CLIENT + "os.kill(os.getpid(), 9)\n",
            "Extension.Crash",
            "signal: killed",
            "EXTENSION\tName: broken\tState: Exited\tEvents: []",
        ),
        (
            "#!/nowhere\n",
            "Extension.LaunchError",
            "fork/exec /opt/extensions/broken: no such file or directory",
            "EXTENSION\tName: broken\tState: LaunchError\tEvents: []\tError Type: UnknownError",
        ),
    ],
    ids=["init-error", "exit", "signal", "launch"],
)  # fmt: skip
def test_extensions_that_fail_in_init(
    running: RunningServer, client: Any, deploy: Deployer, source: str, error_type: str, message: str, line: str
) -> None:
    name = deploy(HELLO, Layers=[publish(client, {"broken": source})])
    answer = deploy.invoke(name)
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"]) == {
        "errorType": error_type,
        "errorMessage": f"RequestId: {request_id} Error: {message}",
    }
    lines = Log(running, name).until("REPORT")
    assert lines.count(line) == 2
    reports = [re.sub(r"[\d.]+ ms", "N ms", one) for one in lines if one.startswith("INIT_REPORT")]
    assert reports == [
        f"INIT_REPORT Init Duration: N ms\tPhase: {phase}\tStatus: error\tError Type: {error_type}"
        for phase in ("init", "invoke")
    ]


@pytest.mark.parametrize(
    ("last_words", "error_type", "message"),
    [
        ("sys.exit(0)", "Extension.Crash", "exit code 0"),
        (
            "call('POST', '/2020-01-01/extension/exit/error', {},"
            " **{'Lambda-Extension-Function-Error-Type': 'Mine.Enough'}); sys.exit(1)",
            "Extension.ExitError",
            "extension dying reported an exit error: Mine.Enough",
        ),
    ],
)
def test_extensions_that_end_during_an_invocation(
    running: RunningServer, client: Any, deploy: Deployer, last_words: str, error_type: str, message: str
) -> None:
    source = CLIENT + (
        "register('INVOKE')\nnext_event()\nonce = tempfile.gettempdir() + '/once'\n"
        f"if not os.path.exists(once):\n    open(once, 'w').close()\n    {last_words}\n"
        "while True:\n    next_event()\n"
    )
    sleepy = "import time\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n    time.sleep(event)\n    return count\n"
    name = deploy(sleepy, Layers=[publish(client, {"dying": source})], Timeout=10)
    answer = deploy.invoke(name, 5)
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert json.loads(answer["Payload"]) == {
        "errorType": error_type,
        "errorMessage": f"RequestId: {request_id} Error: {message}",
    }
    lines = Log(running, name).until("REPORT")
    assert any(line.endswith(f"\tStatus: error\tError Type: {error_type}") for line in lines)
    assert json.loads(deploy.invoke(name, 0)["Payload"]) == 1  # the runtime began anew


def test_the_timeout_ends_extensions_too(running: RunningServer, client: Any, deploy: Deployer) -> None:
    source = CLIENT + (
        "register('INVOKE', 'SHUTDOWN')\nnext_event()\ntime.sleep(1.2)\nevent = next_event()\n"
        "say(event['eventType'], event['shutdownReason'], int(event['deadlineMs'] / 1000 - time.time() < 2))\n"
    )
    name = deploy(HELLO, Layers=[publish(client, {"late": source})], Timeout=1)
    answer = deploy.invoke(name)
    assert "FunctionError" not in answer  # the function had answered
    lines = Log(running, name).until("late SHUTDOWN")
    assert "late SHUTDOWN timeout 1" in lines
    report = next(line for line in lines if line.startswith("REPORT"))
    assert "\tDuration: 1000.00 ms\t" in report
    assert report.endswith("\tStatus: timeout")


def test_files_that_are_no_programs_are_left_alone(running: RunningServer, client: Any, deploy: Deployer) -> None:
    layer = publish(client, {"readme.txt": "no program"}, mode=0o644)
    name = deploy(HELLO, Layers=[layer])
    assert "FunctionError" not in deploy.invoke(name)
    assert not any("EXTENSION" in line for line in Log(running, name).until("REPORT"))


def test_more_than_ten_extensions_are_refused(client: Any, deploy: Deployer) -> None:
    layer = publish(client, {f"e{number}": LOOP for number in range(11)})
    payload = json.loads(deploy.invoke(deploy(HELLO, Layers=[layer]))["Payload"])
    assert payload["errorType"] == "Extension.LaunchError"
    assert payload["errorMessage"].endswith("11 extensions in /opt/extensions; the limit is 10")


@pytest.mark.parametrize("runtime", ["python", pytest.param("node", marks=pytest.mark.node)])
def test_the_runtime_gets_sigterm_before_extensions_are_told(
    running: RunningServer, client: Any, deploy: Deployer, runtime: str
) -> None:
    python = (
        "import signal, sys\ndef bye(*_):\n    print('runtime ends', flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\ndef handler(event, context):\n    return 1\n"
    )
    node = (
        "process.on('SIGTERM', () => { console.log('runtime ends'); process.exit(0); });\n"
        "export const handler = async () => 1;\n"
    )
    layer = publish(client, {"watcher": LOOP})
    code, identifier = (python, "python3.11") if runtime == "python" else (node, "nodejs20.x")
    name = deploy(code, runtime=identifier, Layers=[layer])
    deploy.invoke(name)
    client.update_function_configuration(FunctionName=name, Description="another")
    lines = Log(running, name).until("watcher SHUTDOWN")
    (end,) = [place for place, line in enumerate(lines) if "runtime ends" in line]
    assert end < lines.index("watcher SHUTDOWN spindown")


def test_the_server_does_not_wait_for_stubborn_extensions(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    stubborn = CLIENT + "register('INVOKE', 'SHUTDOWN')\nnext_event()\nnext_event()\ntime.sleep(60)\n"
    layer = publish(server.client("lambda"), {"stubborn": stubborn})
    server.create_function("f", HELLO, Layers=[layer])
    server.client("lambda").invoke(FunctionName="f")
    begin = time.monotonic()
    assert server.stop() == 0
    assert 1.5 < time.monotonic() - begin < 6


RUNTIME = """
base = "/2018-06-01/runtime"
while True:
    _, headers, event = call("GET", base + "/invocation/next")
    call("POST", base + "/invocation/%s/response" % headers["lambda-runtime-aws-request-id"], {"served": event})
"""
"""A runtime client over HTTP."""


@pytest.mark.parametrize("where", ["wrapper", "extension"])
def test_a_wrapper_puts_another_program_in_the_place_of_the_runtime(
    running: RunningServer, client: Any, deploy: Deployer, where: str
) -> None:
    """What adapters for web frameworks do."""
    files = {"extensions/adapter": CLIENT + "register()\nthreading.Thread(target=next_event, daemon=True).start()\n"}
    if where == "wrapper":
        files["extensions/adapter"] += "while True:\n    time.sleep(1)\n"
        files["wrapper"] = CLIENT + RUNTIME
    else:
        files["extensions/adapter"] += RUNTIME
        files["wrapper"] = "#!/bin/sh\nexec sleep 1000\n"
    answer = client.publish_layer_version(LayerName=f"adapter-{where}", Content={"ZipFile": layer_archive(files)})
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}
    name = deploy(HELLO, Layers=[answer["LayerVersionArn"]], Environment={"Variables": variables})
    for number in range(2):
        assert json.loads(deploy.invoke(name, number)["Payload"]) == {"served": number}


def test_a_wrapper_that_goes_on_to_our_runtime(client: Any, deploy: Deployer) -> None:
    archive = layer_archive({"wrapper": '#!/bin/sh\nexec "$@"\n'})
    layer = client.publish_layer_version(LayerName="through", Content={"ZipFile": archive})["LayerVersionArn"]
    name = deploy(HELLO, Layers=[layer], Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}})
    answer = deploy.invoke(name)
    assert json.loads(answer["Payload"]) == answer["ResponseMetadata"]["RequestId"]
