"""Compiled models: what they cost, what they leave out, how routes are found."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from lambdad.wire.protocols import model
from lambdad.wire.protocols.errors import UnknownOperation
from lambdad.wire.protocols.routes import Router

SERVICES = ("lambda", "logs", "sts", "iam", "sqs", "sns", "events")

COST = """
import sys, time
from lambdad.wire.protocols import model
started = time.process_time()
model.load("lambda")
print((time.process_time() - started) * 1000)
print("botocore.loaders" in sys.modules or "botocore.session" in sys.modules)
"""


def test_compiling_lambda_is_cheap_and_needs_no_session_of_botocore():
    out = subprocess.run([sys.executable, "-c", COST], capture_output=True, text=True, check=True).stdout.split()
    assert float(out[0]) < 60, "ms of processor time"
    assert out[1] == "False"


def test_only_offered_operations_have_shapes():
    compiled = model.load("lambda", ["GetFunction"])
    assert compiled.operations["GetFunction"].input is not None
    assert compiled.operations["CreateFunction"].input is None
    assert not compiled.operations["CreateFunction"].offered


def test_an_unknown_service_is_named():
    with pytest.raises(model.UnknownModel, match="no description of the service 'nothing'"):
        model.load("nothing")


@pytest.mark.parametrize("service", SERVICES)
def test_every_pattern_can_be_checked(service: str):
    assert [pattern for pattern in patterns_of(service) if model.compiled_pattern(pattern) is None] == []


@pytest.mark.parametrize("service", SERVICES)
def test_no_pattern_takes_long_for_any_text(service: str):
    tails = ("", "!", "\n", "\0")
    texts = [
        start * 512 + tail for start in ("a", "1", "-", " ", "a ", "a-", "a.", "a:", "a/", "%41") for tail in tails
    ]
    for pattern in patterns_of(service):
        compiled = model.compiled_pattern(pattern)
        assert compiled is not None
        started = time.process_time()
        for text in texts:
            compiled.fullmatch(text)
        assert time.process_time() - started < 0.5, pattern


def patterns_of(service: str) -> set[str]:
    patterns: set[str] = set()
    seen: set[int] = set()

    def walk(shape: model.Shape | None) -> None:
        if shape is None or id(shape) in seen:
            return
        seen.add(id(shape))
        if shape.pattern is not None:
            patterns.add(shape.pattern)
        for part in (shape.element, shape.key, *(member.shape for member in shape.members.values())):
            walk(part)

    for operation in model.load(service).operations.values():
        walk(operation.input)
    return patterns


ROUTER = Router(model.load("lambda", []))


@pytest.mark.parametrize(
    ("method", "path", "query", "operation", "labels"),
    [
        ("GET", "/2015-03-31/functions", "", "ListFunctions", {}),
        ("GET", "/2015-03-31/functions/", "MaxItems=1", "ListFunctions", {}),
        ("GET", "/2015-03-31/functions/a%3Ab%2Fc", "", "GetFunction", {"FunctionName": "a:b/c"}),
        ("GET", "/2015-03-31/functions/a+b%20c", "", "GetFunction", {"FunctionName": "a+b c"}),
        ("GET", "/2018-10-31/layers", "", "ListLayers", {}),
        ("GET", "/2018-10-31/layers", "find=LayerVersion&Arn=x", "GetLayerVersionByArn", {}),
        ("GET", "/2018-10-31/layers", "find=Other", "ListLayers", {}),
        ("GET", "/2019-09-30/functions/f/provisioned-concurrency", "List=ALL", "ListProvisionedConcurrencyConfigs",
         {"FunctionName": "f"}),
        ("GET", "/2019-09-25/functions/f/event-invoke-config/list", "", "ListFunctionEventInvokeConfigs",
         {"FunctionName": "f"}),
        ("DELETE", "/2015-03-31/functions/f/policy/s", "", "RemovePermission",
         {"FunctionName": "f", "StatementId": "s"}),
    ],
)  # fmt: skip
def test_routes(method: str, path: str, query: str, operation: str, labels: dict[str, str]):
    found, values = ROUTER.find(method, path, query)
    assert (found.name, values) == (operation, labels)


@pytest.mark.parametrize("path", ["/", "", "//", "/2015-03-31", "/2015-03-31/functions/f/g/h", "/x/functions"])
def test_other_paths_are_unknown(path: str):
    with pytest.raises(UnknownOperation):
        ROUTER.find("GET", path, "")


def test_greedy_labels_take_slashes():
    description = {
        "metadata": {"protocol": "rest-json", "apiVersion": "1", "serviceFullName": "X", "endpointPrefix": "x"},
        "shapes": {},
        "operations": {
            "Get": {"http": {"method": "GET", "requestUri": "/b/{Bucket}/{Key+}"}},
            "Acl": {"http": {"method": "GET", "requestUri": "/b/{Bucket}/acl"}},
        },
    }
    router = Router(model.compile_model("x", description, None))
    assert router.find("GET", "/b/one/two/three%2Ffour", "")[1] == {"Bucket": "one", "Key": "two/three/four"}
    assert router.find("GET", "/b/one/acl", "")[0].name == "Acl"
    with pytest.raises(UnknownOperation):
        router.find("GET", "/b", "")
