"""Own endpoints that need storage and services alike: the download of code, and the reset."""

from __future__ import annotations

import base64
import time

from lambdad.clock import SystemClock
from lambdad.control.changes import Changed
from lambdad.http.messages import Request, Response
from lambdad.http.protocol import Exchange
from lambdad.neighbours.logs.service import LogService
from lambdad.storage import clock_offset, reset
from lambdad.storage.engine import Transaction
from lambdad.storage.functions import FunctionKey
from lambdad.storage.packages import PackageStore
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.access.links import SignedLinks
from lambdad.wire.own import PREFIX

CODE_PATH = f"{PREFIX}code/"


class Reset:
    """Removes functions, layers, logs and roles; running invocations end as after a deletion."""

    def __init__(self, engine: SqliteEngine, changed: Changed, logs: LogService) -> None:
        self._engine = engine
        self._changed = changed
        self._logs = logs

    async def __call__(self) -> None:
        def job(tx: Transaction) -> list[FunctionKey]:
            reset.logs(tx)
            reset.identities(tx)
            reset.layers(tx)
            return reset.functions(tx)

        await self._logs.writer.settle()  # what is stored later would make its log group again
        for key in await self._engine.write(job):
            self._changed(key.account, key.region, key.name)
        self._logs.retention.wake()


class ClockReset:
    """Sets the service's time back to the machine's; after everything that it had dated is gone."""

    def __init__(self, engine: SqliteEngine, clock: SystemClock) -> None:
        self._engine = engine
        self._clock = clock

    async def __call__(self) -> None:
        if self._clock.advanced_s:
            await clock_offset.write(self._engine, 0.0)
            self._clock.set_back()


class CodeDownload:
    """`GET /_lambdad/code/<sha256>.zip`, for whoever has a signed link from GetFunction."""

    def __init__(self, packages: PackageStore, links: SignedLinks) -> None:
        self._packages = packages
        self._links = links

    async def answer(self, exchange: Exchange) -> Response:
        request: Request = exchange.request
        if not self._links.allows(request.path, request.query, time.time()):
            return _message(
                403, "This link is not valid, or no longer. Call GetFunction or GetLayerVersion for a new one."
            )
        name = request.path.removeprefix(CODE_PATH).removesuffix(".zip")
        try:
            archive = await self._packages.read(base64.b64encode(bytes.fromhex(name)).decode("ascii"))
        except (OSError, ValueError):
            return _message(404, "This code is no longer there: the function or layer version was updated or deleted.")
        return Response(200, [("content-type", "application/zip")], archive)


def _message(status: int, text: str) -> Response:
    return Response(status, [("content-type", "text/plain; charset=utf-8")], text.encode())
