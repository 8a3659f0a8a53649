"""What functions can reach: each other's Runtime API never, the network as configured."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.deploying import Deployer, tail_of
from tests.running import RunningServer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and users need root")

REACH = """
import os, socket, urllib.request
def reaches(host, port):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False
def handler(event, context):
    interfaces = [name for _, name in socket.if_nameindex()]
    host, port = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").split(":")
    return {"server": reaches(host, int(port)), "interfaces": interfaces, "api": os.environ["AWS_LAMBDA_RUNTIME_API"]}
"""

BOOTSTRAP = f"""#!/usr/bin/python3
import json, os, urllib.request
{REACH}
base = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as event:
        request_id = event.headers["Lambda-Runtime-Aws-Request-Id"]
    body = json.dumps(handler(None, None)).encode()
    urllib.request.urlopen(base + request_id + "/response", body).close()
"""

NODE = """
import net from "node:net";
import os from "node:os";
const reaches = (host, port) => new Promise((resolve) => {
  const socket = net.connect(port, host);
  socket.on("connect", () => { socket.destroy(); resolve(true); });
  socket.on("error", () => resolve(false));
});
export const handler = async () => {
  const [host, port] = process.env.AWS_ENDPOINT_URL.replace("http://", "").split(":");
  return { server: await reaches(host, Number(port)), interfaces: Object.keys(os.networkInterfaces()) };
};
"""

KINDS = {
    "frames, Python": ({"app.py": REACH}, "python3.11"),
    "frames, Node.js": ({"app.mjs": NODE}, "nodejs20.x"),
    "HTTP": ({"bootstrap": BOOTSTRAP}, "provided.al2023"),
}


def kept_in(variables: dict[str, str] | None = None) -> dict[str, object]:
    return {"Environment": {"Variables": {"LAMBDAD_NETWORK": "none", **(variables or {})}}}


@needs_root
@pytest.mark.parametrize("kind", KINDS)
def test_a_function_without_a_network_has_only_itself(deploy: Deployer, kind: str) -> None:
    files, runtime = KINDS[kind]
    if runtime == "provided.al2023" and not Path("/usr/bin/python3").exists():
        pytest.skip("no system Python for a bootstrap")
    shared = json.loads(deploy.invoke(deploy(files, runtime=runtime, Timeout=20))["Payload"])
    assert shared["server"] is True

    name = deploy(files, runtime=runtime, Timeout=20, **kept_in())
    for _ in range(2):
        answer = json.loads(deploy.invoke(name)["Payload"])
        assert answer["server"] is False
        assert answer["interfaces"] == ["lo"]
        assert answer.get("api", "127.0.0.1:9001") == "127.0.0.1:9001"


@needs_root
def test_the_next_runtime_of_an_environment_has_no_network_either(deploy: Deployer) -> None:
    source = (
        REACH + "\ninner = handler\ndef handler(event, context):\n    return os._exit(3) if event else inner(0, 0)\n"
    )
    name = deploy(source, **kept_in())
    assert "FunctionError" in deploy.invoke(name, "exit")
    assert json.loads(deploy.invoke(name)["Payload"])["interfaces"] == ["lo"]


def test_a_misspelt_setting_does_not_let_the_function_out(deploy: Deployer) -> None:
    name = deploy(REACH, **kept_in({"LAMBDAD_NETWORK": "nothing"}))
    answer = json.loads(deploy.invoke(name)["Payload"])
    assert "LAMBDAD_NETWORK must be shared or none, not 'nothing'" in answer["errorMessage"]


@pytest.fixture(scope="module")
def portable_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("portable"), "--isolation", "off")
    yield server
    server.stop()


def test_where_there_are_no_namespaces_the_function_is_not_started(portable_server: RunningServer) -> None:
    portable_server.create_function("kept-in", REACH, **kept_in())
    response = portable_server.client("lambda").invoke(FunctionName="kept-in", LogType="Tail")
    answer = json.loads(response["Payload"].read())
    assert "the function must not reach a network, which takes namespaces" in answer["errorMessage"]
    assert response["FunctionError"] == "Unhandled"
    assert "Status: error" in tail_of(response)


@needs_root
def test_one_option_keeps_every_function_in(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, "--network", "none")
    try:
        server.create_function("f", REACH)
        answer = json.loads(server.client("lambda").invoke(FunctionName="f")["Payload"].read())
        assert answer["interfaces"] == ["lo"]
        assert answer["server"] is False
    finally:
        server.stop()


STEALING = """
import socket
def handler(event, context):
    host, port = event.split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        return sock.recv(4096).decode().splitlines()[0]
"""


@needs_root
def test_a_function_is_refused_at_the_runtime_api_of_another(deploy: Deployer) -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no system Python for a bootstrap")
    victim = deploy({"bootstrap": BOOTSTRAP}, runtime="provided.al2023", Timeout=20)
    address = json.loads(deploy.invoke(victim)["Payload"])["api"]
    thief = deploy(STEALING, Timeout=10)
    assert json.loads(deploy.invoke(thief, address)["Payload"]) == "HTTP/1.1 403 Forbidden"
    assert "FunctionError" not in deploy.invoke(victim)
