"""AWS's own runtime client for Python, awslambdaric, where it is installed: for `--python-runtime awslambdaric`.

It has a compiled part, so each Python version needs its own: the one installed beside lambdad serves functions of the
version that lambdad runs on, others have to be installed with the function's interpreter.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence

from lambdad.execution.runtimes.interpreters import Interpreter

NEEDED = ("awslambdaric", "runtime_client")
_WANTED = (*NEEDED, "simplejson", "snapshot_restore_py")
_RUN_LIMIT_S = 15
_ASK = """
import importlib.util, json, sys
found = {}
for name in sys.argv[1:]:
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin:
        found[name] = spec.origin
print(json.dumps(found))
"""


class OfficialClients:
    """Looks for the client of each interpreter once. `find` runs programs, so keep it off the event loop."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, ...]] = {}

    def find(self, interpreter: Interpreter) -> tuple[str, ...]:
        """The files and folders that the client consists of; empty if it is not installed."""
        if interpreter.name not in self._found:
            places = self._beside_lambdad(interpreter) or _ask(interpreter.path)
            complete = all(name in places for name in NEEDED)
            self._found[interpreter.name] = tuple(_whole(path) for path in places.values()) if complete else ()
        return self._found[interpreter.name]

    @staticmethod
    def why_missing(interpreter: Interpreter) -> str:
        """What to do about it."""
        here = interpreter.version[:2] == sys.version_info[:2]
        command = "pip install 'lambdad[ric]'" if here else f"{interpreter.path} -m pip install awslambdaric"
        return f"awslambdaric is not installed for {interpreter.name}: {command}, or use --python-runtime own."

    @staticmethod
    def _beside_lambdad(interpreter: Interpreter) -> dict[str, str]:
        if interpreter.version[:2] != sys.version_info[:2]:
            return {}
        specs = {name: importlib.util.find_spec(name) for name in _WANTED}
        places = {name: spec.origin for name, spec in specs.items() if spec is not None and spec.origin}
        return places if all(name in places for name in NEEDED) else {}


def _ask(program: str, names: Sequence[str] = _WANTED) -> dict[str, str]:
    try:
        answer = subprocess.run(  # noqa: S603 - an interpreter that functions run on anyway
            [program, "-c", _ASK, *names],
            capture_output=True,
            text=True,
            check=True,
            timeout=_RUN_LIMIT_S,
            env={"PATH": os.defpath},
            cwd="/",
        )
        found: dict[str, str] = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return found


def _whole(path: str) -> str:
    """A package's folder, a module's file."""
    return os.path.dirname(path) if os.path.basename(path) == "__init__.py" else path
