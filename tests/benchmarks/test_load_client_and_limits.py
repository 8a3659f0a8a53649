"""The benchmarks measure what they say: the load client counts right, the limits answer, the arithmetic holds."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from benchmarks import load, processes, report, targets

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")),
    reason="NO C COMPILER (cc, gcc or clang): the load client of the benchmarks was NOT tested",
)
REQUEST = load.Prepared(load.http_request("POST", "/", {"host": "x"}, b"{}"), b"needle")


@contextmanager
def canned(answers: list[bytes]) -> Iterator[int]:
    """A server that gives its answers in turn, byte by byte; at an empty one it closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pending = iter(answers)

        def serve_connection(connection: socket.socket) -> None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while connection.recv(65536) and (answer := next(pending, b"")):
                for position in range(len(answer)):
                    connection.sendall(answer[position : position + 1])

        def serve() -> None:
            with suppress(OSError):  # how the end of the test shows
                while True:
                    connection, _ = listener.accept()
                    with closing(connection), suppress(ConnectionError):
                        serve_connection(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def plain(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


@needs_compiler
@pytest.mark.parametrize("limit", targets.limits(), ids=lambda limit: limit.name)
@pytest.mark.parametrize("connections", [1, 8])
def test_every_limit_gives_each_caller_its_own_event(limit, connections):
    target = limit.start()
    try:
        result = load.measure(target.pid, target.port, target.prepare, load.Load(connections=connections, count=300))
    finally:
        limit.stop()
    assert result["errors"] == 0, result["first_error"]
    assert result["sent"] == result["answered"] == result["count"] == 300
    assert 0 < result["min"] <= result["p50"] <= result["p90"] <= result["p99"] <= result["max"]
    assert result["requests_per_second"] > 0


@needs_compiler
def test_a_limit_passes_bodies_that_need_many_reads():
    body = b'{"padding": "' + b"y" * 3_000_000 + b'", "end": "needle"}'
    request = load.Prepared(load.http_request("POST", "/", {"host": "x"}, body), b"needle")
    for limit in targets.limits():
        target = limit.start()
        try:
            result = load.run_client(target.port, [request], load.Load(connections=2, count=4))
        finally:
            limit.stop()
        assert (result["errors"], result["answered"]) == (0, 4), f"{limit.name}: {result['first_error']}"


@needs_compiler
def test_a_timed_run_ends_and_leaves_its_warmup_out():
    limit = targets.limits()[0]
    target = limit.start()
    try:
        result = load.run_client(
            target.port, targets.plain_requests(), load.Load(connections=2, seconds=0.1, warmup=0.1)
        )
    finally:
        limit.stop()
    assert result["errors"] == 0
    assert 0 < result["count"] < result["sent"]
    assert result["window_seconds"] == pytest.approx(0.1)
    assert result["elapsed_seconds"] >= 0.2


@needs_compiler
@pytest.mark.parametrize(
    "answer",
    [
        plain(b"hay needle hay"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + plain(b"needle"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhay ne\r\n4\r\nedle\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nneedle\r\n0\r\nx-trailer: 1\r\n\r\n",
    ],
    ids=["length", "interim", "chunks", "trailers"],
)
def test_the_client_understands_the_forms_of_an_answer(answer):
    with canned([answer, plain(b"needle")]) as port:
        result = load.run_client(port, [REQUEST], load.Load(count=2))
    assert (result["errors"], result["answered"]) == (0, 2), result["first_error"]


@needs_compiler
@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (plain(b"needle", "500 Oops"), "unexpected answer: HTTP/1.1 500 Oops"),
        (plain(b"hay"), "the answer lacks the expected text: hay"),
        (b"SSH-2.0-what is this\r\n\r\n", "not a well-formed HTTP answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "not a well-formed HTTP answer"),
    ],
    ids=["status", "text", "protocol", "chunk"],
)
def test_the_client_counts_what_is_wrong_and_goes_on(answer, complaint):
    with canned([answer, plain(b"needle"), plain(b"needle"), plain(b"needle")]) as port:
        result = load.run_client(port, [REQUEST], load.Load(count=2))
    assert result["first_error"].startswith(complaint)
    assert (result["errors"], result["answered"]) == (1, 1)


@needs_compiler
def test_the_client_notices_a_connection_closed_before_the_answer():
    with canned([plain(b"needle"), b""]) as port:
        result = load.run_client(port, [REQUEST], load.Load(count=2))
    assert (result["errors"], result["answered"]) == (1, 1)
    assert result["first_error"].startswith("the connection was closed before the answer was complete")


def test_events_are_distinct_and_of_one_kilobyte():
    bodies = load.echo_bodies(50)
    assert {len(body) for body, _ in bodies} == {load.BODY_SIZE}
    assert len({token for _, token in bodies}) == 50
    assert all(token in body for body, token in bodies)


def test_a_process_tree_has_its_root_and_some_memory():
    limit = targets.limits()[1]
    target = limit.start()
    try:
        tree = processes.tree(target.pid)
        assert len(tree) == 3, "a server and two workers"
        assert tree[0] == target.pid
        assert processes.tree_pss_bytes(target.pid) > processes.pss_bytes(target.pid) > 1_000_000
    finally:
        limit.stop()


def run_of(p50: float, p99: float, rate: float) -> dict:
    return {
        "p50": p50, "p99": p99, "requests_per_second": rate, "cpu_us_per_request": 1.0, "foreign_cores": 0.0,
        "errors": 0, "first_error": "",
    }  # fmt: skip


def test_ratios_are_taken_within_a_repetition_and_aims_are_judged_by_their_median():
    limit = [run_of(100, 150, 1000), run_of(200, 300, 500), run_of(100, 150, 1000)]
    mine = [run_of(140, 200, 700), run_of(280, 600, 350), run_of(160, 300, 500)]
    warm = {"runs": {name: {str(n): runs for n in (1, 8, 32)} for name, runs in
                     (("limit-pipe", limit), ("lambdad", mine))}}  # fmt: skip
    verdicts = {aim.text: (round(aim.value, 2), aim.met) for aim in report.aims({"warm": warm})}
    assert verdicts == {
        "p50 at 1 connection, of limit-pipe": (1.4, True),
        "p99 at 1 connection, of its own p50": (1.88, True),
        "requests/s at 8 connections, of limit-pipe": (0.7, True),
        "requests/s at 32 connections, of limit-pipe": (0.7, True),
    }


def test_a_missed_aim_is_said_to_be_missed():
    start = {"seconds": [0.4, 0.2, 0.5]}
    (aim,) = report.aims({"start": start})
    assert aim.row() == ("start until health answers 200, median", "at most 300 ms", "400 ms", "MISSED")
