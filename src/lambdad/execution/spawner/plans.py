"""From the server's plan to what a zygote is asked for: which zygote, what is executed, with which variables."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .environments import Environment
from .isolation import mounts, syscalls
from .reach import Reach, interpreter_paths
from .settings import Settings
from .zygotes import ZygoteKind, python_version, supports_sdk

BOOTSTRAPS = ("/var/task/bootstrap", "/opt/bootstrap")
SDK_NAMES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"

# Variables that the loader, the C library or the interpreter reads at its start only, so a fork would not heed them.
_START_VARIABLES = frozenset(
    {
        _WRAPPER,
        "GLIBC_TUNABLES",
        "LC_ALL",
        "LD_AUDIT",
        "LD_BIND_NOW",
        "LD_PRELOAD",
        "OPENSSL_CONF",
        "PYTHONASYNCIODEBUG",
        "PYTHONDEBUG",
        "PYTHONDEVMODE",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONFAULTHANDLER",
        "PYTHONHASHSEED",
        "PYTHONHOME",
        "PYTHONINSPECT",
        "PYTHONIOENCODING",
        "PYTHONMALLOC",
        "PYTHONMALLOCSTATS",
        "PYTHONNODEBUGRANGES",
        "PYTHONOPTIMIZE",
        "PYTHONPROFILEIMPORTTIME",
        "PYTHONPYCACHEPREFIX",
        "PYTHONSTARTUP",
        "PYTHONTRACEMALLOC",
        "PYTHONUNBUFFERED",
        "PYTHONUTF8",
        "PYTHONVERBOSE",
        "PYTHONWARNINGS",
    }
)
_START_PREFIXES = ("MALLOC_", "PYTHON_")
_USUAL_VALUES = {
    "PYTHONPATH": "/var/runtime",
    "LD_LIBRARY_PATH": (
        "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
    ),
}
_SEARCHED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "NODE_PATH")
_SCANNED_FILES = 64
_SCANNED_BYTES = 1 << 18
_REMEMBERED = 1024
_CODE_ATTRIBUTES = mounts.READ_ONLY


class NoEntryPoint(Exception):
    """There is nothing to execute; the text is AWS's."""

    def __init__(self, number: int, path: str) -> None:
        super().__init__(f"Couldn't find valid bootstrap(s): [{' '.join(BOOTSTRAPS)}]")
        self.number = number
        self.path = path


@dataclass(slots=True)
class Plan:
    """A LAUNCH message."""

    sequence: int
    environment_id: str
    runtime_kind: str
    interpreter: str
    argv: list[str]
    environ: list[str]
    task_dir: str
    opt_dir: str
    """The layers, merged; empty without any."""
    memory_mb: int
    tmp_mb: int
    extensions: list[str]
    extension_environ: list[str]
    sandbox_address: str
    runtime_files: list[str]
    own_network: int


@dataclass(slots=True, kw_only=True)
class Order:
    """What a zygote is to do."""

    mode: str
    argv: list[str]
    environ: list[str]
    directory: str
    wrapped: bool = False
    shown_program: str = ""
    """The program as the function knows it; without namespaces `argv` has where it really is."""
    readable: list[str] = field(default_factory=list)
    writable: list[str] = field(default_factory=list)
    """For Landlock; both empty without it."""
    wanted_sdk: ZygoteKind | None = None
    """A zygote worth starting for the next environments of this function."""
    extensions: list[str] = field(default_factory=list)
    extension_environ: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Code:
    """What a look into a function's code told."""

    names: frozenset[str] = field(default_factory=frozenset)
    uses_sdk: bool = False


class Plans:
    """Turns plans into orders; remembers what it has seen of each function's code."""

    def __init__(
        self,
        settings: Settings,
        portable_runtime: Callable[[str, tuple[str, ...]], str],
        reach: Reach | None = None,
    ) -> None:
        self._settings = settings
        self._reach = reach
        self._portable_runtime = portable_runtime
        self._codes: OrderedDict[tuple[str, str], _Code] = OrderedDict()

    def zygote_kind(self, runtime_kind: str, interpreter: str, *, with_sdk: bool = False) -> ZygoteKind:
        """The zygote that serves a plain function of this kind."""
        is_python = runtime_kind == "python" and self._settings.zygotes
        with_sdk = with_sdk and is_python and supports_sdk(interpreter, self._settings)
        return ZygoteKind(interpreter, is_python, with_sdk=with_sdk, shows_python=_is_python(interpreter))

    def resolve(self, plan: Plan, ready: Mapping[ZygoteKind, frozenset[str]]) -> tuple[ZygoteKind, Order]:
        """`ready`: zygotes that can fork at once, and the modules they hold. Raises NoEntryPoint if there is nothing to
        execute."""
        variables = dict(item.partition("=")[::2] for item in plan.environ)
        order = Order(mode="exec", argv=[], environ=plan.environ, directory="/var/task")
        kind = self.zygote_kind(plan.runtime_kind, plan.interpreter)
        wrapper = variables.get(_WRAPPER, "") if plan.runtime_kind in ("python", "node", "official") else ""
        if plan.runtime_kind == "python":
            if self._settings.zygotes and not wrapper and _can_fork(variables):
                order.mode = "python"
                kind = self._with_sdk(plan, kind, order, ready)
            else:
                kind = ZygoteKind(plan.interpreter, is_python=False, shows_python=True)
            order.argv = [mounts.interpreter_inside(plan.interpreter), "/var/runtime/bootstrap.py"]
        elif plan.runtime_kind == "official":
            kind = ZygoteKind(plan.interpreter, is_python=False, shows_python=True, also=tuple(plan.runtime_files))
            order.argv = [mounts.interpreter_inside(plan.interpreter), "/var/runtime/official.py"]
        elif plan.runtime_kind == "node":
            order.argv = [mounts.interpreter_inside(plan.interpreter), *(plan.argv or ["/var/runtime/index.mjs"])]
        elif plan.runtime_kind == "bootstrap":
            order.argv = [_find_bootstrap(plan)]
        else:
            order.argv = plan.argv
        if wrapper:
            order.argv = [wrapper, *order.argv]
            order.wrapped = True
        order.shown_program = order.argv[0] if order.argv else ""
        order.extensions, order.extension_environ = plan.extensions, plan.extension_environ
        return kind, order

    # --- Python's preload sets ---

    def _with_sdk(
        self, plan: Plan, bare: ZygoteKind, order: Order, ready: Mapping[ZygoteKind, frozenset[str]]
    ) -> ZygoteKind:
        """The zygote that holds boto3, if the function uses it, brings no copy, and would not miss a module."""
        if not supports_sdk(plan.interpreter, self._settings):
            return bare
        code = self._look_into(plan)
        if not code.uses_sdk or not code.names.isdisjoint(SDK_NAMES):
            return bare
        kind = ZygoteKind(bare.interpreter, is_python=True, with_sdk=True, shows_python=True)
        modules = ready.get(kind)
        if modules is None:
            order.wanted_sdk = kind  # importing boto3 in the environment takes no longer than waiting for it
            return bare
        return kind if code.names.isdisjoint(modules) else bare

    def _look_into(self, plan: Plan) -> _Code:
        key = (plan.task_dir, plan.opt_dir)
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = _examine(plan)
            if len(self._codes) > _REMEMBERED:
                self._codes.popitem(last=False)
        return code

    @staticmethod
    def open_code(directory: str) -> int:
        """A detached read-only mount of a function's code, or of its layers."""
        return syscalls.open_tree(directory, _CODE_ATTRIBUTES)

    # --- the portable tier ---

    def move_out(self, plan: Plan, order: Order, environment: Environment) -> None:
        """Without a root of its own, an environment's files are where the host has them."""
        reach = self._reach
        variables = dict(item.partition("=")[::2] for item in plan.environ)
        task_dir, opt_dir, runtime_place = plan.task_dir, plan.opt_dir, self._settings.node_runtime_dir
        if reach is not None:
            reach.check_interpreter(plan.interpreter)
            task_dir = reach.shown(task_dir, plan.environment_id)
            opt_dir = reach.shown(opt_dir, plan.environment_id) if opt_dir else ""
            runtime_place = reach.shown(runtime_place) if runtime_place else ""
        if plan.interpreter and _is_python(plan.interpreter):
            runtime_place = self._portable_runtime(plan.interpreter, tuple(plan.runtime_files))
        prefix = os.path.dirname(os.path.dirname(os.path.realpath(plan.interpreter))) if plan.interpreter else ""
        moved = {"/var/task": task_dir, "/var/runtime": runtime_place}
        if opt_dir:
            moved["/opt"] = opt_dir
        if prefix:
            moved["/var/lang"] = prefix
        order.argv = [_moved(text, moved) for text in order.argv]
        order.directory = task_dir
        for name in ("LAMBDA_TASK_ROOT", "PWD"):
            variables[name] = task_dir
        variables["LAMBDA_RUNTIME_DIR"] = runtime_place
        variables["TMPDIR"] = str(environment.tmp)
        for name in (*_SEARCHED, _WRAPPER):
            if name in variables:
                variables[name] = ":".join(_moved(part, moved) for part in variables[name].split(":"))
        if plan.runtime_kind == "python":
            places = [f"{task_dir}=/var/task", f"{prefix}=/var/lang", f"{runtime_place}=/var/runtime"]
            places += [f"{opt_dir}=/opt"] if opt_dir else []
            variables["_LAMBDAD_PLACES"] = "\n".join(places)
        elif plan.runtime_kind == "official" and opt_dir:
            variables["_LAMBDAD_OPT"] = opt_dir
        order.environ = [f"{name}={value}" for name, value in variables.items()]
        order.extensions = [_moved(program, moved) for program in plan.extensions]
        theirs = dict(item.partition("=")[::2] for item in plan.extension_environ)
        theirs |= {name: variables[name] for name in ("PWD", "TMPDIR", *_SEARCHED) if name in variables}
        order.extension_environ = [f"{name}={value}" for name, value in theirs.items()]
        if reach is not None:
            order.readable = [
                *reach.system.readable,
                *interpreter_paths(plan.interpreter, is_python=_is_python(plan.interpreter)),
                *self._runtime_files(runtime_place),
                task_dir,
                *([opt_dir] if opt_dir else []),
            ]
            order.writable = [*reach.system.writable, str(environment.tmp)]

    @staticmethod
    def _runtime_files(place: str) -> list[str]:
        """The runtime's directory and, where it is one of links, what they lead to."""
        if not place:
            return []
        with os.scandir(place) as entries:
            return [place, *(os.path.realpath(entry.path) for entry in entries if entry.is_symlink())]


def _moved(text: str, moved: dict[str, str]) -> str:
    for shown, real in moved.items():
        if text == shown or text.startswith(shown + "/"):
            return real + text[len(shown) :]
    return text


def _is_python(interpreter: str) -> bool:
    return python_version(interpreter) != (0, 0)


def _can_fork(variables: Mapping[str, str]) -> bool:
    """Whether nothing in the environment has to be there before the interpreter starts."""
    for name, value in variables.items():
        if name in _START_VARIABLES or name.startswith(_START_PREFIXES):
            return False
        if name in _USUAL_VALUES and value != _USUAL_VALUES[name]:
            return False
        if name in ("LANG", "LC_CTYPE") and not value.upper().endswith(("UTF-8", "UTF8")):
            return False
    return True


def _find_bootstrap(plan: Plan) -> str:
    """The path of the custom runtime's entry point inside the environment (AWS Lambda developer guide)."""
    if os.path.isfile(f"{plan.task_dir}/bootstrap"):
        return BOOTSTRAPS[0]
    if plan.opt_dir and os.path.isfile(f"{plan.opt_dir}/bootstrap"):
        return BOOTSTRAPS[1]
    raise NoEntryPoint(errno.ENOENT, BOOTSTRAPS[0])


def _examine(plan: Plan) -> _Code:
    """The top-level names that the function's code and layers bring, and whether the code speaks of boto3."""
    places = [plan.task_dir]
    if plan.opt_dir:
        places.append(f"{plan.opt_dir}/python")
        places += [str(path) for path in Path(plan.opt_dir).glob("python/lib/python3.*/site-packages")]
    names: set[str] = set()
    for place in places:
        try:
            names.update(entry.partition(".")[0] for entry in os.listdir(place))
        except OSError:
            continue
    return _Code(frozenset(names), mentions_sdk(plan.task_dir))


def mentions_sdk(directory: str) -> bool:
    """Whether modules below the directory speak of boto3; only so many are read."""
    seen = 0
    for path, _, files in os.walk(directory):
        for name in files:
            if not name.endswith(".py"):
                continue
            seen += 1
            if seen > _SCANNED_FILES:
                return False
            try:
                with open(os.path.join(path, name), "rb") as source:
                    text = source.read(_SCANNED_BYTES)
            except OSError:
                continue
            if b"boto3" in text or b"botocore" in text:
                return True
    return False
