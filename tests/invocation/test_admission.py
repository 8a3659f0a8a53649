"""Reserved concurrency and the account's pool."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lambdad.domain.errors import TooManyRequests
from lambdad.invocation.admission import Admission


def test_a_reservation_is_a_ceiling() -> None:
    slots = Admission(10).function("a", "r", "f")
    slots.set_reserved(2)
    slots.take()
    slots.take()
    with pytest.raises(TooManyRequests) as refused:
        slots.take()
    assert refused.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert refused.value.message == "Rate Exceeded."


def test_a_reservation_of_zero_lets_nothing_run() -> None:
    slots = Admission(10).function("a", "r", "f")
    slots.set_reserved(0)
    with pytest.raises(TooManyRequests):
        slots.take()


def test_a_reservation_is_taken_off_the_accounts_pool() -> None:
    admission = Admission(3)
    admission.function("a", "r", "reserved").set_reserved(2)
    other = admission.function("a", "r", "other")
    other.take()
    with pytest.raises(TooManyRequests) as refused:
        other.take()
    assert refused.value.reason == "ConcurrentInvocationLimitExceeded"
    admission.function("a", "r", "reserved").take()


def test_accounts_and_regions_are_apart() -> None:
    admission = Admission(1)
    admission.function("a", "r1", "f").take()
    admission.function("a", "r2", "f").take()
    admission.function("b", "r1", "f").take()
    with pytest.raises(TooManyRequests):
        admission.function("a", "r1", "g").take()


def test_a_deleted_functions_reservation_is_free_again() -> None:
    admission = Admission(2)
    admission.function("a", "r", "f").set_reserved(2)
    admission.forget("a", "r", "f")
    admission.function("a", "r", "g").take()


class Counting(RuleBasedStateMachine):
    """Whatever happens in whatever order, no limit is passed and no slot is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(5)
        self.slots = {name: self.admission.function("a", "r", name) for name in "fg"}
        self.running: list[tuple[str, bool]] = []

    @rule(name=st.sampled_from("fg"))
    def call(self, name: str) -> None:
        with contextlib.suppress(TooManyRequests):
            self.running.append((name, self.slots[name].take()))

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.running:
            name, unreserved = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
            self.slots[name].give(unreserved)

    @rule(name=st.sampled_from("fg"), reserved=st.none() | st.integers(0, 2))
    def reserve(self, name: str, reserved: int | None) -> None:
        self.slots[name].set_reserved(reserved)

    @invariant()
    def counts_are_true(self) -> None:
        account = self.admission.account("a", "r")
        assert account.unreserved_in_flight == sum(unreserved for _, unreserved in self.running)
        assert account.unreserved_in_flight <= account.limit
        assert account.set_aside == sum(slots.reserved or 0 for slots in self.slots.values())
        for name, slots in self.slots.items():
            assert slots.in_flight == sum(one == name for one, _ in self.running)


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=50, deadline=None)
