"""The composition root: makes each object once, hands it what it needs, starts and stops everything in order.

FrontDoor (wire) ── control services ── FunctionRepository ── SqliteEngine
    └ InvokeApi ── EventQueue: Intake ── SqliteEngine ── Worker ── Invoker
          └ Invoker ── Catalog, Admission
                      └ Pool ── Environment ── Launcher ── SpawnerClient ··· spawner process
                                    └ LogStreams ── LogService ── SqliteEngine
"""

from __future__ import annotations

import base64
import contextlib
import gc
import logging
import sys
import time

from lambdad.clock import SystemClock
from lambdad.config import Settings
from lambdad.control.changes import Changed
from lambdad.control.keys import Keys
from lambdad.control.plane import ControlPlane
from lambdad.domain.credentials import TemporaryCredentials, TemporaryKeys
from lambdad.domain.destinations import OutgoingMessage
from lambdad.domain.errors import LambdadError
from lambdad.domain.functions import FunctionVersion
from lambdad.domain.queues import MessageAttribute
from lambdad.event_queue.service import EventQueue
from lambdad.event_queue.targets import Delivered
from lambdad.execution.environment import RuntimeVersion
from lambdad.execution.launcher import Launcher, record_newline
from lambdad.execution.pool import IdleExpiry, Pool
from lambdad.execution.runtimes import catalog as runtimes
from lambdad.execution.runtimes.interpreters import Interpreters
from lambdad.execution.sandbox import LogStream
from lambdad.execution.spawner.client import SpawnerClient
from lambdad.http.messages import Request, Response
from lambdad.http.protocol import Exchange
from lambdad.http.server import HttpServer
from lambdad.invocation.admission import Admission
from lambdad.invocation.catalog import Catalog
from lambdad.invocation.invoker import Invoker
from lambdad.neighbours.iam.policies import Policies
from lambdad.neighbours.iam.roles import Roles
from lambdad.neighbours.logs.service import LogService
from lambdad.neighbours.sqs.service import SqsService
from lambdad.neighbours.sts.service import Tokens
from lambdad.storage import clock_offset, reset
from lambdad.storage.engine import Transaction
from lambdad.storage.functions import FunctionKey, FunctionRepository
from lambdad.storage.keys import AccessKeys, installation_secret
from lambdad.storage.packages import PackageStore
from lambdad.storage.roles import Identities
from lambdad.storage.sqlite import SqliteEngine
from lambdad.telemetry import Telemetry
from lambdad.wire import errors
from lambdad.wire.access.gate import AuthMode, Gate
from lambdad.wire.access.hosts import HostNames
from lambdad.wire.access.links import SignedLinks
from lambdad.wire.front import FrontDoor, RawRoute
from lambdad.wire.iam import iam_service
from lambdad.wire.lambda_api import invoke, operations
from lambdad.wire.logs import logs_service
from lambdad.wire.own import PREFIX
from lambdad.wire.own_clock import ClockEndpoints
from lambdad.wire.own_keys import KeyEndpoints
from lambdad.wire.own_reset import ResetEndpoint
from lambdad.wire.service import Service
from lambdad.wire.sqs import sqs_service
from lambdad.wire.sts import sts_service

logger = logging.getLogger("lambdad")

STOP_GRACE_S = 10.0
"""How long calls in progress may take when the server is told to stop."""
CODE_LINK_S = 600
"""A code URL is valid for ten minutes (AWS: botocore model of GetFunction)."""
ROLE_KEYS_S = 36 * 3600
"""Longer than an environment is kept, because its keys are set once, at its start."""
CODE_PATH = f"{PREFIX}code/"


TIERS = {
    "T0": "portable, for code that you trust",
    "T1": "Landlock and seccomp",
    "T2": "user namespaces",
    "T3": "namespaces, a user for each environment, memory and process limits",
}


class IsolationTooWeak(LambdadError):
    """The machine does not give the isolation that was required."""


class Application:
    """One server. The spawner is started by whoever makes it, before the modules of the server are even imported."""

    def __init__(self, settings: Settings, spawner: SpawnerClient) -> None:
        self.settings = settings
        self.telemetry = Telemetry()
        self.clock = SystemClock()
        self._spawner = spawner
        self.interpreters = Interpreters(
            {f"python{version}": path for version, path in settings.pythons.items()}
            | {f"node{version}": path for version, path in settings.nodes.items()}
        )
        self._stack = contextlib.AsyncExitStack()
        self._server: HttpServer | None = None
        self._isolation = ""

    async def start(self) -> None:
        """Opens the data folder, starts everything, and listens. What was begun is undone when a step fails."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        # What exists now lives as long as the server: no collection needs to look at it again. The threshold lets a
        # few hundred invocations pass between two collections instead of seven.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        # The writer's thread needs the interpreter for moments only, but would wait 5 ms for each of them while the
        # event loop is busy: measured under load, events were accepted at half the rate.
        sys.setswitchinterval(0.0005)

    async def stop(self) -> None:
        """Lets calls in progress end, then stops everything in the opposite order."""
        stack, self._stack = self._stack, contextlib.AsyncExitStack()
        await stack.aclose()

    @property
    def endpoint(self) -> str:
        """The URL that clients on this machine use."""
        host = self.settings.host
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = "127.0.0.1" if host == "0.0.0.0" else "[::1]"  # noqa: S104
        elif ":" in host:
            host = f"[{host}]"
        return f"http://{host}:{self._server.port if self._server else self.settings.port}"

    def facts(self) -> dict[str, str]:
        """What the start message tells: how functions are isolated."""
        return {"isolation": self._isolation}

    async def _start(self) -> None:
        stack, settings, clock = self._stack, self.settings, self.clock
        stack.push_async_callback(self._spawner.stop)
        await self._spawner.attach()
        await self._check_tier()
        engine = await SqliteEngine.open(settings.data)
        stack.push_async_callback(engine.close)
        clock.advance(await clock_offset.read(engine))
        packages = await PackageStore.open(settings.data)
        stack.callback(packages.close)

        logs = LogService(engine, clock)
        logs.start()
        stack.push_async_callback(logs.stop)

        keys = Keys(AccessKeys(engine))
        await keys.load()
        temporary = TemporaryKeys(await installation_secret(engine, "temporary-keys"))
        links = SignedLinks(await installation_secret(engine, "links"))

        launcher = Launcher(
            self._spawner,
            self.interpreters,
            code_tree=packages.tree,
            credentials=lambda version: role_credentials(temporary, version),
            endpoint=lambda: self.endpoint,
        )
        pool = Pool(
            sandbox=launcher,
            logs=_LogStreams(logs),
            clock=clock,
            runtime_version=_runtime_version,
            idle_timeout_s=settings.idle_timeout_s,
        )
        stack.callback(pool.stop)
        expiry = IdleExpiry(pool)
        await self._run_loop(expiry)
        for follower in (expiry, logs.retention):
            clock.on_advance(follower.wake)

        repository = FunctionRepository(engine)
        admission = Admission(settings.account_concurrency)
        for key, reserved in await repository.reservations():
            admission.function(key.account, key.region, key.name).set_reserved(reserved)
        catalog = Catalog(repository, pool, admission)
        invoker = Invoker(catalog, clock, self.telemetry)
        plane = ControlPlane(
            repository,
            packages,
            clock,
            prepare=launcher.prepare,
            changed=catalog.changed,
            busy=pool.runs_code,
            account_concurrency=settings.account_concurrency,
        )
        await plane.start()
        stack.push_async_callback(plane.stop)

        sqs = SqsService(engine, clock)
        sqs.start()
        stack.push_async_callback(sqs.stop)
        queue = EventQueue(
            engine,
            invoker,
            clock,
            self.telemetry,
            targets={"sqs": _QueueTarget(sqs)},
            retry_delays_s=settings.retry_delays_s,
            concurrency=settings.async_concurrency,
        )
        await queue.start()
        stack.push_async_callback(queue.stop)

        await self._listen(engine, packages, plane, logs, invoker, catalog.changed, queue, sqs, keys, temporary, links)

    async def _listen(
        self,
        engine: SqliteEngine,
        packages: PackageStore,
        plane: ControlPlane,
        logs: LogService,
        invoker: Invoker,
        changed: Changed,
        queue: EventQueue,
        sqs: SqsService,
        keys: Keys,
        temporary: TemporaryKeys,
        links: SignedLinks,
    ) -> None:
        settings, clock = self.settings, self.clock
        gate = Gate(AuthMode(settings.auth), keys, temporary)
        identities = Identities(engine)
        tokens = Tokens(identities, temporary, time.time, requires_roles=settings.auth == "strict")

        def code_url(version: FunctionVersion) -> str:
            name = base64.b64decode(version.code_sha256).hex()
            return self.endpoint + links.sign(f"{CODE_PATH}{name}.zip", time.time() + CODE_LINK_S)

        lambda_service = Service(
            name="lambda",
            signing_names=("lambda",),
            handlers=operations.handlers(plane, runtime_version_arn=runtimes.runtime_version_arn, code_url=code_url),
        )
        invoke_api = invoke.InvokeApi(invoker, queue.intake, _rest_json_error)
        front = FrontDoor(
            [
                lambda_service,
                logs_service(logs),
                sqs_service(sqs),
                iam_service(Roles(identities, clock.now), Policies(identities, clock.now)),
                sts_service(tokens),
            ],
            gate,
            HostNames(settings.host, settings.hostnames),
            raw_routes=[
                RawRoute(
                    service="lambda",
                    method="POST",
                    prefix=invoke.PREFIX,
                    suffix=invoke.SUFFIX,
                    handler=invoke_api.invoke,
                ),
                RawRoute(
                    service="lambda",
                    method="POST",
                    prefix=invoke.STREAM_PREFIX,
                    suffix=invoke.STREAM_SUFFIX,
                    handler=invoke_api.invoke_with_response_stream,
                ),
                *(
                    RawRoute(
                        service="lambda",
                        method="POST",
                        prefix=invoke.ASYNC_PREFIX,
                        suffix=suffix,
                        handler=invoke_api.invoke_async,
                    )
                    for suffix in (invoke.ASYNC_SUFFIX, f"{invoke.ASYNC_SUFFIX}/")
                ),
            ],
        )
        KeyEndpoints(keys, gate).register(front.own_endpoints)
        ResetEndpoint([queue.reset, sqs.reset, _Reset(engine, changed, logs)]).register(front.own_endpoints)
        ClockEndpoints(clock, lambda advanced_s: clock_offset.write(engine, advanced_s)).register(front.own_endpoints)
        front.own_endpoints.add("GET", f"{CODE_PATH}*", _CodeDownload(packages, links).answer, is_open=True)

        self._stack.push_async_callback(front.finish, STOP_GRACE_S)
        server = HttpServer(front)
        await server.start(settings.host, settings.port)
        self._stack.push_async_callback(server.stop, STOP_GRACE_S)
        self._stack.callback(sqs.release_waiters)  # first of all: the server would wait for their answers
        self._server = server

    async def _check_tier(self) -> None:
        """Raises IsolationTooWeak when this machine gives less than was asked for."""
        report = await self._spawner.report()
        tier, missing = str(report["tier"]), [str(reason) for reason in report["missing"]]
        self._isolation = f"{tier}: {TIERS[tier]}"
        required = self.settings.isolation.required_tier
        if int(tier[1:]) < required:
            raise IsolationTooWeak(
                f"--isolation requires tier T{required}, but this machine gives {tier}. "
                + " ".join(missing or ["`lambdad doctor` tells why."])
            )

    async def _run_loop(self, loop: IdleExpiry) -> None:
        loop.start()
        self._stack.push_async_callback(loop.stop)


class _QueueTarget:
    """Queues as targets of records and dead letters."""

    def __init__(self, sqs: SqsService) -> None:
        self._sqs = sqs

    def put_in(self, tx: Transaction, arn: str, message: OutgoingMessage) -> Delivered:
        function = message.function_arn.split(":")[6]
        trace = {"AWSTraceHeader": MessageAttribute("String", message.trace)} if message.trace else {}
        delivery = self._sqs.put_in(
            tx,
            arn,
            message.body.decode("utf-8"),
            {name: MessageAttribute(one.data_type, one.value) for name, one in message.attributes.items()},
            trace,
            sender_id=f"AROA:{function}",
        )
        return lambda: self._sqs.delivered(delivery)


class _LogStreams:
    """Opens the log stream of an environment in CloudWatch Logs."""

    def __init__(self, logs: LogService) -> None:
        self._writer = logs.writer

    def open(self, version: FunctionVersion, stream: str) -> LogStream:
        return self._writer.stream(
            version.account,
            version.region,
            version.logging.log_group,
            stream,
            record_newline=record_newline(version),
        )


class _Reset:
    """Removes functions, logs and roles; running invocations end as after a deletion."""

    def __init__(self, engine: SqliteEngine, changed: Changed, logs: LogService) -> None:
        self._engine = engine
        self._changed = changed
        self._logs = logs

    async def __call__(self) -> None:
        def job(tx: Transaction) -> list[FunctionKey]:
            reset.logs(tx)
            reset.identities(tx)
            return reset.functions(tx)

        for key in await self._engine.write(job):
            self._changed(key.account, key.region, key.name)
        self._logs.retention.wake()


class _CodeDownload:
    """`GET /_lambdad/code/<sha256>.zip`, for whoever has a signed link from GetFunction."""

    def __init__(self, packages: PackageStore, links: SignedLinks) -> None:
        self._packages = packages
        self._links = links

    async def answer(self, exchange: Exchange) -> Response:
        request: Request = exchange.request
        if not self._links.allows(request.path, request.query, time.time()):
            return _message(403, "This link is not valid, or no longer. Call GetFunction for a new one.")
        name = request.path.removeprefix(CODE_PATH).removesuffix(".zip")
        try:
            archive = await self._packages.read(base64.b64encode(bytes.fromhex(name)).decode("ascii"))
        except (OSError, ValueError):
            return _message(404, "This code is no longer there: the function was updated or deleted.")
        return Response(200, [("content-type", "application/zip")], archive)


def _message(status: int, text: str) -> Response:
    return Response(status, [("content-type", "text/plain; charset=utf-8")], text.encode())


def _rest_json_error(error: LambdadError, request_id: str) -> Response:
    return errors.render(error, errors.REST_JSON, request_id)


def _runtime_version(version: FunctionVersion) -> RuntimeVersion:
    runtime = version.runtime or ""
    return RuntimeVersion(runtimes.runtime_version(runtime), runtimes.runtime_version_arn(version.region, runtime))


def role_credentials(keys: TemporaryKeys, version: FunctionVersion) -> TemporaryCredentials:
    """Temporary keys of a session of the function's role, named after the function as on AWS."""
    account = version.role.split(":")[4]
    role = version.role.rpartition("/")[2]
    return keys.issue(
        account=account,
        arn=f"arn:aws:sts::{account}:assumed-role/{role}/{version.name}",
        user_id=f"AROA:{version.name}",
        expires_at=time.time() + ROLE_KEYS_S,
    )
