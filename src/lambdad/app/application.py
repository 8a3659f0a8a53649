"""The composition root: makes each object once, hands it what it needs, starts and stops everything in order.

FrontDoor (wire) ── control services ── FunctionRepository ── SqliteEngine
    └ InvokeApi ── EventQueue: Intake ── SqliteEngine ── Worker ── Invoker
          └ Invoker ── Catalog, Admission
                      └ Pool ── Environment ── Launcher ── SpawnerClient ··· spawner process
                                    └ LogStreams ── LogService ── SqliteEngine
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain

from lambdad.app.endpoints import CODE_PATH, ClockReset, CodeDownload, Reset
from lambdad.app.logs import LogStreams
from lambdad.app.object_notifications import ObjectNotifications
from lambdad.app.objects import Objects
from lambdad.app.sources import FailedBatchTargets, SourceServices
from lambdad.app.targets import Functions, QueueTarget, Topics
from lambdad.clock import SystemClock
from lambdad.config import Settings
from lambdad.control.keys import Keys
from lambdad.control.plane import ControlPlane
from lambdad.domain import roles
from lambdad.domain.credentials import TemporaryCredentials, TemporaryKeys
from lambdad.domain.errors import LambdadError
from lambdad.domain.functions import FunctionVersion
from lambdad.event_queue.clients import Clients
from lambdad.event_queue.ledger import LedgerLimits
from lambdad.event_queue.remote import RemoteTargets
from lambdad.event_queue.service import EventQueue
from lambdad.execution.journal import RuntimeVersion
from lambdad.execution.launcher import Launcher
from lambdad.execution.pool import IdleExpiry, Pool
from lambdad.execution.prestarted import PrestartedRuntimes
from lambdad.execution.runtimes import catalog as runtimes
from lambdad.execution.runtimes.interpreters import Interpreters
from lambdad.execution.spawner.client import SpawnerClient
from lambdad.extras import embedded_clients, moto_services
from lambdad.http.messages import Response
from lambdad.http.server import HttpServer
from lambdad.invocation.admission import Admission
from lambdad.invocation.catalog import Catalog
from lambdad.invocation.invoker import Invoker
from lambdad.invocation.provisioning import Provisioning
from lambdad.loops import Loop
from lambdad.neighbours.cloudwatch.collector import Collector
from lambdad.neighbours.cloudwatch.service import CloudWatchService
from lambdad.neighbours.eventbridge.service import EventBridgeService
from lambdad.neighbours.eventbridge.targets import FunctionTarget, TopicTarget
from lambdad.neighbours.iam.policies import Policies
from lambdad.neighbours.iam.roles import Roles
from lambdad.neighbours.logs.service import LogService
from lambdad.neighbours.sns.service import SnsService
from lambdad.neighbours.sqs.service import SqsService
from lambdad.neighbours.sts.service import Tokens
from lambdad.sources.calls import FunctionCalls
from lambdad.sources.service import Sources
from lambdad.storage import clock_offset, provisioned
from lambdad.storage.functions import FunctionRepository
from lambdad.storage.keys import AccessKeys, installation_secret
from lambdad.storage.packages import PackageStore
from lambdad.storage.roles import Identities
from lambdad.storage.sqlite import SqliteEngine
from lambdad.telemetry import Telemetry
from lambdad.wire import errors
from lambdad.wire.access.gate import AuthMode, Gate
from lambdad.wire.access.hosts import HostNames
from lambdad.wire.access.links import SignedLinks
from lambdad.wire.cloudwatch import cloudwatch_service
from lambdad.wire.eventbridge import eventbridge_service
from lambdad.wire.fallback import Fallback
from lambdad.wire.front import FrontDoor, RawRoute
from lambdad.wire.function_urls.door import FunctionUrlDoor
from lambdad.wire.iam import iam_service
from lambdad.wire.iam_copies import IamCopies
from lambdad.wire.lambda_api import invoke, operations
from lambdad.wire.logs import logs_service
from lambdad.wire.own_clock import ClockEndpoints
from lambdad.wire.own_events import EventEndpoints
from lambdad.wire.own_keys import KeyEndpoints
from lambdad.wire.own_metrics import MetricsEndpoint
from lambdad.wire.own_reset import ResetEndpoint
from lambdad.wire.service import Service
from lambdad.wire.sns import SubscriberLinks, sns_service
from lambdad.wire.sqs import sqs_service
from lambdad.wire.sts import sts_service

logger = logging.getLogger("lambdad")

STOP_GRACE_S = 10.0
"""How long calls in progress may take when the server is told to stop."""
SETTLE_AFTER_S = 1.0
"""A server that has just become ready has something better to do than to collect garbage."""
CODE_LINK_S = 600
"""A code URL is valid for ten minutes (AWS: botocore model of GetFunction)."""
ROLE_KEYS_S = 36 * 3600
"""Longer than an environment is kept, because its keys are set once, at its start."""


ResetStep = Callable[[], Awaitable[None]]

TIERS = {
    "T0": "portable, for code that you trust",
    "T1": "own files alone, by Landlock; filtered system calls",
    "T2": "own mounts, processes and user namespace",
    "T3": "own mounts, processes and user for each environment",
}


class IsolationTooWeak(LambdadError):
    """The machine does not give the isolation that was required."""


def _settle() -> None:
    """What exists now lives as long as the server: no collection needs to look at it again."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neighbours:
    """What takes events and messages."""

    queue: EventQueue
    sqs: SqsService
    sns: SnsService
    eventbridge: EventBridgeService

    def resets(self) -> list[ResetStep]:
        return [self.queue.reset, self.sqs.reset, self.sns.reset, self.eventbridge.reset]


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
        self._others = moto_services.MotoServices() if moto_services.is_installed() else None
        attach = None if self._others is None else partial(embedded_clients.attach, self._others)
        clients = Clients(profile=settings.target_profile, attach=attach)
        self._remote = RemoteTargets(settings.targets, self.clock, clients)
        self._stack = contextlib.AsyncExitStack()
        self._server: HttpServer | None = None
        self._isolation = ""
        self._settling: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Opens the data folder, starts everything, and listens. What was begun is undone when a step fails."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        # The threshold lets a few hundred invocations pass between two collections instead of seven.
        gc.set_threshold(50_000, 20, 50)
        self._settling = asyncio.get_running_loop().call_later(SETTLE_AFTER_S, _settle)
        # The writer's thread needs the interpreter for moments only, but would wait 5 ms for each of them while the
        # event loop is busy.
        sys.setswitchinterval(0.0005)

    async def stop(self) -> None:
        """Lets calls in progress end, then stops everything in the opposite order."""
        if self._settling is not None:
            self._settling.cancel()
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

    @property
    def _url_host(self) -> str:
        """The name below which function URLs are shown, with the port. `localhost` and all names below it are this
        machine to browsers and most other clients."""
        names = [name.removeprefix("*.") for name in self.settings.hostnames]
        return f"{names[0] if names else 'localhost'}:{self._server.port if self._server else self.settings.port}"

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

        logs = self._start_logs(engine)
        keys = Keys(AccessKeys(engine))
        await keys.load()
        temporary = TemporaryKeys(await installation_secret(engine, "temporary-keys"))

        official_python = settings.python_runtime == "awslambdaric"
        launcher = Launcher(
            self._spawner,
            self.interpreters,
            code_tree=packages.tree,
            layers_tree=packages.merged_tree,
            credentials=lambda version: role_credentials(temporary, version),
            endpoint=lambda: self.endpoint,
            prestarted=None if settings.network == "none" else self._prestarted(),
            no_network=settings.network == "none",
            official_python=official_python,
        )
        pool = Pool(
            sandbox=launcher,
            logs=LogStreams(logs, official_python=official_python),
            clock=clock,
            runtime_version=_runtime_version,
            idle_timeout_s=settings.idle_timeout_s,
            freeze_after_s=settings.freeze_after_s,
        )
        stack.push_async_callback(pool.ended)
        stack.callback(pool.stop)
        expiry = IdleExpiry(pool)
        await self._run_loop(expiry)
        repository = FunctionRepository(engine)
        admission = Admission(settings.account_concurrency)
        provisioning = Provisioning(pool)
        await self._run_loop(provisioning)
        for key, reserved in await repository.reservations():
            admission.function(key.account, key.region, key.name).set_reserved(reserved)
        for follower in (expiry, logs.retention, provisioning):
            clock.on_advance(follower.wake)
        catalog = Catalog(repository, pool, admission, provisioning=provisioning)
        collector = Collector(
            engine, clock, self.telemetry, lambda: chain(admission.take_peaks(), provisioning.take_peaks())
        )
        collector.start()
        stack.push_async_callback(collector.stop)
        invoker = Invoker(catalog, clock, self.telemetry)
        plane = ControlPlane(
            repository,
            packages,
            clock,
            prepare=launcher.prepare,
            changed=catalog.changed,
            busy=pool.runs_code,
            elsewhere=self._remote.sends_to,
            read_object=Objects(self._remote).read,
            allocation=provisioning.allocation,
            requested=catalog.load,
            account_concurrency=settings.account_concurrency,
            telemetry=self.telemetry,
        )
        await plane.start()
        stack.push_async_callback(plane.stop)

        for key in await provisioned.functions(engine):
            catalog.load(key.account, key.region, key.name)

        neighbours = await self._start_neighbours(engine, invoker, logs)
        sources = await self._start_sources(engine, plane, invoker, neighbours)

        gate = Gate(AuthMode(settings.auth), keys, temporary)
        links = SignedLinks(await installation_secret(engine, "links"))
        front = self._front_door(
            gate,
            [
                self._lambda_service(plane, links),
                logs_service(logs),
                sqs_service(neighbours.sqs),
                sns_service(neighbours.sns),
                eventbridge_service(neighbours.eventbridge),
                cloudwatch_service(CloudWatchService(engine, clock, collector), clock.time_ms),
                *self._identity_services(engine, temporary),
            ],
            invoke.InvokeApi(invoker, neighbours.queue.intake, _rest_json_error),
            FunctionUrlDoor(plane.function_urls, invoker, gate, clock, self.telemetry, lambda: self._url_host),
            self._fallback(engine),
        )
        endpoints = front.own_endpoints
        KeyEndpoints(keys, gate).register(endpoints)
        EventEndpoints(neighbours.queue.ledger).register(endpoints)
        MetricsEndpoint(collector).register(endpoints)
        SubscriberLinks(neighbours.sns).register(endpoints)
        ClockEndpoints(clock, lambda advanced_s: clock_offset.write(engine, advanced_s)).register(endpoints)
        ResetEndpoint(
            [
                plane.mappings.reset,
                sources.reset,
                *neighbours.resets(),
                Reset(engine, catalog.changed, logs),
                ClockReset(engine, clock),
                collector.reset,
                *self._other_resets(),
            ]
        ).register(endpoints)
        endpoints.add("GET", f"{CODE_PATH}*", CodeDownload(packages, links).answer, is_open=True)
        await self._listen(front)
        self._end_waiting_first(neighbours.sqs, sources)

    def _start_logs(self, engine: SqliteEngine) -> LogService:
        logs = LogService(engine, self.clock)
        logs.start()
        self._stack.push_async_callback(logs.stop)
        return logs

    async def _start_neighbours(self, engine: SqliteEngine, invoker: Invoker, logs: LogService) -> _Neighbours:
        """The queue of events and the services around it, each a target of the others."""
        stack, clock = self._stack, self.clock
        sqs = SqsService(engine, clock)
        sqs.start()
        stack.push_async_callback(sqs.stop)
        queue = EventQueue(
            engine,
            invoker,
            clock,
            self.telemetry,
            targets={"sqs": QueueTarget(sqs)},
            remote=self._remote,
            retry_delays_s=self.settings.retry_delays_s,
            concurrency=self.settings.async_concurrency,
            ledger_limits=LedgerLimits(
                age_s=self.settings.ledger_age_s, size_bytes=self.settings.ledger_size_mb * 1_048_576
            ),
        )
        functions = Functions(queue.targets)
        sns = SnsService(engine, clock, queues=sqs, accept_in=functions.accept_in, base_url=lambda: self.endpoint)
        topics = Topics(sns)
        eventbridge = EventBridgeService(
            engine, clock, sqs=sqs, targets={"lambda": FunctionTarget(functions), "sns": TopicTarget(topics)}
        )
        if self._others is not None:
            told = ObjectNotifications(engine, functions=functions, sqs=sqs, sns=sns, eventbridge=eventbridge)
            self._others.on_object_event(told.deliver, told.check)
        queue.targets.add("sns", topics)
        queue.targets.add("events", eventbridge.records)
        sns.start()
        stack.push_async_callback(sns.stop)
        eventbridge.start()
        stack.push_async_callback(eventbridge.stop)
        await queue.start()
        stack.push_async_callback(queue.stop)
        logs.subscriptions.deliver_to(functions.accept_in)
        logs.subscriptions.start()
        return _Neighbours(queue=queue, sqs=sqs, sns=sns, eventbridge=eventbridge)

    async def _start_sources(
        self, engine: SqliteEngine, plane: ControlPlane, invoker: Invoker, neighbours: _Neighbours
    ) -> Sources:
        """Pollers, and the mappings that they are run by."""
        services = SourceServices(neighbours.sqs, self._remote)
        sources = Sources(
            engine,
            FunctionCalls(invoker),
            self.clock,
            self.telemetry,
            queues=services.queues,
            streams=services.stream,
            failures=FailedBatchTargets(engine, neighbours.queue.targets, self._remote),
        )
        self._stack.push_async_callback(sources.stop)
        plane.mappings.attach(sources)
        await plane.mappings.start()
        self._stack.push_async_callback(plane.mappings.stop)
        return sources

    def _end_waiting_first(self, sqs: SqsService, sources: Sources) -> None:
        """When the server stops: pollers before the long polls, which they would begin again, and both before the
        front door, which waits for the answers."""
        self._stack.callback(sqs.release_waiters)
        self._stack.push_async_callback(sources.stop_reading)

    def _prestarted(self) -> PrestartedRuntimes | None:
        """Elsewhere than in T3 code cannot be attached to what already runs."""
        if not self.settings.zygote or self._spawner.tier != "T3":
            return None
        prestarted = PrestartedRuntimes(self._spawner, idle_timeout_s=self.settings.idle_timeout_s)
        self._stack.callback(prestarted.close)
        return prestarted

    def _lambda_service(self, plane: ControlPlane, links: SignedLinks) -> Service:
        def code_url(code_sha256: str) -> str:
            name = base64.b64decode(code_sha256).hex()
            return self.endpoint + links.sign(f"{CODE_PATH}{name}.zip", time.time() + CODE_LINK_S)

        handlers = operations.handlers(
            plane,
            runtime_version_arn=runtimes.runtime_version_arn,
            code_url=code_url,
            url_address=lambda url: f"http://{url.host(self._url_host)}/",
        )
        return Service(name="lambda", signing_names=("lambda",), handlers=handlers)

    def _identity_services(self, engine: SqliteEngine, temporary: TemporaryKeys) -> list[Service]:
        identities, now = Identities(engine), self.clock.now
        tokens = Tokens(identities, temporary, time.time, requires_roles=self.settings.auth == "strict")
        return [iam_service(Roles(identities, now), Policies(identities, now)), sts_service(tokens)]

    def _fallback(self, engine: SqliteEngine) -> Fallback:
        """What answers for the services and operations that are not lambdad's own."""
        if self._others is None:
            return Fallback(None)
        self._stack.callback(self._others.stop)
        identities, now = Identities(engine), self.clock.now
        return Fallback(IamCopies(self._others, Roles(identities, now), Policies(identities, now)))

    def _front_door(
        self,
        gate: Gate,
        services: list[Service],
        api: invoke.InvokeApi,
        function_urls: FunctionUrlDoor,
        fallback: Fallback,
    ) -> FrontDoor:
        routes = (
            (invoke.PREFIX, invoke.SUFFIX, api.invoke),
            (invoke.STREAM_PREFIX, invoke.STREAM_SUFFIX, api.invoke_with_response_stream),
            (invoke.ASYNC_PREFIX, invoke.ASYNC_SUFFIX, api.invoke_async),
        )
        return FrontDoor(
            services,
            gate,
            HostNames(self.settings.host, self.settings.hostnames),
            function_urls=function_urls,
            raw_routes=[
                RawRoute(service="lambda", method="POST", prefix=prefix, suffix=suffix + slash, handler=handler)
                for slash in ("", "/")
                for prefix, suffix, handler in routes
            ],
            fallback=fallback,
        )

    def _other_resets(self) -> list[ResetStep]:
        return [] if self._others is None else [self._others.reset]

    async def _listen(self, front: FrontDoor) -> None:
        self._stack.push_async_callback(front.finish, STOP_GRACE_S)
        server = HttpServer(front)
        await server.start(self.settings.host, self.settings.port)
        self._stack.push_async_callback(server.stop, STOP_GRACE_S)
        self._server = server

    async def _check_tier(self) -> None:
        """Raises IsolationTooWeak when this machine gives less than was asked for."""
        report = await self._spawner.report()
        tier, missing = str(report["tier"]), [str(reason) for reason in report["missing"]]
        self._isolation = f"{tier}: {TIERS[tier]}"
        if self.settings.cpu == "quota" and report["cpu"] != "quota":
            raise IsolationTooWeak(
                "--cpu quota needs control groups for CPU time, which this machine does not give: leave the option out."
            )
        required = self.settings.isolation.required_tier
        if int(tier[1:]) < required:
            raise IsolationTooWeak(
                "\n  ".join([f"--isolation asks for tier T{required}, but this machine gives {tier}.", *missing])
            )

    async def _run_loop(self, loop: Loop) -> None:
        loop.start()
        self._stack.push_async_callback(loop.stop)


def _rest_json_error(error: LambdadError, request_id: str) -> Response:
    return errors.render(error, errors.REST_JSON, request_id)


def _runtime_version(version: FunctionVersion) -> RuntimeVersion:
    runtime = version.runtime or ""
    return RuntimeVersion(runtimes.runtime_version(runtime), runtimes.runtime_version_arn(version.region, runtime))


def role_credentials(keys: TemporaryKeys, version: FunctionVersion) -> TemporaryCredentials:
    """Temporary keys of a session of the function's role, named after the function as on AWS."""
    account = version.account  # the role's too, on AWS; here a role of another account is accepted
    role = version.role.rpartition("/")[2]
    return keys.issue(
        account=account,
        arn=f"arn:aws:sts::{account}:assumed-role/{role}/{version.name}",
        user_id=f"{roles.role_id(version.role)}:{version.name}",
        expires_at=time.time() + ROLE_KEYS_S,
    )
