"""Who may register, who is told what."""

from __future__ import annotations

import pytest

from lambdad.domain.extensions import Call, Refused, ShutdownReason, State
from lambdad.execution.extensions.registry import Registry
from tests.execution.extensions.playing import PlayedExtension
from tests.execution.scripted import Caller, Nobody


class Listening(Nobody):
    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []

    def extension_failed(self, error_type: str, reason: str) -> None:
        self.failures.append((error_type, reason))


@pytest.fixture
def listening() -> Listening:
    return Listening()


@pytest.fixture
def registry(listening: Listening) -> Registry:
    return Registry(listening)


def refusal_of(registry: Registry, name: str = "one", events: object = None) -> tuple[str, str]:
    with pytest.raises(Refused) as refusal:
        registry.register(name, events)
    return refusal.value.error_type, str(refusal.value)


def test_a_name_is_needed(registry: Registry) -> None:
    assert refusal_of(registry, "") == ("Extension.InvalidExtensionName", "Empty extension name")


def test_nobody_registers_twice(registry: Registry) -> None:
    registry.register("one", [])
    assert refusal_of(registry)[0] == "Extension.InvalidExtensionState"


def test_ten_extensions_are_enough(registry: Registry) -> None:
    for number in range(10):
        registry.register(f"n{number}", [])
    assert refusal_of(registry) == ("Extension.TooManyExtensions", "Extension limit (10) reached")


def test_after_init_it_is_too_late(registry: Registry) -> None:
    registry.is_open = False
    assert refusal_of(registry) == ("Extension.RegistrationClosed", "Extension registration closed already")


def test_a_refused_registration_leaves_nothing_behind(registry: Registry) -> None:
    refusal_of(registry, events=["SHUTDOWN"])
    assert registry.all == []
    assert registry.is_init_complete


@pytest.mark.parametrize(
    ("identifier", "error_type"),
    [
        ("", "Extension.MissingExtensionIdentifier"),
        ("text", "Extension.InvalidExtensionIdentifier"),
        ("00000000-0000-0000-0000-000000000000", "Extension.UnknownExtensionIdentifier"),
    ],
)
def test_an_identifier_has_to_be_known(registry: Registry, identifier: str, error_type: str) -> None:
    with pytest.raises(Refused) as refusal:
        registry.find(identifier)
    assert refusal.value.error_type == error_type


def test_init_waits_for_those_that_were_started_and_those_that_registered(registry: Registry) -> None:
    registry.expect(("outer",))
    assert not registry.is_init_complete
    outer = PlayedExtension(registry, "outer", "INVOKE", "SHUTDOWN")
    inner = PlayedExtension(registry, "inner", "INVOKE")
    assert outer.extension.is_external
    assert not inner.extension.is_external
    outer.asks()
    assert not registry.is_init_complete
    inner.asks()
    assert registry.is_init_complete


async def test_only_those_who_want_to_know_are_told(registry: Registry) -> None:
    registry.expect(("a", "b", "c"))
    invoked = PlayedExtension(registry, "a", "INVOKE").asks()
    ended = PlayedExtension(registry, "b", "SHUTDOWN").asks()
    neither = PlayedExtension(registry, "c").asks()
    registry.invoke(Caller().invocation)
    assert not registry.is_idle
    invoked.asks()
    assert registry.is_idle
    registry.shut_down(ShutdownReason.SPINDOWN, 12)
    assert [event["eventType"] for event in invoked.told] == ["INVOKE"]
    assert ended.told == [{"eventType": "SHUTDOWN", "deadlineMs": 12, "shutdownReason": "spindown"}]
    assert neither.told == []
    assert [one.name for one in registry.to_shut_down] == ["b"]
    registry.ended("b")
    assert registry.to_shut_down == []


async def test_an_event_waits_for_an_extension_that_is_busy(registry: Registry) -> None:
    registry.expect(("a",))
    extension = PlayedExtension(registry, "a", "INVOKE", "SHUTDOWN").asks()
    registry.invoke(Caller().invocation)
    registry.shut_down(ShutdownReason.TIMEOUT, 12)
    assert len(extension.told) == 1
    extension.asks()
    assert extension.told[1]["shutdownReason"] == "timeout"


def test_an_extension_reports_that_it_cannot_go_on(registry: Registry, listening: Listening) -> None:
    registry.expect(("a", "b"))
    first, second = registry.register("a", []), registry.register("b", [])
    registry.report(first, Call.INIT_ERROR, "Mine.Config")
    registry.report(second, Call.EXIT_ERROR, "Mine.Enough")
    assert listening.failures == [
        ("Extension.InitError", "extension a reported an init error: Mine.Config"),
        ("Extension.ExitError", "extension b reported an exit error: Mine.Enough"),
    ]
    assert not registry.ended("a")  # it has told
    assert first.state is State.EXITED


def test_a_report_names_its_reason(registry: Registry) -> None:
    with pytest.raises(Refused) as refusal:
        registry.report(registry.register("a", []), Call.INIT_ERROR, "")
    assert refusal.value.error_type == "Extension.MissingHeader"
