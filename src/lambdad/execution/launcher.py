"""The real sandbox: turns a function version into a plan for the spawner, and wires up its channel and its output."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from lambdad.domain.credentials import TemporaryCredentials
from lambdad.domain.functions import FunctionVersion
from lambdad.domain.lifecycle import PrepareFailure
from lambdad.domain.logs import RECORD_NEWLINE
from lambdad.execution import frames
from lambdad.execution.channel import ChannelEvents, RuntimeChannel
from lambdad.execution.runtime_api.server import RuntimeApi
from lambdad.execution.runtimes import catalog
from lambdad.execution.runtimes.interpreters import Interpreter, Interpreters
from lambdad.execution.sandbox import ON_DEMAND, Booted, LaunchFailed
from lambdad.execution.spawner.client import LaunchError, LaunchPlan, SpawnerClient

FRAMES_KINDS = ("python", "node")


def record_newline(version: FunctionVersion) -> bytes:
    """How the version's runtime client writes a newline inside one log record."""
    boot = catalog.boot(version.runtime or "")
    # Other people's runtime clients write carriage returns, as AWS's do.
    return RECORD_NEWLINE if boot is not None and boot.kind in FRAMES_KINDS else b"\r"


class _Ends:
    """The server's ends of a runtime that is being started, for when the start fails."""

    def __init__(self, log_descriptor: int) -> None:
        self.channel: RuntimeChannel | None = None
        self._log_descriptor = log_descriptor

    def close(self) -> None:
        os.close(self._log_descriptor)
        if self.channel is not None:
            self.channel.close()


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
    ) -> None:
        self._spawner = spawner
        self._interpreters = interpreters
        self._code_tree = code_tree
        self._layers_tree = layers_tree
        self._credentials = credentials
        self._endpoint = endpoint
        self._found: dict[str, Interpreter] = {}

    async def prepare(self, version: FunctionVersion) -> PrepareFailure | None:
        """Whether the version can run here; warms up what its first start will need."""
        identifier = version.runtime or ""
        boot = catalog.boot(identifier)
        if boot is None:
            return PrepareFailure(code="InvalidRuntime", reason=catalog.why_not_runnable(identifier))
        if not boot.interpreter:
            return None
        interpreter = await self._find(boot.interpreter)
        if interpreter is None:
            return PrepareFailure(code="InvalidRuntime", reason=self._interpreters.why_missing(boot.interpreter))
        if boot.kind == "python":
            try:
                await self._spawner.prepare(interpreter.path)
            except LaunchError as error:
                return PrepareFailure(code="InvalidRuntime", reason=str(error))
        return None

    async def boot(
        self,
        version: FunctionVersion,
        environment_id: str,
        stream: str,
        events: ChannelEvents,
        *,
        initialization_type: str = ON_DEMAND,
    ) -> Booted:
        identifier = version.runtime or ""
        boot = catalog.boot(identifier)
        if boot is None:
            raise LaunchFailed(catalog.why_not_runnable(identifier), "Runtime.Unknown")
        interpreter: Interpreter | None = None
        if boot.interpreter:
            interpreter = await self._find(boot.interpreter)
            if interpreter is None:
                raise LaunchFailed(self._interpreters.why_missing(boot.interpreter), "Runtime.Unknown")
        task_dir = await self._code_tree(version.code_sha256)
        layer_dirs: tuple[str, ...] = ()
        if version.layers:
            layer_dirs = (str(await self._layers_tree([layer.code_sha256 for layer in version.layers])),)
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        ends = _Ends(log_read)
        try:
            os.set_blocking(log_read, False)
            theirs: socket.socket | None = None
            address = None
            if boot.kind in FRAMES_KINDS:
                ours, theirs = frames.open_pair()
                ends.channel = frames.FramesChannel(ours, events)
            else:
                runtime_api = await RuntimeApi.open(events)
                ends.channel, address = runtime_api, runtime_api.address
            plan = LaunchPlan(
                environment_id=environment_id,
                runtime_kind=boot.kind,
                interpreter=interpreter.path if interpreter else "",
                argv=self._arguments(version, interpreter),
                environ=self._variables(version, stream, address, initialization_type),
                task_dir=str(task_dir),
                layer_dirs=layer_dirs,
                memory_mb=version.memory_mb,
                tmp_mb=version.ephemeral_mb,
                frames_fd=theirs.fileno() if theirs else None,
                log_fd=log_write,
            )
            try:
                process = await self._spawner.launch(plan)
            finally:
                if theirs is not None:
                    theirs.close()
        except LaunchError as error:
            ends.close()
            raise LaunchFailed(
                str(error), "Runtime.InvalidEntrypoint" if error.is_entry_point else "Runtime.Unknown"
            ) from None
        except BaseException:
            ends.close()
            raise
        finally:
            os.close(log_write)
        assert ends.channel is not None
        return Booted(process=process, channel=ends.channel, log_descriptor=log_read)

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

    def _variables(
        self, version: FunctionVersion, stream: str, runtime_api: str | None, initialization_type: str
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
            runtime_api=runtime_api or catalog.RUNTIME_API_ADDRESS,
            log_format=logging.log_format,
            log_level=logging.application_log_level,
        )
        # Not on AWS: the function's own SDK calls come back to this server unless the function says otherwise.
        variables["AWS_ENDPOINT_URL"] = self._endpoint()
        return variables | dict(version.environment or {})

    def release(self, environment_id: str) -> None:
        self._spawner.release(environment_id)
