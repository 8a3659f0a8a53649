"""The real sandbox: turns a function version into a plan for the spawner, and wires up its channel and its output."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from lambdad.domain import function_network
from lambdad.domain.credentials import TemporaryCredentials
from lambdad.domain.extensions import DIRECTORY, MAX_EXTENSIONS, visible_variables
from lambdad.domain.functions import FunctionVersion
from lambdad.domain.lifecycle import PrepareFailure
from lambdad.domain.logs import RECORD_NEWLINE
from lambdad.execution import compile_cache, frames
from lambdad.execution.bytecode import Bytecode, module_directories
from lambdad.execution.channel import ChannelEvents, RuntimeChannel
from lambdad.execution.compile_cache import CompileCache, Way
from lambdad.execution.either_channel import EitherChannel
from lambdad.execution.extensions.found import external_extensions
from lambdad.execution.extensions.session import ExtensionSession
from lambdad.execution.prestarted import BoundCode, PrestartedRuntimes, Shape, can_be_bound
from lambdad.execution.runtime_api.server import ExtensionsApi, RuntimeApi, address_of, bound_listener
from lambdad.execution.runtimes import catalog
from lambdad.execution.runtimes.interpreters import Interpreter, Interpreters
from lambdad.execution.runtimes.official import OfficialClients
from lambdad.execution.sandbox import ON_DEMAND, Booted, LaunchFailed
from lambdad.execution.spawner.client import EnvironmentProcess, LaunchError, LaunchPlan, SpawnerClient, SpawnerGone
from lambdad.execution.spawner.plans import mentions_sdk

FRAMES_KINDS = ("python", "node")
OWN_NETWORK_ADDRESS = "127.0.0.1:9001"
"""Of the Runtime API in a network of the environment's own (spawner/isolation/network.py)."""
WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"


def record_newline(version: FunctionVersion, *, official_python: bool = False) -> bytes:
    """How the version's runtime client writes a newline inside one log record."""
    boot = catalog.boot(version.runtime or "", official_python=official_python)
    # Other people's runtime clients write carriage returns, as AWS's do.
    return RECORD_NEWLINE if boot is not None and boot.kind in FRAMES_KINDS else b"\r"


def _failure(error: LaunchError, extensions: ExtensionSession) -> LaunchFailed:
    if error.path.startswith(f"{DIRECTORY}/"):
        # The two words that public logs of AWS show.
        reason = "PermissionDenied" if error.errno == errno.EACCES else "UnknownError"
        extensions.registry.launch_failed(error.path.rpartition("/")[2], reason)
        return LaunchFailed(str(error), "Extension.LaunchError")
    return LaunchFailed(str(error), "Runtime.InvalidEntrypoint" if error.is_entry_point else "Runtime.Unknown")


def _sandbox_address(environment_id: str) -> str:
    """The loopback address of an environment's own, so that the listeners of two of them do not get into each
    other's way although they share the host's network."""
    first, second, third = bytes.fromhex(environment_id[:6])
    return f"127.{first or 1}.{second}.{third % 254 + 1}"


class _Ends:
    """The server's ends of a boot, closed again when the start fails; and the other ends, closed after it anyhow."""

    def __init__(self) -> None:
        self.channel: RuntimeChannel | None = None
        self.extensions_api: ExtensionsApi | None = None
        self.listener: socket.socket | None = None
        """Until it is served."""
        self.frames: socket.socket | None = None
        self._either: EitherChannel | None = None
        self._pipes: list[int] = []
        self._theirs: list[int] = []

    def open_output(self) -> tuple[int, int]:
        """A pipe for what is printed: our non-blocking read end, and the write end."""
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(ours, False)
        self._pipes.append(ours)
        self._theirs.append(theirs)
        return ours, theirs

    def open_frames(self, version: FunctionVersion, events: ChannelEvents, *, blocks: bool) -> None:
        """The channel to a bootstrap of ours, or to what a wrapper puts in its place."""
        ours, self.frames = frames.open_pair()
        if WRAPPER not in (version.environment or {}):
            self.channel = frames.FramesChannel(ours, events, blocks=blocks)
            return
        self.channel = self._either = EitherChannel(events)
        half = self._either.half()
        self._either.add(half, frames.FramesChannel(ours, half, blocks=blocks))

    def close(self) -> None:
        for pipe in self._pipes:
            os.close(pipe)
        for end in (self.channel, self.extensions_api, self.listener):
            if end is not None:
                end.close()

    async def serve(self, process: EnvironmentProcess, events: ChannelEvents, extensions: ExtensionSession) -> None:
        """Takes up the Runtime API. Only after the launch, since whose connections are to be served is known when the
        environment has its user; those that came before have waited."""
        own = process.take_listener()
        listener, self.listener = own or self.listener, None
        assert listener is not None
        peer_uid = process.uid if own is None else 0  # in a network of its own there is nobody else
        if self._either is not None:
            half = self._either.half()
            self._either.add(half, await RuntimeApi.open(half, extensions, listener, peer_uid=peer_uid))
        elif self.channel is not None:
            self.extensions_api = ExtensionsApi(events, extensions, listener, peer_uid=peer_uid)
        else:
            self.channel = await RuntimeApi.open(events, extensions, listener, peer_uid=peer_uid)

    def close_theirs(self) -> None:
        for descriptor in self._theirs:
            os.close(descriptor)
        if self.frames is not None:
            self.frames.close()


class Launcher:
    """Starts runtimes through the spawner."""

    def __init__(
        self,
        spawner: SpawnerClient,
        interpreters: Interpreters,
        *,
        code_tree: Callable[[str], Awaitable[Path]],
        layers_tree: Callable[[Sequence[str]], Awaitable[Path]],
        credentials: Callable[[FunctionVersion], TemporaryCredentials],
        endpoint: Callable[[], str],
        prestarted: PrestartedRuntimes | None = None,
        no_network: bool = False,
        official_python: bool = False,
    ) -> None:
        """With `prestarted`, Node.js functions begin in runtimes that were started ahead, where they can. With
        `official_python`, Python functions run under AWS's own runtime client."""
        self._official_python = official_python
        self._clients = OfficialClients()
        self._spawner = spawner
        self._prestarted = prestarted
        self._no_network = no_network
        self._ids: set[str] = set()
        self._interpreters = interpreters
        self._code_tree = code_tree
        self._layers_tree = layers_tree
        self._credentials = credentials
        self._endpoint = endpoint
        self._found: dict[str, Interpreter] = {}
        self._bytecode = Bytecode()
        self._compile_cache = CompileCache(spawner)
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self, version: FunctionVersion) -> PrepareFailure | None:
        """Whether the version can run here; warms up what its first start will need."""
        identifier = version.runtime or ""
        boot = catalog.boot(identifier, official_python=self._official_python)
        if boot is None:
            return PrepareFailure(code="InvalidRuntime", reason=catalog.why_not_runnable(identifier))
        if not boot.interpreter:
            return None
        interpreter = await self._find(boot.interpreter)
        if interpreter is None:
            return PrepareFailure(code="InvalidRuntime", reason=self._interpreters.why_missing(boot.interpreter))
        if boot.kind == "official" and not await self._client_of(boot, interpreter):
            return PrepareFailure(code="InvalidRuntime", reason=self._clients.why_missing(interpreter))
        if boot.kind in ("python", "official"):
            task_dir, layer_dir = await self._trees(version)
            await self._bytecode.prepare(interpreter, module_directories(task_dir, layer_dir))
        if boot.kind == "python":
            try:
                await self._spawner.prepare(interpreter.path)
            except LaunchError as error:
                return PrepareFailure(code="InvalidRuntime", reason=str(error))
            if interpreter.why_no_sdk == "" and await asyncio.to_thread(_uses_our_sdk, task_dir):
                self._prepare_sdk(interpreter)
        if boot.kind == "node" and (way := self._way(version, interpreter, *await self._trees(version))):
            await self._compile_cache.prepare(way)
        if self._prestarted is not None and (shape := self._shape(version, interpreter)):
            self._prestarted.want(shape)
        return None

    async def boot(
        self,
        version: FunctionVersion,
        environment_id: str,
        stream: str,
        events: ChannelEvents,
        extensions: ExtensionSession,
        *,
        initialization_type: str = ON_DEMAND,
    ) -> Booted:
        boot, interpreter = await self._runtime(version)
        task_dir, layer_dir = await self._trees(version)
        if boot.kind in ("python", "official") and interpreter is not None:
            self._bytecode.prepare_later(interpreter, module_directories(task_dir, layer_dir))
        compiled = self._compiled(self._way(version, interpreter, task_dir, layer_dir))
        opt_dir = str(layer_dir or "")
        programs = self._programs(opt_dir, extensions)
        has_own_network = self._has_own_network(version)
        can_be_prestarted = not programs and not has_own_network and environment_id not in self._ids
        shape = self._shape(version, interpreter) if can_be_prestarted else None
        self._ids.add(environment_id)
        if shape is not None and self._prestarted is not None:
            listener = bound_listener()
            environ = self._variables(version, stream, address_of(listener), initialization_type)
            code = BoundCode(environment_id, str(task_dir), opt_dir, environ | compiled)
            if (booted := await _bound(self._prestarted, shape, code, listener, events, extensions)) is not None:
                return booted
        ends = _Ends()
        try:
            log_read, log_write = ends.open_output()
            extension_log_read, extension_log_write = ends.open_output() if programs else (-1, None)
            if boot.kind in FRAMES_KINDS:
                ends.open_frames(version, events, blocks=boot.kind == "node")
            address = OWN_NETWORK_ADDRESS
            if not has_own_network:
                ends.listener = bound_listener()
                address = address_of(ends.listener)
            environ = self._variables(version, stream, address, initialization_type)
            sandbox_address = ""
            if has_own_network:
                extensions.telemetry.address = ""  # out of the server's reach
            elif programs and self._spawner.has_namespaces:
                sandbox_address = extensions.telemetry.address = _sandbox_address(environment_id)
            plan = LaunchPlan(
                environment_id=environment_id,
                runtime_kind=boot.kind,
                interpreter=interpreter.path if interpreter else "",
                argv=self._arguments(version, interpreter),
                runtime_files=await self._client_of(boot, interpreter),
                environ=environ | compiled,
                task_dir=str(task_dir),
                opt_dir=opt_dir,
                memory_mb=version.memory_mb,
                tmp_mb=version.ephemeral_mb,
                frames_fd=ends.frames.fileno() if ends.frames else None,
                log_fd=log_write,
                extensions=programs,
                extension_environ=visible_variables(environ) if programs else {},
                extension_log_fd=extension_log_write,
                sandbox_address=sandbox_address,
                own_network=has_own_network,
            )
            process = await self._spawner.launch(plan)
            await ends.serve(process, events, extensions)
        except LaunchError as error:
            ends.close()
            raise _failure(error, extensions) from None
        except BaseException:
            ends.close()
            raise
        finally:
            ends.close_theirs()
        assert ends.channel is not None
        return Booted(
            process=process,
            channel=ends.channel,
            log_descriptor=log_read,
            extension_log_descriptor=extension_log_read,
            extensions_api=ends.extensions_api,
        )

    async def _runtime(self, version: FunctionVersion) -> tuple[catalog.Boot, Interpreter | None]:
        identifier = version.runtime or ""
        boot = catalog.boot(identifier, official_python=self._official_python)
        if boot is None:
            raise LaunchFailed(catalog.why_not_runnable(identifier), "Runtime.Unknown")
        if not boot.interpreter:
            return boot, None
        interpreter = await self._find(boot.interpreter)
        if interpreter is None:
            raise LaunchFailed(self._interpreters.why_missing(boot.interpreter), "Runtime.Unknown")
        return boot, interpreter

    async def _client_of(self, boot: catalog.Boot, interpreter: Interpreter | None) -> tuple[str, ...]:
        """The files of awslambdaric, where it is wanted."""
        if boot.kind != "official" or interpreter is None:
            return ()
        return await asyncio.to_thread(self._clients.find, interpreter)

    def _has_own_network(self, version: FunctionVersion) -> bool:
        try:
            asked_for = function_network.asked_for(version.environment)
        except ValueError as error:
            raise LaunchFailed(str(error), "Runtime.Unknown") from None
        return self._no_network or asked_for == function_network.NONE

    def _shape(self, version: FunctionVersion, interpreter: Interpreter | None) -> Shape | None:
        """What a runtime of the version looks like before it has the function; None if it has to start with it."""
        runtime = version.runtime or ""
        if interpreter is None or not runtime.startswith("nodejs") or not can_be_bound(version.environment):
            return None
        return Shape(
            runtime=runtime,
            interpreter=interpreter.path,
            argv=self._arguments(version, interpreter),
            memory_mb=version.memory_mb,
            tmp_mb=version.ephemeral_mb,
        )

    @staticmethod
    def _programs(opt_dir: str, extensions: ExtensionSession) -> tuple[str, ...]:
        """The external extensions to be started, as they are seen inside."""
        if not opt_dir:
            return ()
        names = external_extensions(opt_dir)
        if len(names) > MAX_EXTENSIONS:
            raise LaunchFailed(
                f"{len(names)} extensions in {DIRECTORY}; the limit is {MAX_EXTENSIONS}", "Extension.LaunchError"
            )
        extensions.registry.expect(names)
        return tuple(f"{DIRECTORY}/{name}" for name in names)

    def _prepare_sdk(self, interpreter: Interpreter) -> None:
        """Has boto3 loaded for the first start of a function that uses it; nobody waits for that."""

        async def prepare() -> None:
            with contextlib.suppress(LaunchError, SpawnerGone):
                await self._spawner.prepare(interpreter.path, sdk=True)

        task = asyncio.get_running_loop().create_task(prepare())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _trees(self, version: FunctionVersion) -> tuple[Path, Path | None]:
        """The folders of the code and of the layers."""
        task_dir = await self._code_tree(version.code_sha256)
        if not version.layers:
            return task_dir, None
        return task_dir, await self._layers_tree([layer.code_sha256 for layer in version.layers])

    async def _find(self, name: str) -> Interpreter | None:
        """An interpreter; looking for it runs programs, so that is done in a thread, once."""
        interpreter = self._found.get(name)
        if interpreter is None:
            interpreter = await asyncio.to_thread(self._interpreters.find, name)
            if interpreter is not None:
                self._found[name] = interpreter
        return interpreter

    @staticmethod
    def _arguments(version: FunctionVersion, interpreter: Interpreter | None) -> tuple[str, ...]:
        """What follows the interpreter, where that is for the server to say."""
        if interpreter is None or not (version.runtime or "").startswith("nodejs"):
            return ()
        options = (version.environment or {}).get("NODE_OPTIONS", "")
        node = catalog.node_arguments(version.runtime or "", interpreter.version, version.memory_mb, options)
        return (*node, "/var/runtime/index.mjs")

    def _way(
        self, version: FunctionVersion, interpreter: Interpreter | None, task_dir: Path, layer_dir: Path | None
    ) -> Way | None:
        """How the version's modules are compiled ahead; None if its runtime may be another than ours for Node.js."""
        arguments = self._arguments(version, interpreter)
        if interpreter is None or not arguments or WRAPPER in (version.environment or {}):
            return None
        return Way(
            runtime=version.runtime or "",
            interpreter=interpreter,
            options=arguments[:-1],
            task_dir=task_dir,
            layer_dir=layer_dir,
        )

    def _compiled(self, way: Way | None) -> dict[str, str]:
        """The variable that tells our bootstrap of what was compiled, if there is anything."""
        if way is None:
            return {}
        self._compile_cache.prepare_later(way)
        place = self._compile_cache.find(way)
        return {compile_cache.VARIABLE: place} if place else {}

    def _variables(
        self, version: FunctionVersion, stream: str, runtime_api: str, initialization_type: str
    ) -> dict[str, str]:
        credentials = self._credentials(version)
        logging = version.logging
        variables = catalog.base_environment(
            runtime=version.runtime or "",
            handler=version.handler or "",
            function_name=version.name,
            function_version=version.version,
            memory_mb=version.memory_mb,
            region=version.region,
            log_group=logging.log_group,
            log_stream=stream,
            credentials=catalog.Credentials(
                access_key_id=credentials.access_key_id,
                secret_access_key=credentials.secret_access_key,
                session_token=credentials.session_token,
            ),
            initialization_type=initialization_type,
            runtime_api=runtime_api,
            log_format=logging.log_format,
            log_level=logging.application_log_level,
        )
        # Not on AWS: the function's own SDK calls come back to this server unless the function says otherwise.
        variables["AWS_ENDPOINT_URL"] = self._endpoint()
        return variables | dict(version.environment or {})

    def release(self, environment_id: str) -> None:
        self._ids.discard(environment_id)
        self._spawner.release(environment_id)


async def _bound(
    prestarted: PrestartedRuntimes,
    shape: Shape,
    code: BoundCode,
    listener: socket.socket,
    events: ChannelEvents,
    extensions: ExtensionSession,
) -> Booted | None:
    """A runtime that was started ahead, with the function; None if there is none. Takes over `listener`."""
    waiting = None
    try:
        waiting = await prestarted.bound(shape, code)
    finally:
        if waiting is None:
            listener.close()
    if waiting is None:
        return None
    api = ExtensionsApi(events, extensions, listener, peer_uid=waiting.process.uid)
    channel = frames.FramesChannel(waiting.channel, events, blocks=True)
    return Booted(process=waiting.process, channel=channel, log_descriptor=waiting.log_descriptor, extensions_api=api)


def _uses_our_sdk(task_dir: Path) -> bool:
    return not (task_dir / "boto3").exists() and mentions_sdk(str(task_dir))
