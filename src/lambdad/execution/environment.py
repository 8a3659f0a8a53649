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
import time
from typing import Protocol

from lambdad.clock import Clock
from lambdad.domain import failures
from lambdad.domain.environments import NEXT_STATE, IllegalTransition, Signal, State
from lambdad.domain.extensions import ShutdownReason, crash_reason
from lambdad.domain.functions import FunctionVersion
from lambdad.domain.invocations import Ending, Outcome
from lambdad.execution.accounts import Accounts, HeldCall
from lambdad.execution.boot import Boot
from lambdad.execution.calls import PendingCall, StreamIntake, too_large
from lambdad.execution.deadlines import Deadlines
from lambdad.execution.extensions.session import ExtensionSession
from lambdad.execution.freezing import Freezing
from lambdad.execution.journal import Journal, RuntimeVersion
from lambdad.execution.log_capture import LogCapture
from lambdad.execution.log_lines import SystemLines
from lambdad.execution.sandbox import ON_DEMAND, LogStream, Sandbox
from lambdad.execution.spawner.client import PartEnd, ProcessExit

INIT_LIMIT_S = 10.0
"""Init of an on-demand environment (AWS Lambda developer guide)."""
NEXT_GRACE_S = 0.05
"""How long a call may wait for a runtime that has answered but not yet asked for the next invocation."""
PREPARED_INIT_LIMIT_S = 130.0
"""Init ahead of calls; the function's timeout where that is longer (AWS Lambda developer guide)."""


_NEVER_FREE = (State.STOPPED, State.FINISHING)
# Named once: on Python 3.11 each look at an enum's member is a call in Python.
_READY = State.READY
_BUSY = State.BUSY
_ANSWERED = State.ANSWERED
_FINISHING = State.FINISHING
_INVOKE = Signal.INVOKE
_RESPONSE = Signal.RESPONSE
_NEXT = Signal.NEXT


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
        self._journal = Journal(self._capture, lines, runtime_version, clock, version, environment_id)
        self._accounts = Accounts(self._journal, self._capture, stream_name)
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done when the environment was stopped and nothing of it runs any more."""
        self._boot: Boot | None = None  # what runs, or is being started
        self._last: Boot | None = None  # the latest one, which perhaps is not gone yet
        self._boots = 0
        self._extensions: ExtensionSession | None = None  # of what runs, if an extension has registered
        self._suppressed = False  # init runs inside the invocation, under its timeout
        self._call: PendingCall | None = None
        self._held: HeldCall | None = None  # answered; extensions still work on it
        self._waiting: PendingCall | None = None  # accepted while the runtime had not asked for the next one yet
        self._waiting_timer: asyncio.TimerHandle | None = None
        self._invoke_started = 0.0
        self._stream = StreamIntake()

    # --- what the pool calls ---

    def invoke(self, call: PendingCall) -> None:
        """Runs one invocation; `call.finish` gets the outcome. The environment must be free."""
        if self.state is _READY:
            if self.is_frozen:
                self.thaw()
            self._deliver(call)
        elif self.state is _ANSWERED:
            self._waiting = call
            self._waiting_timer = self._loop.call_later(NEXT_GRACE_S, self._give_back_waiting)
        else:
            self._call = call
            self._invoke_started = self._time()
            self._capture.begin(tail=call.invocation.wants_tail)
            self._start_boot(suppressed=self._boots > 0)

    def initialise(self) -> None:
        """Runs init ahead of any call. The owner is told that the environment is free, or that it is lost."""
        self._start_boot(suppressed=False)

    def stop(self) -> None:
        """Ends the environment for good. A call in progress is answered as if the process had been killed."""
        if self.state is State.STOPPED:
            return
        self._deadlines.discard(self)
        self._step(Signal.STOP)
        call, self._call = self._call, None
        if call is not None:
            self._finish_broken(call, failures.exited(call.invocation.request_id, None, 9), "Runtime.ExitError")
        self._let_go_of_held(Ending.FAILURE)
        self._end_boot(ShutdownReason.SPINDOWN)
        self._hand_back_waiting()
        if self._last is None or self._last.gone.done():
            self._release()
        else:
            self._last.gone.add_done_callback(lambda _: self._release())

    def _release(self) -> None:
        self._capture.close()
        self._sandbox.release(self.id)
        self.gone.set_result(None)

    @property
    def is_free(self) -> bool:
        return self._call is None and self._waiting is None and self.state not in _NEVER_FREE

    @property
    def is_warm(self) -> bool:
        """The next invocation needs no init."""
        return self.state in (State.READY, State.ANSWERED)

    def idle_mark(self) -> float | None:
        """The start of the last invocation while everything waits for the next one and no telemetry is on its way
        (Freezable)."""
        if self.state is not State.READY or not self.is_free:
            return None
        if self._extensions is not None and not self._extensions.telemetry.is_flushed:
            return None
        return self._invoke_started

    def freeze(self) -> None:
        """Stops everything in the environment until `thaw`, `invoke` or its end."""
        if self._boot is not None and self._boot.booted is not None:
            self.is_frozen = True
            self._boot.booted.process.freeze()

    def thaw(self) -> None:
        """Lets a frozen environment run; it is frozen again when it stays idle."""
        if self.is_frozen and self._boot is not None and self._boot.booted is not None:
            self.is_frozen = False
            self._boot.booted.process.thaw()
            self._freezing.watch(self)

    @property
    def is_shutting_down(self) -> bool:
        """It was stopped, and what runs in it has some time left to end."""
        return self._last is not None and self._last.is_shutting_down

    def pause_stream(self) -> None:
        if self._boot is not None and self._boot.booted is not None:
            self._boot.booted.channel.pause()

    def resume_stream(self) -> None:
        if self._boot is not None and self._boot.booted is not None:
            self._boot.booted.channel.resume()

    # --- init: what the boot tells (BootEvents) ---

    def _start_boot(self, *, suppressed: bool) -> None:
        self._step(Signal.RESTART)
        self._suppressed = suppressed
        self._boot = self._last = Boot(
            self,
            self._sandbox,
            self.version,
            self.id,
            self._stream_name,
            self._initialization_type,
            capture=self._capture,
            clock=self._clock,
            before=self._last,
        )
        self._accounts.boot = self._boot

    def boot_begins(self) -> None:
        boot = self._boot
        assert boot is not None
        self._boots += 1
        if self._suppressed:
            self._invoke_started = boot.started  # the end of the boot before is not part of the invocation
        self._journal.init_started("invoke" if self._suppressed else "init", self._initialization_type)
        self._watch(
            boot.started + self._init_limit_s()
            if not self._suppressed
            else self._invoke_started + self.version.timeout_s
        )

    def _init_limit_s(self) -> float:
        if self._call is not None:
            return INIT_LIMIT_S
        return max(PREPARED_INIT_LIMIT_S, float(self.version.timeout_s))

    def boot_failed(self, reason: str, error_type: str) -> None:
        if self.state is State.STARTING:
            self._init_broke(error_type, failures.environment_failed(self._request_id, error_type, reason))

    def boot_runs(self) -> None:
        self._freezing.watch(self)
        self._look_at_init()

    def ready(self) -> None:
        boot = self._boot
        if self.state is not State.STARTING or boot is None or boot.runtime_is_ready:
            return
        boot.runtime_ready()
        self._journal.init_runtime_done(self._phase, "success")
        self._look_at_init()

    def init_failed(self, error_type: str, body: bytes) -> None:
        if self.state is State.STARTING and self._boot is not None:
            self._boot.init_error = (error_type, body)

    def _look_at_init(self) -> None:
        """Init is over when the runtime, and every extension, waits for an invocation."""
        boot = self._boot
        assert boot is not None
        if boot.booted is None or not boot.runtime_is_ready or not boot.session.registry.is_init_complete:
            return
        self._deadlines.discard(self)
        self._step(Signal.READY)
        elapsed_ms = (self._time() - boot.started) * 1000
        if not self._suppressed and self._call is not None:  # else it is no part of the first invocation
            self._accounts.init_duration_ms = elapsed_ms
        self._capture.drain()
        boot.session.init_over()
        boot.booted.process.init_over()
        self._extensions = None if boot.session.is_empty else boot.session
        self._journal.init_succeeded(elapsed_ms, self._phase, boot.session.registry.registered)
        call, self._call = self._call, None
        if call is not None:
            self._deliver(call)
        else:
            self._owner.environment_free(self)

    @property
    def _phase(self) -> str:
        return "invoke" if self._suppressed else "init"

    @property
    def _request_id(self) -> str:
        return self._call.invocation.request_id if self._call is not None else ""

    # --- what extensions tell (ExtensionEvents) ---

    def extension_ready(self) -> None:
        if self.state is State.STARTING:
            self._look_at_init()
        elif self.state is State.FINISHING:
            self._look_at_held()

    def extension_failed(self, error_type: str, reason: str) -> None:
        self._environment_failed(error_type, reason)

    def extension_ended(self, end: PartEnd) -> None:
        if end.oom_killed:
            self.runtime_ended(ProcessExit(status=None, signal=9, oom_killed=True, peak_kib=0))
        else:
            name = failures.signal_name(end.signal) if end.signal else ""
            self._environment_failed("Extension.Crash", crash_reason(end.status, name))

    # --- what the runtime tells (ChannelEvents) ---

    def responded(self, body: bytes, content_type: str, peak_kib: int) -> None:
        self._answered(Outcome(payload=body, content_type=content_type), peak_kib)

    def failed(self, error_type: str, body: bytes, peak_kib: int) -> None:
        self._answered(Outcome(payload=body, ending=Ending.ERROR, error_type=error_type), peak_kib)

    def stream_started(self, content_type: str) -> None:
        if self._extensions is not None:
            self._journal.response_started()
        self._stream.started(self._call, content_type, self)

    def stream_chunk(self, data: bytes) -> None:
        if self._extensions is not None:
            self._journal.produced(len(data))
        self._stream.chunk(self._call, data)

    def stream_ended(self, error_type: str, error_body: bytes, peak_kib: int) -> None:
        if self._call is not None:
            self._answered(self._stream.ended(self._call, error_type, error_body), peak_kib)

    def response_too_large(self) -> None:
        self._answered(too_large(), 0)

    def next_requested(self) -> None:
        if self.state is _FINISHING:
            self._held_runtime_done()
        if self.state is not _ANSWERED:
            return
        self._step(_NEXT)
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            if self._waiting_timer is not None:
                self._waiting_timer.cancel()
            self._deliver(waiting)

    def channel_closed(self) -> None:
        if self._boot is not None:
            self._boot.channel_closed()

    # --- one invocation ---

    def _deliver(self, call: PendingCall) -> None:
        assert self._boot is not None
        booted = self._boot.booted
        assert booted is not None
        self._step(_INVOKE)
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
        # What a thread printed after the answer before is no part of this invocation's log.
        self._capture.drain()
        # The function runs while the rest is noted. Nothing of it is read before this turn of the event loop ends.
        booted.channel.deliver(invocation)
        if self._extensions is not None:
            self._extensions.registry.invoke(invocation)
        self._watch(now + remaining_s)
        self._journal.invocation_started(time_ms, invocation)

    def _answered(self, outcome: Outcome, peak_kib: int) -> None:
        call = self._call
        if call is None or self.state is not _BUSY:
            return
        duration_ms = (self._time() - self._invoke_started) * 1000
        self._accounts.saw_peak(peak_kib)
        self._call = None
        if self._extensions is not None:
            self._hold(call, outcome, duration_ms)
            return
        self._deadlines.discard(self)
        self._step(_RESPONSE)
        self._accounts.finish(call, outcome, duration_ms)
        self._owner.environment_free(self)

    # --- an invocation that extensions work on ---

    def _hold(self, call: PendingCall, outcome: Outcome, duration_ms: float) -> None:
        """The caller has the answer now; the invocation ends when the runtime, and every extension that was told of
        it, asks for the next one."""
        self._step(Signal.RESPONSE_BEFORE_EXTENSIONS)
        self._held = self._accounts.hold(call, outcome, duration_ms)

    def _held_runtime_done(self) -> None:
        held = self._held
        if held is None or held.runtime_is_done:
            return
        held.runtime_is_done = True
        self._capture.drain()
        self._journal.runtime_done(held.call.invocation, held.outcome.ending, held.outcome.error_type)
        self._look_at_held()

    def _look_at_held(self) -> None:
        held = self._held
        extensions = self._extensions
        if held is None or extensions is None or not held.runtime_is_done or not extensions.registry.is_idle:
            return
        self._deadlines.discard(self)
        self._step(Signal.NEXT)
        self._held = None
        self._accounts.finish_held(held, self._elapsed_ms)
        extensions.telemetry.flush()  # the environment may be frozen from now on
        self._owner.environment_free(self)

    def _let_go_of_held(self, ending: Ending, error_type: str = "Runtime.ExitError") -> None:
        """Ends a held invocation, if there is one, whose environment breaks."""
        held, self._held = self._held, None
        if held is not None:
            timeout_ms = self.version.timeout_s * 1000.0
            duration_ms = timeout_ms if ending is Ending.TIMEOUT else self._elapsed_ms
            self._accounts.finish_held(held, duration_ms, ending, error_type)

    @property
    def _elapsed_ms(self) -> float:
        """Of the invocation."""
        return (self._time() - self._invoke_started) * 1000

    # --- endings ---

    def deadline_passed(self) -> None:
        """The function's timeout, or the limit of init."""
        if self.state is State.STARTING and not self._suppressed:
            self._init_timed_out()
            return
        if self.state is State.FINISHING:
            self._break(ShutdownReason.TIMEOUT)
            self._let_go_of_held(Ending.TIMEOUT, "Sandbox.Timedout")
            self._owner.environment_free(self)
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
            self._journal_init_timeout()
            self._log_start_of_broken_init(call)
        self._break(ShutdownReason.TIMEOUT)
        self._call = None
        # Duration is the configured timeout exactly, not what was measured (AWS: raw logs of 2025).
        self._accounts.finish(call, outcome, timeout_s * 1000)
        self._owner.environment_free(self)

    def _init_timed_out(self) -> None:
        self._journal_init_timeout()
        self._break(ShutdownReason.TIMEOUT)
        self._try_init_again()

    def _journal_init_timeout(self) -> None:
        assert self._boot is not None
        self._capture.drain()
        elapsed_ms = (self._time() - self._boot.started) * 1000
        self._journal.init_ended(elapsed_ms, self._phase, "timeout", None, self._boot.session.registry.all)

    def runtime_ended(self, end: ProcessExit) -> None:
        self._accounts.saw_peak(end.peak_kib)
        error_type = "Runtime.OutOfMemory" if end.oom_killed else "Runtime.ExitError"
        # Out of memory is told in the log only: the caller reads "signal: killed" (AWS: log of 2026).
        signal = 9 if end.oom_killed else end.signal
        boot = self._boot
        if self.state is State.STARTING and boot is not None and boot.init_error is not None:
            self._init_broke(*boot.init_error)
        else:
            self._environment_failed(error_type, failures.exit_reason(end.status, signal), "Runtime.ExitError")

    def _environment_failed(self, error_type: str, reason: str, told_type: str = "") -> None:
        """The runtime or an extension is gone: what runs ends. The caller is told `told_type`, if it is another."""
        told_type = told_type or error_type
        if self.state is State.STARTING:
            self._init_broke(error_type, failures.environment_failed(self._request_id, told_type, reason))
            return
        call, self._call = self._call, None
        invocation = call.invocation if call is not None else self._held.call.invocation if self._held else None
        self._capture.drain()
        self._break(ShutdownReason.FAILURE)
        if invocation is None:
            self._hand_back_waiting()
            self._owner.environment_lost(self)
            return
        self._journal.environment_failed(invocation, reason, told_type)
        if call is not None:
            payload = failures.environment_failed(invocation.request_id, told_type, reason)
            self._finish_broken(call, payload, error_type)
        else:
            self._let_go_of_held(Ending.FAILURE, error_type)
        self._owner.environment_free(self)

    def _init_broke(self, error_type: str, payload: bytes) -> None:
        """Init ended in an error or an exit: once more inside the invocation, then the caller is told."""
        assert self._boot is not None
        self._deadlines.discard(self)
        self._capture.drain()
        elapsed_ms = (self._time() - self._boot.started) * 1000
        suppressed = self._suppressed
        self._journal.init_ended(elapsed_ms, self._phase, "error", error_type, self._boot.session.registry.all)
        self._break(ShutdownReason.FAILURE)
        if not suppressed:
            self._try_init_again()
            return
        call, self._call = self._call, None
        if call is None:
            self._owner.environment_lost(self)
            return
        self._log_start_of_broken_init(call)
        self._finish_broken(call, payload, error_type)
        self._owner.environment_free(self)

    def _try_init_again(self) -> None:
        if self._call is None:
            self._owner.environment_lost(self)
            return
        self._invoke_started = self._time()
        self._start_boot(suppressed=True)

    def _log_start_of_broken_init(self, call: PendingCall) -> None:
        self._journal.invocation_started(self._clock.time_ms(), call.invocation)

    def _finish_broken(self, call: PendingCall, payload: bytes, error_type: str) -> None:
        outcome = Outcome(payload=payload, ending=Ending.FAILURE, error_type=error_type)
        self._accounts.finish(call, outcome, self._elapsed_ms)

    def _break(self, reason: ShutdownReason) -> None:
        self._deadlines.discard(self)
        self._step(Signal.BREAK)
        self.idle_since = self._clock.monotonic()
        self._end_boot(reason)

    def _end_boot(self, reason: ShutdownReason) -> None:
        """Ends what runs. The next boot waits until it is gone."""
        boot, self._boot = self._boot, None
        self._accounts.boot = None
        self._extensions = None
        self._freezing.discard(self)
        self.is_frozen = False
        if boot is not None:
            boot.end(reason)
            self._accounts.saw_peak(boot.peak_kib)

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
