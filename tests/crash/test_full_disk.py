"""A disk that is full: clients are told, nothing that was accepted is lost, and service goes on once there is room."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.running import RunningServer

DISK_MB = 144
BALLAST_MB = 112
EVENT_BYTES = 100_000
FAILS = "def handler(event, context):\n    raise Exception('no')\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("needs root, to mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.server
@pytest.mark.needs_root
@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "is killed"])
def test_events_of_a_full_disk(disk: Path, killed: bool) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * (BALLAST_MB << 20))
    server = RunningServer(disk / "data", "--log-level", "warning")
    try:
        sqs: Any = server.client("sqs")
        url = sqs.create_queue(QueueName="dead")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        server.create_function("fails", FAILS, DeadLetterConfig={"TargetArn": arn})
        accepted, refusal = _fill(server)
        assert len(accepted) > 50
        assert refusal.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert refusal.response["Error"]["Code"] == "ServiceException"
        assert "Free some space" in refusal.response["Error"]["Message"]
        if killed:
            server.stop(signal.SIGKILL)
        ballast.unlink()
        if killed:
            server = RunningServer(disk / "data", "--log-level", "warning")
            url = f"{server.endpoint}/000000000000/dead"
        accepted.add(_accept_again(server))
        assert _dead_letters(server, url, len(accepted)) == accepted
    finally:
        server.stop()


def _fill(server: RunningServer) -> tuple[set[str], ClientError]:
    """Accepts events until the disk is full. They fail once and wait for their second attempt meanwhile."""
    accepted: set[str] = set()
    payload = json.dumps({"data": "x" * EVENT_BYTES}).encode()
    for _ in range(2 * DISK_MB * 10):
        try:
            accepted.add(_accept(server, payload))
        except ClientError as error:
            return accepted, error
    raise AssertionError("the disk was never full")


def _accept(server: RunningServer, payload: bytes) -> str:
    answer: Any = server.client("lambda").invoke(FunctionName="fails", InvocationType="Event", Payload=payload)
    assert answer["StatusCode"] == 202
    request_id: str = answer["ResponseMetadata"]["RequestId"]
    return request_id


def _accept_again(server: RunningServer) -> str:
    """Room was made: the same server accepts again, at once or as soon as it has noticed."""
    end = time.monotonic() + 20
    while True:
        try:
            return _accept(server, b"{}")
        except ClientError:
            if time.monotonic() > end:
                raise


def _dead_letters(server: RunningServer, url: str, count: int) -> set[str]:
    """The request ids of all dead letters; the clock is moved over the events' retries."""
    sqs: Any = server.client("sqs")
    found: set[str] = set()
    end = time.monotonic() + 90
    while len(found) < count and time.monotonic() < end:
        server.advance(130)
        got = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["RequestID"]
        )
        while messages := got.get("Messages", []):
            for message in messages:
                request_id = message["MessageAttributes"]["RequestID"]["StringValue"]
                assert request_id not in found
                found.add(request_id)
            entries = [{"Id": one["MessageId"], "ReceiptHandle": one["ReceiptHandle"]} for one in messages]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["RequestID"])
    return found
