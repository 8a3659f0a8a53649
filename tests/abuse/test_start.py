"""What a function brings along changes its own start and nobody else's; forks do not share what must differ."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.abuse.conftest import Place, from_tier
from tests.running import zipped

BENIGN = "import json, socket\ndef handler(event, context):\n    return [json.__name__, socket.__name__]\n"


@from_tier(0)
def test_a_handler_name_that_leads_out_finds_nothing(place: Place) -> None:
    answer = place.function(BENIGN, Handler="../../../../etc/passwd.handler").call()
    assert answer.error == "Unhandled"
    assert "root:" not in str(answer.value)


@pytest.mark.parametrize("name", ["json.py", "socket.py", "sitecustomize.py", "lambdad_runtime.py"])
@from_tier(0)
def test_shadowing_a_module_of_ours_affects_the_function_alone(place: Place, name: str) -> None:
    files = {"app.py": "def handler(event, context):\n    return 1\n", name: "raise SystemExit('shadowed')\n"}
    place.function("", Code={"ZipFile": zipped(files)}).call()
    assert place.function(BENIGN).value() == ["json", "socket"]


@pytest.mark.parametrize(
    "variables",
    [{"LD_PRELOAD": "/not/there.so"}, {"PYTHONPATH": "/tmp"}, {"PYTHONINSPECT": "1"}, {"MALLOC_PERTURB_": "7"}],
)
@from_tier(0)
def test_variables_of_loader_and_interpreter_reach_the_function_alone(place: Place, variables: dict[str, str]) -> None:
    place.function(BENIGN, Environment={"Variables": variables}).call()
    source = "import os\ndef handler(event, context):\n    return [n for n in os.environ if n in event]\n"
    assert place.function(source).value([name for name in variables if name != "PYTHONPATH"]) == []


@from_tier(0)
def test_environments_have_random_numbers_of_their_own(place: Place) -> None:
    source = "import os, random, uuid\ndef handler(event, context):\n    return [random.random(), str(uuid.uuid4())]\n"
    function = place.function(source)
    first = function.value()
    function.restart()
    second = function.value()
    assert first[0] != second[0]
    assert first[1] != second[1]


@from_tier(0)
def test_options_of_node_reach_the_function_alone(place: Place) -> None:
    if not os.path.exists("/usr/bin/node"):
        pytest.skip("needs a Node.js that every user may run")
    version = subprocess.run(["/usr/bin/node", "-v"], check=True, capture_output=True, text=True).stdout
    code = {
        "ZipFile": zipped(
            {
                "app.js": "exports.handler = async () => [globalThis.planted ?? null, process.execArgv.length]\n",
                "plant.js": "globalThis.planted = 'yes'\n",
            }
        )
    }
    runtime = f"nodejs{version[1:].split('.')[0]}.x"
    plain = place.function("", Runtime=runtime, Code=code)
    before = plain.value()
    assert before[0] is None
    variables = {"NODE_OPTIONS": "--require /var/task/plant.js"}
    planted = place.function("", Runtime=runtime, Code=code, Environment={"Variables": variables})
    assert place.tier < 2 or planted.value()[0] == "yes"
    planted.call()
    assert plain.value() == before
    plain.restart()
    assert plain.value() == before
