"""Layers at run time, with every isolation that the machine gives and without any."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aws.deploying import Deployer, zipped
from tests.aws.test_invoke import BOOTSTRAP
from tests.running import RunningServer


@pytest.fixture(scope="module", params=["auto", "off"])
def server_of_layers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("layers"), "--isolation", request.param)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(server_of_layers: RunningServer) -> Any:
    return server_of_layers.client("lambda")


@pytest.fixture
def deploy(client: Any) -> Iterator[Deployer]:
    deployer = Deployer(client)
    yield deployer
    deployer.remove_all()


def publish(client: Any, name: str, files: dict[str, str]) -> str:
    answer = client.publish_layer_version(LayerName=name, Content={"ZipFile": zipped(files)})
    return str(answer["LayerVersionArn"])


def test_python_finds_modules_of_layers(client: Any, deploy: Deployer) -> None:
    first = {"python/one.py": "value = 1\n", "python/both.py": "value = 1\n", "python/mine.py": "value = 1\n"}
    second = {
        "python/lib/python3.11/site-packages/two.py": "value = 2\n",
        "python/both.py": "value = 2\n",
        "data.txt": "from the layer",
    }
    layers = [publish(client, "first", first), publish(client, "second", second)]
    code = (
        "import one, two, both, mine, os\n"
        "def handler(event, context):\n"
        "    root = os.path.dirname(os.path.dirname(both.__file__))\n"
        "    return [one.value, two.value, both.value, mine.value, open(root + '/data.txt').read()]\n"
    )
    name = deploy({"app.py": code, "mine.py": "value = 'function'\n"}, Layers=layers)
    assert json.loads(deploy.invoke(name)["Payload"]) == [1, 2, 2, "function", "from the layer"]
    reversed_order = deploy({"app.py": code}, Layers=layers[::-1])
    assert json.loads(deploy.invoke(reversed_order)["Payload"]) == [1, 2, 1, 1, "from the layer"]


def test_what_was_compiled_of_one_layer_is_not_taken_for_another(client: Any, deploy: Deployer) -> None:
    padding = "# source that is worth to be compiled ahead\n" * 200
    layers = [publish(client, f"same-{value}", {"python/same.py": f"value = {value}\n{padding}"}) for value in (1, 2)]
    code = "import same\ndef handler(event, context):\n    return same.value\n"
    answers = [
        json.loads(deploy.invoke(deploy(code, Layers=arns))["Payload"])
        for arns in (layers[:1], layers, layers[::-1], layers[1:])
    ]
    assert answers == [1, 2, 1, 2]


@pytest.mark.node
@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("app.js", "exports.handler = async () => [require('one'), require('two')];\n"),
        ("app.mjs", "import one from 'one'; import two from 'two'; export const handler = async () => [one, two];\n"),
    ],
)
def test_node_finds_modules_of_layers(client: Any, deploy: Deployer, file: str, code: str) -> None:
    layers = [
        publish(client, "modules", {"nodejs/node_modules/one/index.js": "module.exports = 1;\n"}),
        publish(client, "of-20", {"nodejs/node20/node_modules/two/index.js": "module.exports = 2;\n"}),
    ]
    name = deploy({file: code}, runtime="nodejs20.x", Timeout=10, Layers=layers)
    assert json.loads(deploy.invoke(name)["Payload"]) == [1, 2]


def test_a_custom_runtime_in_a_layer(client: Any, deploy: Deployer) -> None:
    bootstrap = BOOTSTRAP.replace('echo "custom runtime saw $_HANDLER"', "tool.sh")
    layers = [
        publish(client, "runtime", {"bootstrap": bootstrap}),
        publish(client, "tools", {"bin/tool.sh": "#!/bin/sh\necho from the path\n"}),
    ]
    name = deploy({"main.txt": "x"}, runtime="provided.al2023", Timeout=20, Layers=layers)
    response = deploy.invoke(name, {"a": 1})
    assert json.loads(response["Payload"]) == {"custom": {"a": 1}}


def test_a_wrapper_script_in_a_layer(client: Any, deploy: Deployer) -> None:
    wrapper = '#!/bin/sh\nexport FROM_WRAPPER=yes\nexec "$@"\n'
    layer = publish(client, "wrapping", {"wrapper": wrapper})
    name = deploy(
        "import os\ndef handler(event, context):\n    return os.environ['FROM_WRAPPER']\n",
        Layers=[layer],
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}},
    )
    assert json.loads(deploy.invoke(name)["Payload"]) == "yes"


def test_a_deleted_layer_version_stays_with_its_functions(client: Any, deploy: Deployer) -> None:
    layer = publish(client, "going", {"python/going.py": "value = 'here'\n"})
    name = deploy("import going\ndef handler(event, context):\n    return going.value\n", Layers=[layer])
    client.delete_layer_version(LayerName="going", VersionNumber=1)
    assert json.loads(deploy.invoke(name)["Payload"]) == "here"
    client.update_function_configuration(FunctionName=name, Layers=[])
    deploy.wait_updated(name)
    assert "No module named 'going'" in json.loads(deploy.invoke(name)["Payload"])["errorMessage"]


def test_the_archive_of_a_layer_can_be_downloaded(client: Any) -> None:
    layer = publish(client, "downloaded", {"a.txt": "1"})
    location = client.get_layer_version_by_arn(Arn=layer)["Content"]["Location"]
    with urllib.request.urlopen(location) as answer:
        assert answer.read() == zipped({"a.txt": "1"})


def test_a_reset_leaves_no_layers(server_of_layers: RunningServer) -> None:
    client = server_of_layers.client("lambda")
    publish(client, "reset", {"a.txt": "1"})
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"]}
    client.create_code_signing_config(AllowedPublishers=publishers)
    request = urllib.request.Request(f"{server_of_layers.endpoint}/_lambdad/reset", method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 204
    assert client.list_layers()["Layers"] == []
    assert client.list_code_signing_configs()["CodeSigningConfigs"] == []
    assert publish(client, "reset", {"a.txt": "1"}).endswith(":layer:reset:1")
