"""Kills servers under load, at random moments, and looks whether every accepted event ends as it should.

    python -m tests.crash.kills [--kills 30] [--seed 1]

The function fails and has no retries, so that each event's end is a message in its dead-letter queue. Event and message
are in one store and end and begin in one transaction: no event may be missing, none may be there twice.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.running import RunningServer

CLIENTS = 4
SOURCE = "def handler(event, context):\n    raise Exception('x')\n"
DRAIN_LIMIT_S = 60


@dataclass
class Result:
    """What came of all kills."""

    accepted: set[str] = field(default_factory=set)
    ended: list[str] = field(default_factory=list)
    unanswered: int = 0
    """Calls that were cut off: their events may have been stored."""

    @property
    def missing(self) -> set[str]:
        return self.accepted - set(self.ended)

    @property
    def twice(self) -> int:
        return len(self.ended) - len(set(self.ended))

    @property
    def unknown(self) -> int:
        """Events that ended and that no client was told of."""
        return len(set(self.ended) - self.accepted)


def run(folder: Path, kills: int, seed: int) -> Result:
    """Kills so many servers, one after the other on the same data folder."""
    moments = random.Random(seed)
    result = Result()
    server = RunningServer(folder, "--log-level", "warning")
    try:
        sqs = server.client("sqs")
        url = sqs.create_queue(QueueName="dead")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        server.create_function("fails", SOURCE, DeadLetterConfig={"TargetArn": arn})
        server.client("lambda").put_function_event_invoke_config(FunctionName="fails", MaximumRetryAttempts=0)
        for _ in range(kills):
            _load_and_kill(server, moments.uniform(0.1, 1.5), result)
            server = RunningServer(folder, "--log-level", "warning")
        _drain(server, url, result)
    finally:
        server.stop(signal.SIGKILL)
    return result


def _load_and_kill(server: RunningServer, after_s: float, result: Result) -> None:
    lock = threading.Lock()

    def call(client: Any) -> None:
        while True:
            try:
                answer = client.invoke(FunctionName="fails", InvocationType="Event", Payload=b"{}")
            except (BotoCoreError, ClientError, OSError):
                with lock:
                    result.unanswered += 1
                return
            assert answer["StatusCode"] == 202
            with lock:
                result.accepted.add(answer["ResponseMetadata"]["RequestId"])

    made = [server.client("lambda", max_pool_connections=1) for _ in range(CLIENTS)]
    clients = [threading.Thread(target=call, args=(client,)) for client in made]
    for client in clients:
        client.start()
    time.sleep(after_s)  # the moment of the kill is what this is about
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(10)
    for client in clients:
        client.join()


def _drain(server: RunningServer, url: str, result: Result) -> None:
    sqs: Any = server.client("sqs")
    end = time.monotonic() + DRAIN_LIMIT_S
    while time.monotonic() < end:
        # Long enough for the back-off of events that were running when a server died.
        got = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=4, MessageAttributeNames=["RequestID"]
        )
        messages = got.get("Messages", [])
        if not messages and not result.missing:
            return
        for message in messages:
            result.ended.append(message["MessageAttributes"]["RequestID"]["StringValue"])
        if messages:
            entries = [{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lambdad-kills-") as folder:
        result = run(Path(folder) / "data", arguments.kills, arguments.seed)
    print(
        f"{arguments.kills} kills: {len(result.accepted)} events accepted, {len(result.missing)} missing, "
        f"{result.twice} twice, {result.unknown} ended that no client was told of ({result.unanswered} calls cut off)"
    )
    if result.missing or result.twice or result.unknown > result.unanswered:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
