"""Misuse of the Runtime API, from inside: proper answers, nobody else's call is touched, the server lives on."""

from __future__ import annotations

import pytest

from tests.abuse.conftest import Function, Place, from_tier
from tests.aws.deploying import zipped

BENIGN = "def handler(event, context):\n    return event\n"
BOOTSTRAP = r'''#!/usr/bin/python3
import http.client, json, os, socket, time
host = os.environ["AWS_LAMBDA_RUNTIME_API"]
invocations = "/2018-06-01/runtime/invocation/"

def ask(method, path, body=None, headers={}):
    """The status; 0 if the connection was cut instead."""
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer
    except OSError:
        return 0, b"", None

def answer(request_id, value):
    return ask("POST", invocations + request_id + "/response", json.dumps(value))[0]

last = ""
while True:
    _, body, told = ask("GET", invocations + "next")
    mine, event = told.getheader("Lambda-Runtime-Aws-Request-Id"), json.loads(body)
    found = []
    if event == "foreign":
        for other in (last, "00000000-0000-4000-8000-000000000000", "x", "../../init"):
            found.append(answer(other, "forged"))
    elif event == "large":
        found.append(ask("POST", invocations + mine + "/response", bytes(6291557))[0])
        last = mine
        continue
    elif event == "header":
        for size in (1 << 20, 4 << 20):
            found.append(ask("GET", invocations + "next", headers={"X-Much": "x" * size})[0])
    elif event == "endless":
        name, _, port = host.partition(":")
        waiting = socket.create_connection((name, int(port)))
        head = f"POST {invocations}{mine}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        waiting.sendall(head.encode())
        while True:
            waiting.sendall(b"5\r\n12345\r\n")
            time.sleep(0.01)
    elif event == "twice":
        found.append(answer(mine, "first"))
        found.append(answer(mine, "second"))
        last, kept = mine, found
        continue
    answer(mine, kept if event == "kept" else found)
    last = mine
'''


@pytest.fixture
def misuser(place: Place) -> Function:
    code = {"ZipFile": zipped({"bootstrap": BOOTSTRAP})}
    return place.function("", Runtime="provided.al2023", Timeout=3, Code=code)


@from_tier(0)
def test_answers_for_other_requests_are_refused(place: Place, misuser: Function) -> None:
    misuser.value("warm")
    statuses = misuser.value("foreign")
    assert all(status in (400, 403, 404) for status in statuses), statuses
    assert place.function(BENIGN).value("own") == "own"


@from_tier(0)
def test_a_second_answer_is_refused(place: Place, misuser: Function) -> None:
    assert misuser.value("twice") == "first"
    first, second = misuser.value("kept")
    assert first == 202
    assert second in (400, 403)


@from_tier(0)
def test_an_answer_of_6_mb_and_a_byte_is_refused(place: Place, misuser: Function) -> None:
    answer = misuser.call("large")
    assert answer.value["errorType"] == "Function.ResponseSizeTooLarge"
    assert misuser.value("warm") == []


@from_tier(0)
def test_headers_of_megabytes_are_borne_or_refused(place: Place, misuser: Function) -> None:
    borne, refused = misuser.value("header")
    assert borne == 403  # for being asked out of turn: AWS's clients may send a header of a megabyte, an error's cause
    assert refused in (0, 431)
    assert misuser.value("warm") == []


@from_tier(0)
def test_an_answer_without_end_ends_at_the_timeout(place: Place, misuser: Function) -> None:
    victim = place.function(BENIGN)
    assert misuser.call("endless").message.endswith("Task timed out after 3.00 seconds")
    assert misuser.value("warm") == []
    assert victim.value(1) == 1
    assert place.server.process.poll() is None


@from_tier(1)
def test_the_runtime_api_of_another_environment_answers_403(place: Place) -> None:
    if place.name in ("T2", "T1"):
        pytest.skip("environments share a user here, by which alone the owner of a connection is known")
    victim = place.function("", Runtime="provided.al2023", Timeout=3, Code={"ZipFile": zipped({"bootstrap": ADDRESS})})
    address = victim.value()
    source = """
import http.client
def handler(event, context):
    found = []
    for method, path in (("GET", "runtime/invocation/next"), ("POST", "runtime/init/error"),
                         ("POST", "runtime/invocation/00000000-0000-4000-8000-000000000000/response")):
        connection = http.client.HTTPConnection(event, timeout=5)
        connection.request(method, "/2018-06-01/" + path, b"{}" if method == "POST" else None)
        found.append(connection.getresponse().status)
    return found
"""
    assert place.function(source).value(address) == [403, 403, 403]
    assert victim.value() == address


ADDRESS = r"""#!/usr/bin/python3
import json, os, urllib.request
place = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(place + "next") as told:
        mine = told.headers["Lambda-Runtime-Aws-Request-Id"]
    urllib.request.urlopen(place + mine + "/response", json.dumps(os.environ["AWS_LAMBDA_RUNTIME_API"]).encode())
"""
