"""What subscribed functions get of a group's events, and how far the loop has come."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from lambdad.domain.errors import AccessDenied, ServiceError
from lambdad.domain.log_subscriptions import SubscriptionFilter, pieces
from lambdad.domain.logs import LogEvent, Position
from lambdad.domain.policies import ServiceCaller
from lambdad.neighbours.logs.service import LogService
from lambdad.neighbours.logs.subscriptions import LogSubscriptions
from lambdad.storage.engine import Transaction
from lambdad.storage.sqlite import SqliteEngine
from tests.neighbours.logs.conftest import ACCOUNT, NOW_MS, REGION, SetClock

FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


class Functions:
    """Takes events of the services that it lets in."""

    def __init__(self, *services: str) -> None:
        self.services = services or ("logs.amazonaws.com",)
        self.taken: list[tuple[str, ServiceCaller, dict[str, Any]]] = []
        self.woken = 0

    def accept_in(self, _: Transaction, arn: str, event: bytes, caller: ServiceCaller) -> Any:
        if caller.service not in self.services:
            raise AccessDenied("no")
        if event != b"{}":
            data = json.loads(event)["awslogs"]["data"]
            self.taken.append((arn, caller, json.loads(gzip.decompress(base64.b64decode(data)))))
        return self._wake

    def _wake(self) -> None:
        self.woken += 1

    def messages(self) -> list[list[str]]:
        return [[event["message"] for event in document["logEvents"]] for _, _, document in self.taken]


@pytest.fixture
def functions(logs: LogService) -> Functions:
    functions = Functions()
    logs.subscriptions.deliver_to(functions.accept_in)
    return functions


async def a_group(logs: LogService, name: str = "g") -> Any:
    await logs.groups.create(ACCOUNT, REGION, name, tags={})
    return await logs.groups.find(ACCOUNT, REGION, name)


async def subscribe(logs: LogService, group: Any, pattern: str = "", name: str = "all") -> None:
    await logs.subscriptions.put(group, SubscriptionFilter(name=name, pattern=pattern, destination=FUNCTION))


async def log(logs: LogService, *lines: str, group: str = "g", stream: str = "s") -> None:
    handle = logs.writer.stream(ACCOUNT, REGION, group, stream)
    handle.append(NOW_MS, "".join(f"{line}\n" for line in lines).encode())
    handle.close()
    await logs.writer.flush()


async def test_what_is_logged_from_now_on_is_handed_over_once(logs: LogService, functions: Functions) -> None:
    group = await a_group(logs)
    await log(logs, "before")
    await subscribe(logs, group)
    assert await logs.subscriptions.run_once() == 5
    await log(logs, "one", "two")
    await log(logs, "elsewhere", group="other")
    await logs.subscriptions.run_once()
    await logs.subscriptions.run_once()
    assert functions.messages() == [["one\n", "two\n"]]
    assert functions.woken == 1
    arn, caller, document = functions.taken[0]
    assert (arn, caller.source_arn) == (FUNCTION, f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g:*")
    assert (document["logStream"], document["subscriptionFilters"]) == ("s", ["all"])


async def test_a_filter_hands_over_what_its_pattern_wants(logs: LogService, functions: Functions) -> None:
    group = await a_group(logs)
    await subscribe(logs, group, "ERROR", "errors")
    await subscribe(logs, group, '{ $.level = "warn" }', "warnings")
    await log(logs, "fine", "ERROR 1", '{"level":"warn"}')
    await log(logs, "ERROR 2", stream="t")
    await log(logs, "fine", stream="u")
    await logs.subscriptions.run_once()
    assert functions.messages() == [["ERROR 1\n"], ["ERROR 2\n"], ['{"level":"warn"}\n']]


async def test_a_new_server_goes_on_where_the_last_one_was(
    logs: LogService, functions: Functions, engine: SqliteEngine, clock: SetClock
) -> None:
    await subscribe(logs, await a_group(logs))
    await log(logs, "one")
    await logs.subscriptions.run_once()
    await log(logs, "two")
    again = LogSubscriptions(engine, clock)
    again.deliver_to(functions.accept_in)
    await again.run_once()
    assert functions.messages() == [["one\n"], ["two\n"]]


async def test_many_segments_are_handed_over_step_by_step(logs: LogService, functions: Functions) -> None:
    await subscribe(logs, await a_group(logs))
    for number in range(70):
        await log(logs, str(number))
    assert await logs.subscriptions.run_once() == 0
    assert await logs.subscriptions.run_once() == 5
    assert [message for messages in functions.messages() for message in messages] == [f"{n}\n" for n in range(70)]


async def test_policies_may_name_the_service_of_the_region(logs: LogService, functions: Functions) -> None:
    functions.services = (f"logs.{REGION}.amazonaws.com",)
    await subscribe(logs, await a_group(logs))
    await log(logs, "one")
    await logs.subscriptions.run_once()
    assert functions.messages() == [["one\n"]]


async def test_events_that_a_function_does_not_take_are_told_of_and_lost(
    logs: LogService, functions: Functions, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe(logs, await a_group(logs))
    functions.services = ("nobody",)
    await log(logs, "one")
    await logs.subscriptions.run_once()
    assert "did not get events of the log group g by the filter all" in caplog.text
    functions.services = ("logs.amazonaws.com",)
    await log(logs, "two")
    await logs.subscriptions.run_once()
    assert functions.messages() == [["two\n"]]


async def test_without_filters_the_loop_sleeps(logs: LogService, functions: Functions) -> None:
    group = await a_group(logs)
    assert await logs.subscriptions.run_once() is None
    await subscribe(logs, group)
    assert await logs.subscriptions.run_once() == 5
    await logs.groups.delete(ACCOUNT, REGION, "g")
    assert await logs.subscriptions.run_once() is None


async def test_what_is_refused(logs: LogService, functions: Functions) -> None:
    group = await a_group(logs)
    for name in ("a", "b", "a"):
        await subscribe(logs, group, name=name)
    with pytest.raises(ServiceError, match=r"^Resource limit exceeded\.$") as error:
        await subscribe(logs, group, name="c")
    assert error.value.code == "LimitExceededException"
    stream = SubscriptionFilter(name="a", pattern="", destination="arn:aws:kinesis:us-east-1:1:stream/s")
    with pytest.raises(ServiceError, match="functions of this server"):
        await logs.subscriptions.put(group, stream)
    functions.services = ("nobody",)
    with pytest.raises(ServiceError, match=r"^Could not execute the lambda function\. Make sure you have given Cloud"):
        await subscribe(logs, group, name="a")


def test_events_are_split_into_portions_for_one_invocation() -> None:
    events = [LogEvent(Position(1, 1, number), "s", "x" * 300_000, 1) for number in range(5)]
    assert [len(piece) for piece in pieces(events)] == [2, 2, 1]
    assert [len(piece) for piece in pieces([LogEvent(Position(1, 1, 1), "s", "x" * 900_000, 1)])] == [1]
    assert list(pieces([])) == []
