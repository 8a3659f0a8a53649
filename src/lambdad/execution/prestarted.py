"""Runtimes that were started ahead of any function and wait for one.

Node.js cannot be forked once it runs, so its start is done beforehand, in an environment of its own with everything but
code and variables; a cold start attaches those. One runtime serves functions that differ in nothing that matters at
its start, which is their `Shape`. They are made after the first use of a shape and not before, one at a time, and
go when nobody has wanted them for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from lambdad.execution import frames
from lambdad.execution.runtimes import catalog
from lambdad.execution.spawner.client import EnvironmentProcess, LaunchError, LaunchPlan, SpawnerClient, SpawnerGone

logger = logging.getLogger(__name__)

PER_SHAPE = 2
SHAPES = 2
"""Shapes that runtimes are kept for, the last used ones; each waiting Node.js holds some 20 MB."""
REFILL_AFTER_S = 0.1
"""The function that has just taken a runtime needs the processor first."""

_START_VARIABLES = frozenset(
    {
        "AWS_LAMBDA_EXEC_WRAPPER",
        "GLIBC_TUNABLES",
        "LANG",
        "LANGUAGE",
        "LD_AUDIT",
        "LD_BIND_NOW",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "OPENSSL_CONF",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TZ",
    }
)
_START_PREFIXES = ("ICU_", "LC_", "MALLOC_", "NODE_", "UV_", "V8_")


def can_be_bound(environment: Mapping[str, str] | None) -> bool:
    """Whether nothing that a function sets for itself has to be there before Node.js starts."""
    return not any(name in _START_VARIABLES or name.startswith(_START_PREFIXES) for name in environment or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is fixed when a runtime starts."""

    runtime: str
    interpreter: str
    """Host path."""
    argv: tuple[str, ...]
    memory_mb: int
    tmp_mb: int


@dataclass(frozen=True, slots=True)
class BoundCode:
    """What a waiting runtime lacks: the id of its environment, the function's files and variables."""

    environment_id: str
    task_dir: str
    opt_dir: str
    environ: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Waiting:
    """A runtime that waits for its function, and the server's ends of its channel and its output."""

    process: EnvironmentProcess
    channel: socket.socket
    log_descriptor: int

    @property
    def is_alive(self) -> bool:
        if self.process.exited.done():
            return False
        try:
            return self.channel.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def discard(self) -> None:
        """Ends it."""
        self.process.release()
        self.close()

    def close(self) -> None:
        """Closes the server's ends."""
        self.channel.close()
        if self.log_descriptor >= 0:
            os.close(self.log_descriptor)
            self.log_descriptor = -1


async def start_waiting(spawner: SpawnerClient, shape: Shape) -> Waiting:
    """Starts a runtime without code. Raises LaunchError, SpawnerGone."""
    channel, theirs = frames.open_pair()
    log_read, log_write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(log_read, False)
    try:
        plan = LaunchPlan(
            environment_id=uuid.uuid4().hex,
            runtime_kind="node",
            interpreter=shape.interpreter,
            argv=shape.argv,
            environ={**catalog.common_environment(shape.runtime), frames.UNBOUND_VARIABLE: "1"},
            task_dir="",
            memory_mb=shape.memory_mb,
            tmp_mb=shape.tmp_mb,
            frames_fd=theirs.fileno(),
            log_fd=log_write,
        )
        process = await spawner.launch(plan)
    except BaseException:
        channel.close()
        os.close(log_read)
        raise
    finally:
        theirs.close()
        os.close(log_write)
    return Waiting(process=process, channel=channel, log_descriptor=log_read)


class PrestartedRuntimes:
    """The runtimes that wait."""

    def __init__(self, spawner: SpawnerClient, *, idle_timeout_s: float) -> None:
        self._spawner = spawner
        self._idle_timeout_s = idle_timeout_s
        self._waiting: OrderedDict[Shape, list[Waiting]] = OrderedDict()
        self._used: dict[Shape, float] = {}
        self._loop = asyncio.get_running_loop()
        self._refill: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._quiet_until = 0.0
        self._closed = False

    def want(self, shape: Shape) -> None:
        """A function of this shape was deployed or is starting: there should be runtimes for the next ones."""
        if self._closed:
            return
        self._used[shape] = self._loop.time()
        self._waiting.setdefault(shape, [])
        self._waiting.move_to_end(shape)
        while len(self._waiting) > SHAPES:
            self._let_go(next(iter(self._waiting)))
        if self._refill is None:
            self._refill = self._loop.create_task(self._fill())
        if self._expiry is None:
            self._expiry = self._loop.call_later(self._idle_timeout_s, self._expire)

    async def bound(self, shape: Shape, code: BoundCode) -> Waiting | None:
        """A waiting runtime that was made one of the function: its READY or its failure is the next that it tells.

        None if there is none, or it could not be used."""
        waiting = self._take(shape)
        self._quiet_until = self._loop.time() + REFILL_AFTER_S
        self.want(shape)
        if waiting is None:
            return None
        try:
            await self._spawner.bind(waiting.process, code.environment_id, code.task_dir, code.opt_dir)
            frame = frames.bind_frame(code.environ)
            # It has read everything that came before, that is nothing, so there is room.
            if waiting.channel.send(frame) != len(frame):
                raise BrokenPipeError("the frame did not fit")
        except (LaunchError, OSError) as error:
            logger.warning("A runtime that was started ahead could not be used: %s", error)
            waiting.discard()
            # The plain way may use this id only when nothing runs under it.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting.process.exited), 1.0)
            return None
        except BaseException:
            waiting.discard()
            raise
        return waiting

    async def wait_filled(self) -> None:
        """Until no runtime is being started any more."""
        while self._refill is not None:
            await asyncio.wait([self._refill])

    def close(self) -> None:
        """Ends them all."""
        self._closed = True
        if self._refill is not None:
            self._refill.cancel()
        if self._expiry is not None:
            self._expiry.cancel()
        for shape in list(self._waiting):
            self._let_go(shape)

    def statistics(self) -> dict[str, int]:
        return {"waiting": sum(len(waiting) for waiting in self._waiting.values())}

    def _take(self, shape: Shape) -> Waiting | None:
        waiting = self._waiting.get(shape, [])
        while waiting:
            one = waiting.pop(0)
            if one.is_alive:
                return one
            one.discard()
        return None

    async def _fill(self) -> None:
        """One after the other, so that calls keep most of the machine."""
        try:
            while shape := self._next():
                await asyncio.sleep(max(self._quiet_until - self._loop.time(), 0))
                waiting = await start_waiting(self._spawner, shape)
                if shape in self._waiting:
                    self._waiting[shape].append(waiting)
                else:
                    waiting.discard()
        except SpawnerGone:
            return
        except LaunchError as error:
            logger.warning("A runtime could not be started ahead: %s", error)
        finally:
            self._refill = None

    def _next(self) -> Shape | None:
        """The last used shape that lacks runtimes."""
        return next((shape for shape in reversed(self._waiting) if len(self._waiting[shape]) < PER_SHAPE), None)

    def _expire(self) -> None:
        before = self._loop.time() - self._idle_timeout_s
        for shape in [shape for shape in self._waiting if self._used[shape] <= before]:
            self._let_go(shape)
        left = [self._used[shape] for shape in self._waiting]
        self._expiry = self._loop.call_at(min(left) + self._idle_timeout_s, self._expire) if left else None

    def _let_go(self, shape: Shape) -> None:
        for waiting in self._waiting.pop(shape):
            waiting.discard()
        self._used.pop(shape, None)
