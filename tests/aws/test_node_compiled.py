"""Large Node.js functions start on what was compiled when they were deployed."""

from __future__ import annotations

import json

import pytest

from lambdad.execution.compile_cache import FIRST_NODE
from lambdad.execution.runtimes.interpreters import Interpreters
from tests.aws.deploying import Deployer, zipped

NODE = next((found for name in ("node24", "node22") if (found := Interpreters().find(name))), None)
pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(NODE is None or NODE.version < FIRST_NODE, reason="Node.js 22.10 or newer is not installed"),
]
RUNTIME = f"nodejs{NODE.version[0]}.x" if NODE else ""
LARGE = "".join(f"export function f{number}(a) {{ return [a].map((b) => b + {number}); }}\n" for number in range(3000))
ASKS = """
import module from 'node:module';
// Node.js' own word for where it looks; the folder has gone by now.
export const handler = async () => [module.getCompileCacheDir()?.includes('/.lambdad-') ?? false, f7(1)];
"""


def answer(deploy: Deployer, name: str) -> object:
    return json.loads(deploy.invoke(name)["Payload"])


def test_it_does_from_its_first_call_and_in_runtimes_that_were_started_ahead(deploy: Deployer) -> None:
    for number in range(2):
        name = deploy(f"{LARGE}{ASKS}// {number}\n", runtime=RUNTIME, Timeout=10)
        assert answer(deploy, name) == [True, [8]]


def test_it_does_after_a_change_of_memory(deploy: Deployer) -> None:
    name = deploy(f"{LARGE}{ASKS}// memory\n", runtime=RUNTIME, Timeout=10)
    deploy.client.update_function_configuration(FunctionName=name, MemorySize=512)
    deploy.wait_updated(name)
    assert answer(deploy, name) == [True, [8]]


def test_it_does_after_a_change_of_code(deploy: Deployer) -> None:
    name = deploy(ASKS + "const f7 = (a) => [a + 7];\n", runtime=RUNTIME, Timeout=10)
    assert answer(deploy, name) == [False, [8]]
    deploy.client.update_function_code(FunctionName=name, ZipFile=zipped({"app.mjs": LARGE + ASKS}))
    deploy.wait_updated(name)
    assert answer(deploy, name) == [True, [8]]


def test_what_it_says_about_its_node_goes_first(deploy: Deployer) -> None:
    variables = {"NODE_DISABLE_COMPILE_CACHE": "1"}
    name = deploy(f"{LARGE}{ASKS}// own\n", runtime=RUNTIME, Timeout=10, Environment={"Variables": variables})
    assert answer(deploy, name) == [False, [8]]
