"""Python functions' modules, compiled when a version is published instead of at each of its cold starts.

What is compiled lies beside the sources in the unpacked tree, under names that carry the Python version, so versions
share a tree. A deployment never fails for it, and never waits for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from lambdad.execution.runtimes.interpreters import Interpreter

logger = logging.getLogger(__name__)

PROGRAM = Path(__file__).parent / "runtimes" / "compile_code.py"
WORTH_BYTES = 4096
"""Less source than that is compiled in a millisecond; starting a compiler takes ten."""
PATIENCE_S = 10.0
"""How long a deployment waits. What was compiled by then is of use; the rest is compiled at cold starts."""
AT_ONCE = 2


class Bytecode:
    """Compiles each tree once for each Python version, in processes of that Python."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._done: set[tuple[Path, str]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self, interpreter: Interpreter, directories: Sequence[Path]) -> None:
        """Returns when the directories' modules are compiled, or it takes too long."""
        self._done.update((directory, interpreter.name) for directory in directories)
        try:
            needed = await asyncio.to_thread(lambda: [one for one in directories if _is_worth_it(one, interpreter)])
            if needed:
                async with self._places:
                    await self._compile(interpreter, needed)
        except OSError as error:
            logger.warning("Code in %s could not be compiled ahead: %s", ", ".join(map(str, directories)), error)

    def prepare_later(self, interpreter: Interpreter, directories: Sequence[Path]) -> None:
        """The same in the background: for trees that were unpacked again after a restart of the machine."""
        if all((directory, interpreter.name) in self._done for directory in directories):
            return
        task = asyncio.get_running_loop().create_task(self.prepare(interpreter, directories))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compile(self, interpreter: Interpreter, directories: Sequence[Path]) -> None:
        process = await asyncio.create_subprocess_exec(
            interpreter.path,
            *("-I", "-S", "-B", "-W", "ignore", str(PROGRAM)),
            *map(str, directories),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            await asyncio.wait_for(process.wait(), self._patience_s)
        except (TimeoutError, asyncio.CancelledError) as ended:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if isinstance(ended, asyncio.CancelledError):
                raise


def module_directories(tree: Path, layers: Path | None) -> list[Path]:
    """Where a function's modules are: its code and what layers bring below `python` (AWS Lambda developer guide)."""
    return [tree] if layers is None else [tree, layers / "python"]


def _is_worth_it(directory: Path, interpreter: Interpreter) -> bool:
    """Whether there is a good deal of source that was not compiled yet. A guess: the program looks closely."""
    tag = f".cpython-{interpreter.version[0]}{interpreter.version[1]}.pyc"
    found = 0
    for place, names, files in os.walk(directory):
        names[:] = [name for name in names if name not in ("__pycache__", "node_modules")]
        for name in files:
            if not name.endswith(".py") or _is_lasting(os.path.join(place, "__pycache__", name[:-3] + tag)):
                continue
            with contextlib.suppress(OSError):
                found += os.lstat(os.path.join(place, name)).st_size
            if found >= WORTH_BYTES:
                return True
    return False


def _is_lasting(path: str) -> bool:
    """Whether a module is compiled, and loaded without a look at the source's time."""
    try:
        with open(path, "rb") as file:
            return file.read(8)[4:5] == b"\x01"
    except OSError:
        return False
