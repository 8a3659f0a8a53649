"""One execution environment: boots a function version's runtime, runs one invocation at a time, ends it.

Everything is driven by callbacks on the event loop, so that a warm invocation costs no task and no extra turn of the
loop. What follows what is the table in `domain/environments.py`.

How AWS treats failures, and so does this (AWS: recorded 2024 to 2025; developer guide; RIE):

- Init that fails or passes 10 s is logged, and run once more inside the invocation, under the function's timeout.
- After a timeout, an exit or a crash the process is replaced and the environment stays: its /tmp, its log stream. The
  next invocation runs init inside its own Duration; there is no INIT_START line and no Init Duration.
- An error that the runtime reports is an answer: the environment stays warm.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Protocol

from lambdad.clock import Clock
from lambdad.domain import failures
from lambdad.domain.environments import NEXT_STATE, IllegalTransition, Signal, State
from lambdad.domain.functions import FunctionVersion
from lambdad.domain.invocations import Ending, Outcome
from lambdad.execution.calls import GatheredStream, PendingCall
from lambdad.execution.deadlines import Deadlines
from lambdad.execution.freezing import Freezing
from lambdad.execution.journal import Journal, RuntimeVersion
from lambdad.execution.log_capture import LogCapture
from lambdad.execution.log_lines import SystemLines
from lambdad.execution.sandbox import ON_DEMAND, Booted, LaunchFailed, LogStream, Sandbox
from lambdad.execution.spawner.client import ProcessExit

logger = logging.getLogger(__name__)

INIT_LIMIT_S = 10.0
"""Init of an on-demand environment (AWS Lambda developer guide)."""
NEXT_GRACE_S = 0.05
"""How long a call may wait for a runtime that has answered but not yet asked for the next invocation."""
PREPARED_INIT_LIMIT_S = 130.0
"""Init ahead of calls; the function's timeout where that is longer (AWS Lambda developer guide)."""
EXIT_GRACE_S = 0.25
"""How long a runtime that closed its channel may take to end before it is killed."""


class Owner(Protocol):
    """The pool, as its environments see it."""

    def environment_free(self, environment: Environment) -> None:
        """It can take an invocation, at once or as soon as its runtime asks."""

    def environment_lost(self, environment: Environment) -> None:
        """It ended by itself while it was free."""

    def dispatch_again(self, call: PendingCall) -> None:
        """The environment could not take the call in time: find another."""


class Environment:
    """Drives one environment. Made by the pool, on the event loop; `invoke` is all that the pool calls until `stop`."""

    def __init__(
        self,
        environment_id: str,
        version: FunctionVersion,
        *,
        owner: Owner,
        sandbox: Sandbox,
        log_stream: LogStream,
        stream_name: str,
        lines: SystemLines,
        runtime_version: RuntimeVersion,
        deadlines: Deadlines,
        freezing: Freezing,
        clock: Clock,
        initialization_type: str = ON_DEMAND,
    ) -> None:
        self.id = environment_id
        self.version = version
        self.state = State.BROKEN  # no runtime yet; the first boot is the same step as a restart
        self.deadline = 0.0
        self.idle_since = 0.0
        self.is_frozen = False
        self._initialization_type = initialization_type
        self._owner = owner
        self._sandbox = sandbox
        self._stream_name = stream_name
        self._deadlines = deadlines
        self._freezing = freezing
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._time = time.monotonic  # uvloop's own clock counts whole milliseconds
        self._capture = LogCapture(log_stream, clock, version.logging)
        self._journal = Journal(self._capture, lines, runtime_version, clock)
        self._booted: Booted | None = None
        self._dying: Booted | None = None  # killed, perhaps not gone yet; /tmp is shared with the next runtime
        self._boot_task: asyncio.Task[None] | None = None
        self._boot_started = 0.0
        self._boots = 0
        self._was_ready = False  # the runtime was quicker than the spawner's answer
        self._suppressed = False  # init runs inside the invocation, under its timeout
        self._init_error: tuple[str, bytes] | None = None
        self._init_duration_ms: float | None = None
        self._call: PendingCall | None = None
        self._waiting: PendingCall | None = None  # accepted while the runtime had not asked for the next one yet
        self._waiting_timer: asyncio.TimerHandle | None = None
        self._exit_timer: asyncio.TimerHandle | None = None
        self._invoke_started = 0.0
        self._start_logged = False
        self._peak_kib = 0
        self._gathered = GatheredStream("")

    # --- what the pool calls ---

    def invoke(self, call: PendingCall) -> None:
        """Runs one invocation; `call.finish` gets the outcome. The environment must be free."""
        if self.state is State.READY:
            if self.is_frozen:
                self.thaw()
            self._deliver(call)
        elif self.state is State.ANSWERED:
            self._waiting = call
            self._waiting_timer = self._loop.call_later(NEXT_GRACE_S, self._give_back_waiting)
        else:
            self._call = call
            self._invoke_started = self._time()
            self._capture.begin(tail=call.invocation.wants_tail)
            self._boot(suppressed=self._boots > 0)

    def initialise(self) -> None:
        """Runs init ahead of any call. The owner is told that the environment is free, or that it is lost."""
        self._boot(suppressed=False)

    def stop(self) -> None:
        """Ends the environment for good. A call in progress is answered as if the process had been killed."""
        if self.state is State.STOPPED:
            return
        self._deadlines.discard(self)
        self._step(Signal.STOP)
        call, self._call = self._call, None
        if call is not None:
            self._finish_broken(call, failures.exited(call.invocation.request_id, None, 9), "Runtime.ExitError")
        self._end_runtime()
        self._hand_back_waiting()
        self._capture.close()
        if self._boot_task is None:
            self._release()

    @property
    def is_free(self) -> bool:
        return self._call is None and self._waiting is None and self.state is not State.STOPPED

    @property
    def is_warm(self) -> bool:
        """The next invocation needs no init."""
        return self.state in (State.READY, State.ANSWERED)

    def idle_mark(self) -> float | None:
        """The start of the last invocation while the runtime waits for the next one (Freezable)."""
        return self._invoke_started if self.state is State.READY and self.is_free else None

    def freeze(self) -> None:
        """Stops everything in the environment until `thaw`, `invoke` or its end."""
        if self._booted is not None:
            self.is_frozen = True
            self._booted.process.freeze()

    def thaw(self) -> None:
        """Lets a frozen environment run; it is frozen again when it stays idle."""
        if self.is_frozen and self._booted is not None:
            self.is_frozen = False
            self._booted.process.thaw()
            self._freezing.watch(self)

    def pause_stream(self) -> None:
        if self._booted is not None:
            self._booted.channel.pause()

    def resume_stream(self) -> None:
        if self._booted is not None:
            self._booted.channel.resume()

    # --- booting ---

    def _boot(self, *, suppressed: bool) -> None:
        self._step(Signal.RESTART)
        self._suppressed = suppressed
        self._init_error = None
        self._was_ready = False
        self._boot_task = self._loop.create_task(self._start_runtime())

    async def _start_runtime(self) -> None:
        if self._dying is not None:
            await self._dying.process.exited
            self._dying = None
        try:
            self._boots += 1
            self._boot_started = self._time()
            if not self._suppressed:
                self._journal.init_started()
            self._watch(
                self._boot_started + self._init_limit_s()
                if not self._suppressed
                else self._invoke_started + self.version.timeout_s
            )
            booted = await self._sandbox.boot(
                self.version, self.id, self._stream_name, self, initialization_type=self._initialization_type
            )
        except LaunchFailed as error:
            self._boot_task = None
            self._launch_failed(str(error), error.error_type)
            return
        except Exception as error:
            logger.exception("environment %s of %s could not be started", self.id, self.version.arn)
            self._boot_task = None
            self._launch_failed(f"lambdad could not start the environment: {error}", "Runtime.Unknown")
            return
        self._boot_task = None
        self._booted = booted
        if self.state is not State.STARTING:  # stopped or timed out while it was being launched
            self._end_runtime()
            if self.state is State.STOPPED:
                self._release()
            return
        self._capture.attach(booted.log_descriptor)
        self._freezing.watch(self)
        booted.process.exited.add_done_callback(lambda future: self._process_exited(booted, future.result()))
        if self._was_ready:
            self.ready()

    def _init_limit_s(self) -> float:
        if self._call is not None:
            return INIT_LIMIT_S
        return max(PREPARED_INIT_LIMIT_S, float(self.version.timeout_s))

    def _launch_failed(self, reason: str, error_type: str) -> None:
        if self.state is State.STOPPED:
            self._release()
            return
        if self.state is not State.STARTING:
            return
        call = self._call
        request_id = call.invocation.request_id if call else ""
        payload = failures.not_started(request_id, error_type, reason)
        self._init_broke(error_type, payload, Ending.FAILURE)

    # --- what the runtime tells (ChannelEvents) ---

    def ready(self) -> None:
        if self.state is not State.STARTING:
            return
        if self._booted is None:
            self._was_ready = True
            return
        self._deadlines.discard(self)
        self._step(Signal.READY)
        if not self._suppressed and self._call is not None:  # else it is no part of the first invocation
            self._init_duration_ms = (self._time() - self._boot_started) * 1000
        self._capture.drain()
        call, self._call = self._call, None
        if call is not None:
            self._deliver(call)
        else:
            self._owner.environment_free(self)

    def responded(self, body: bytes, content_type: str, peak_kib: int) -> None:
        self._answered(Outcome(payload=body, content_type=content_type), peak_kib)

    def failed(self, error_type: str, body: bytes, peak_kib: int) -> None:
        self._answered(Outcome(payload=body, ending=Ending.ERROR, error_type=error_type), peak_kib)

    def init_failed(self, error_type: str, body: bytes) -> None:
        if self.state is State.STARTING:
            self._init_error = (error_type, body)

    def stream_started(self, content_type: str) -> None:
        call = self._call
        if call is not None and call.sink is not None:
            call.sink.started(content_type, self)
        else:
            self._gathered = GatheredStream(content_type)

    def stream_chunk(self, data: bytes) -> None:
        call = self._call
        if call is not None and call.sink is not None:
            call.sink.chunk(data)
        else:
            self._gathered.add(data)

    def stream_ended(self, error_type: str, error_body: bytes, peak_kib: int) -> None:
        call = self._call
        if call is None:
            return
        if call.sink is not None:
            ending = Ending.ERROR if error_type else Ending.SUCCESS
            self._answered(Outcome(payload=error_body, ending=ending, error_type=error_type), peak_kib)
        elif error_type:
            self._answered(Outcome(payload=error_body, ending=Ending.ERROR, error_type=error_type), peak_kib)
        elif self._gathered.too_large:
            self.response_too_large()
        else:
            outcome = Outcome(payload=bytes(self._gathered.data), content_type=self._gathered.content_type)
            self._answered(outcome, peak_kib)

    def response_too_large(self) -> None:
        payload = failures.response_too_large()
        self._answered(Outcome(payload=payload, ending=Ending.ERROR, error_type="Function.ResponseSizeTooLarge"), 0)

    def next_requested(self) -> None:
        if self.state is not State.ANSWERED:
            return
        self._step(Signal.NEXT)
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            if self._waiting_timer is not None:
                self._waiting_timer.cancel()
            self._deliver(waiting)

    def channel_closed(self) -> None:
        # The spawner tells how the process ended. One that closed the channel and lives on is of no use any more.
        if self.state is not State.STOPPED and self._booted is not None and self._exit_timer is None:
            self._exit_timer = self._loop.call_later(EXIT_GRACE_S, self._booted.process.kill)

    # --- one invocation ---

    def _deliver(self, call: PendingCall) -> None:
        booted = self._booted
        assert booted is not None
        self._step(Signal.INVOKE)
        self._call = call
        now = self._time()
        timeout_s = self.version.timeout_s
        if self._suppressed:
            # Init was part of this invocation: what is left of its time is what init left over.
            self._suppressed = False
            remaining_s = max(self._invoke_started + timeout_s - now, 0.0)
        else:
            self._invoke_started = now
            remaining_s = timeout_s
        invocation = call.invocation
        time_ms = self._clock.time_ms()
        # Real time: what runs inside compares it with the machine's clock, which nobody moves.
        invocation.deadline_ms = int((time.time() + remaining_s) * 1000)
        # The function runs while the rest is noted. Nothing of it is read before this turn of the event loop ends.
        booted.channel.deliver(invocation)
        self._watch(now + remaining_s)
        self._journal.invocation_started(time_ms, invocation)

    def _answered(self, outcome: Outcome, peak_kib: int) -> None:
        call = self._call
        if call is None or self.state is not State.BUSY:
            return
        duration_ms = (self._time() - self._invoke_started) * 1000
        self._deadlines.discard(self)
        self._step(Signal.RESPONSE)
        self._call = None
        self._peak_kib = max(self._peak_kib, peak_kib)
        self._finish(call, outcome, duration_ms)
        self._owner.environment_free(self)

    def _finish(self, call: PendingCall, outcome: Outcome, duration_ms: float) -> None:
        """Answers the caller and ends the invocation's log, in one turn of the event loop: nobody can read the log in
        between, and the caller has the answer sooner."""
        init_ms, self._init_duration_ms = self._init_duration_ms, None
        outcome.duration_ms = duration_ms
        outcome.log_stream = self._stream_name
        outcome.init_duration_ms = init_ms
        # Since August 2025 a cold start bills init and duration together (AWS documentation).
        outcome.billed_duration_ms = math.ceil(duration_ms if init_ms is None else init_ms + duration_ms)
        if call.invocation.wants_tail:
            self._report(call, outcome)
            call.finish(outcome)
        else:
            try:
                call.finish(outcome)
            finally:
                self._report(call, outcome)
        call.measured(outcome)

    def _report(self, call: PendingCall, outcome: Outcome) -> None:
        """Ends the invocation's log, and fills in what is known only now."""
        self._capture.drain()
        outcome.max_memory_used_mb = self._max_memory_mb()
        self._journal.invocation_ended(call.invocation, outcome)

    def _max_memory_mb(self) -> int:
        booted = self._booted
        if booted is not None:
            peak_kib = booted.process.peak_kib()
            self._peak_kib = max(self._peak_kib, peak_kib)
        return self._peak_kib // 1024

    # --- endings ---

    def deadline_passed(self) -> None:
        """The function's timeout, or the limit of init."""
        if self.state is State.STARTING and not self._suppressed:
            self._init_timed_out()
            return
        call = self._call
        if call is None:
            return
        timeout_s = float(self.version.timeout_s)
        outcome = Outcome(
            payload=failures.timed_out(call.invocation.request_id, timeout_s),
            ending=Ending.TIMEOUT,
            error_type="Sandbox.Timedout",
        )
        if self.state is State.STARTING:
            self._log_start_of_broken_init(call)
        self._break()
        self._call = None
        # Duration is the configured timeout exactly, not what was measured (AWS: raw logs of 2025).
        self._finish(call, outcome, timeout_s * 1000)
        self._owner.environment_free(self)

    def _init_timed_out(self) -> None:
        self._capture.drain()
        elapsed_ms = (self._time() - self._boot_started) * 1000
        self._journal.init_ended(elapsed_ms, "init", "timeout", None)
        self._break()
        self._try_init_again()

    def _process_exited(self, booted: Booted, end: ProcessExit) -> None:
        if self._exit_timer is not None:
            self._exit_timer.cancel()
            self._exit_timer = None
        if booted is not self._booted or self.state is State.STOPPED:
            return
        if self.state is State.BROKEN:
            return
        self._peak_kib = max(self._peak_kib, end.peak_kib)
        call = self._call
        error_type = "Runtime.OutOfMemory" if end.oom_killed else "Runtime.ExitError"
        if self.state is State.STARTING:
            if self._init_error is not None:
                error_type, payload = self._init_error
            else:
                request_id = call.invocation.request_id if call else ""
                # Out of memory is told in the log only: the caller reads "signal: killed" (AWS: log of 2026).
                payload = failures.exited(request_id, end.status, 9 if end.oom_killed else end.signal)
            self._init_broke(error_type, payload, Ending.FAILURE)
        elif self.state is State.BUSY and call is not None:
            signal = 9 if end.oom_killed else end.signal
            self._capture.drain()
            self._break()
            self._call = None
            reason = failures.exit_reason(end.status, signal)
            self._journal.runtime_exited(call.invocation, reason)
            payload = failures.exited(call.invocation.request_id, end.status, signal)
            self._finish_broken(call, payload, error_type)
            self._owner.environment_free(self)
        else:
            self._capture.drain()
            self._break()
            self._hand_back_waiting()
            self._owner.environment_lost(self)

    def _init_broke(self, error_type: str, payload: bytes, ending: Ending) -> None:
        """Init ended in an error or an exit: once more inside the invocation, then the caller is told."""
        self._deadlines.discard(self)
        self._capture.drain()
        elapsed_ms = (self._time() - self._boot_started) * 1000
        suppressed = self._suppressed
        phase = "invoke" if suppressed else "init"
        self._journal.init_ended(elapsed_ms, phase, "error", error_type)
        self._break()
        if not suppressed:
            self._try_init_again()
            return
        call, self._call = self._call, None
        if call is None:
            self._owner.environment_lost(self)
            return
        self._log_start_of_broken_init(call)
        self._finish_broken(call, payload, error_type, ending)
        self._owner.environment_free(self)

    def _try_init_again(self) -> None:
        if self._call is None:
            self._owner.environment_lost(self)
            return
        self._invoke_started = self._time()
        self._boot(suppressed=True)

    def _log_start_of_broken_init(self, call: PendingCall) -> None:
        self._journal.invocation_started(self._clock.time_ms(), call.invocation)

    def _finish_broken(
        self, call: PendingCall, payload: bytes, error_type: str, ending: Ending = Ending.FAILURE
    ) -> None:
        outcome = Outcome(payload=payload, ending=ending, error_type=error_type)
        self._finish(call, outcome, (self._time() - self._invoke_started) * 1000)

    def _break(self) -> None:
        self._deadlines.discard(self)
        self._step(Signal.BREAK)
        self.idle_since = self._clock.monotonic()
        self._end_runtime()

    def _end_runtime(self) -> None:
        """Kills what runs and frees the server's ends. The process is waited for before the next boot."""
        if self._exit_timer is not None:
            self._exit_timer.cancel()
            self._exit_timer = None
        self._freezing.discard(self)
        self.is_frozen = False
        booted = self._booted
        if booted is None:
            return
        self._capture.drain()
        self._capture.detach()
        booted.channel.close()
        self._max_memory_mb()
        self._booted = None
        self._dying = booted
        booted.process.kill()

    def _release(self) -> None:
        if self._dying is None:
            self._sandbox.release(self.id)
        else:
            self._dying.process.exited.add_done_callback(lambda _: self._sandbox.release(self.id))

    # --- small steps ---

    def _give_back_waiting(self) -> None:
        """The runtime is still busy with itself after its answer; the call goes to another environment."""
        self._waiting_timer = None
        self._hand_back_waiting()

    def _hand_back_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if self._waiting_timer is not None:
            self._waiting_timer.cancel()
            self._waiting_timer = None
        if waiting is not None:
            self._owner.dispatch_again(waiting)

    def _watch(self, deadline: float) -> None:
        self.deadline = deadline
        self._deadlines.add(self)

    def _step(self, signal: Signal) -> None:
        try:
            self.state = NEXT_STATE[self.state][signal]
        except KeyError:
            raise IllegalTransition(self.state, signal) from None
