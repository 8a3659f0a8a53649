"""One attempt of a function: resolve, admit, dispatch. The same for synchronous and asynchronous calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambdad.clock import Clock
from lambdad.domain.errors import RecursiveInvocation, ResourceConflict, TooManyRequests
from lambdad.domain.functions import FunctionVersion, State
from lambdad.domain.invocations import Invocation, Outcome
from lambdad.domain.retries import LONGEST_CHAIN, is_recursive
from lambdad.domain.traces import trace_header
from lambdad.execution.calls import Flow, PendingCall, ResponseSink
from lambdad.execution.pool import VersionPool
from lambdad.execution.provisioned import ProvisionedPool
from lambdad.invocation.admission import Slot
from lambdad.invocation.catalog import Catalog, Target
from lambdad.telemetry import AttemptFinished, AttemptThrottled, RecursionStopped, Telemetry

__all__ = ["Done", "Flow", "Invoker", "ResponseSink"]

Done = Callable[[Outcome], None]


class _Attempt(PendingCall):
    """One attempt on its way through an environment; an object instead of closures, which would cost more."""

    __slots__ = ("asynchronous", "done", "listeners", "provisioned", "slot", "target", "version")

    target: Target
    version: FunctionVersion
    slot: Slot
    provisioned: bool | None
    done: Done
    asynchronous: bool
    listeners: list[Callable[[AttemptFinished], None]]

    def finish(self, outcome: Outcome) -> None:
        self.target.entry.slots.give(self.slot)
        outcome.trace_id = self.invocation.trace_id
        self.done(outcome)

    def answer(self, outcome: Outcome) -> None:
        outcome.trace_id = self.invocation.trace_id
        self.done(outcome)

    def end(self) -> None:
        self.target.entry.slots.give(self.slot)

    def measured(self, outcome: Outcome) -> None:
        if not self.listeners:
            return
        event = AttemptFinished(
            request_id=self.invocation.request_id,
            version=self.version,
            qualifier=self.target.qualifier,
            outcome=outcome,
            asynchronous=self.asynchronous,
            provisioned=self.provisioned,
        )
        for listener in self.listeners:
            listener(event)


class Invoker:
    """Runs attempts. `start` is the hot path: no task, no await, the outcome comes by callback."""

    def __init__(self, catalog: Catalog, clock: Clock, telemetry: Telemetry) -> None:
        self._catalog = catalog
        self._clock = clock
        self._telemetry = telemetry
        self.cached_target = catalog.cached
        """The target of a call that was resolved before; None sends the caller to `resolve`."""
        self.resolve = catalog.resolve
        self.find = catalog.find
        """The target of a call that was let in before, such as an event."""
        self.version_of = catalog.choose
        """The version that one call of a target runs; random when an alias has weights."""

    @staticmethod
    def check_state(target: Target) -> None:
        """Raises ResourceConflict unless the version is Active."""
        state = target.pool.version.state
        if state is not State.ACTIVE:
            raise ResourceConflict(
                "The operation cannot be performed at this time. "
                f"The function is currently in the following state: {state.value}"
            )

    def check_recursion(self, target: Target, trace: str) -> None:
        """Raises RecursiveInvocation for one call too many of a chain, unless the function allows it."""
        function = target.entry.loaded.function
        if is_recursive(trace) and function.recursive_loop == "Terminate":
            for listener in self._telemetry.recursion_stopped:
                listener(
                    RecursionStopped(
                        account=function.account,
                        region=function.region,
                        function=function.name,
                        qualifier=target.qualifier,
                    )
                )
            raise RecursiveInvocation(
                f"The call of {target.invoked_arn} was stopped: it belongs to a chain of more than {LONGEST_CHAIN} "
                "invocations. PutFunctionRecursionConfig can allow such chains."
            )

    def start(
        self,
        target: Target,
        pool: VersionPool,
        *,
        request_id: str,
        event: bytes,
        done: Done,
        trace: str = "",
        client_context: str = "",
        wants_tail: bool = False,
        sink: ResponseSink | None = None,
        asynchronous: bool = False,
    ) -> None:
        """Starts one attempt of `pool`, which `version_of(target)` gave; `done` gets the outcome, perhaps at once.

        Raises TooManyRequests; nothing has run then.
        """
        slots = target.entry.slots
        runner: VersionPool | ProvisionedPool = pool
        provisioned = pool.provisioned
        is_provisioned: bool | None = None
        try:
            if provisioned is None:
                slot = slots.take()
            elif is_provisioned := provisioned.is_free:
                slot = slots.take_provisioned()
                runner = provisioned
            else:  # what is provisioned is busy: the call spills over to an environment on demand
                slot = slots.take()
        except TooManyRequests as throttle:
            self._throttled(target, request_id, throttle.reason)
            raise
        invocation = Invocation(
            request_id=request_id,
            event=event,
            invoked_function_arn=target.invoked_arn,
            trace_id=trace_header(
                trace,
                target.function_arn,
                self._clock.time_ms() / 1000,
                is_active=target.version.tracing_mode == "Active",
            ),
            client_context=client_context,
            streaming=sink is not None,
            wants_tail=wants_tail,
        )
        attempt = _Attempt(invocation, sink)
        attempt.target = target
        attempt.version = pool.version
        attempt.slot = slot
        attempt.provisioned = is_provisioned
        attempt.done = done
        attempt.asynchronous = asynchronous
        attempt.listeners = self._telemetry.attempt_finished
        try:
            runner.dispatch(attempt)
        except BaseException:  # a defect of ours must not cost the function a slot for ever
            slots.give(slot)
            raise

    async def invoke(self, target: Target, *, request_id: str, event: bytes, trace: str = "") -> Outcome:
        """One attempt, awaited; for callers off the hot path. Raises TooManyRequests."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        self.start(target, self.version_of(target), request_id=request_id, event=event, done=done, trace=trace)
        return await future

    def _throttled(self, target: Target, request_id: str, reason: str) -> None:
        function = target.entry.loaded.function
        for listener in self._telemetry.attempt_throttled:
            listener(
                AttemptThrottled(
                    request_id=request_id,
                    account=function.account,
                    region=function.region,
                    function=function.name,
                    qualifier=target.qualifier,
                    reason=reason,
                )
            )
