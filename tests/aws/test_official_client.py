"""Python functions under AWS's own runtime client: `--python-runtime awslambdaric`."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambdad.execution.runtimes.interpreters import Interpreter
from lambdad.execution.runtimes.official import OfficialClients
from tests.aws.deploying import Deployer, tail_of
from tests.conftest import StartServer
from tests.running import RunningServer

RUNTIME = f"python3.{sys.version_info[1]}"
needs_client = pytest.mark.skipif(importlib.util.find_spec("awslambdaric") is None, reason="no awslambdaric here")

TELLS = """
import json, logging, sys
import helper
def handler(event, context):
    logging.getLogger().warning("two\\nlines")
    if event.get("fail"):
        raise ValueError("no")
    return {
        "client": "awslambdaric" in sys.modules,
        "own": "lambdad_runtime" in sys.modules,
        "helper": helper.NAME,
        "path": sys.path[:4],
        "event": event,
    }
"""


@pytest.fixture(params=["auto", "off"])
def server(request: pytest.FixtureRequest, start_server: StartServer) -> RunningServer:
    return start_server("--python-runtime", "awslambdaric", "--isolation", request.param)


@pytest.fixture
def deploy(server: RunningServer) -> Iterator[Deployer]:
    deployer = Deployer(server.client("lambda"))
    yield deployer
    deployer.remove_all()


@needs_client
def test_functions_run_under_it(server: RunningServer, deploy: Deployer) -> None:
    name = deploy({"app.py": TELLS, "helper.py": "NAME = 'beside'\n"}, runtime=RUNTIME)
    first = deploy.invoke(name, {"a": 1}, LogType="Tail")
    told = json.loads(first["Payload"])
    assert (told["client"], told["own"], told["helper"], told["event"]) == (True, False, "beside", {"a": 1})
    if os.geteuid() == 0 and "T3" in server.output:
        assert told["path"][0] == "/var/task"
        assert told["path"][2:4] == ["/opt/python", "/var/runtime"]
    assert "two\nlines" in tail_of(first)
    failed = deploy.invoke(name, {"fail": 1})
    assert failed["FunctionError"] == "Unhandled"
    assert json.loads(failed["Payload"])["errorType"] == "ValueError"


@needs_client
def test_a_wrapper_script_is_heeded(deploy: Deployer) -> None:
    files: dict[str, str | bytes] = {
        "app.py": "import os\ndef handler(event, context): return os.environ['WRAPPED']\n",
        "wrapper": '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n',
    }
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}
    name = deploy(files, runtime=RUNTIME, Environment=variables)
    assert deploy.invoke(name, {})["Payload"] == b'"yes"'


def test_without_the_client_the_function_says_what_to_install(tmp_path: Path) -> None:
    program = tmp_path / "python3.99"
    program.write_text("#!/bin/sh\necho '{}'\n")
    program.chmod(0o755)
    values: dict[str, Any] = {"name": "python3.99", "version": (3, 99, 0), "hidden_by": "", "why_no_sdk": ""}
    without = Interpreter(path=str(program), **values)
    clients = OfficialClients()
    assert clients.find(without) == ()
    assert f"{program} -m pip install awslambdaric" in clients.why_missing(without)


@needs_client
def test_another_pythons_own_client_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "site" / "awslambdaric"
    program = tmp_path / "python3.99"
    found = {"awslambdaric": f"{folder}/__init__.py", "runtime_client": f"{tmp_path}/site/runtime_client.so"}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(found)}'\n")
    program.chmod(0o755)
    values: dict[str, Any] = {"name": "python3.99", "version": (3, 99, 0), "hidden_by": "", "why_no_sdk": ""}
    interpreter = Interpreter(path=str(program), **values)
    assert OfficialClients().find(interpreter) == (str(folder), f"{tmp_path}/site/runtime_client.so")
