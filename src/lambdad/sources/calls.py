"""Calls of a mapping's function, through the same invoker as every call: synchronous, without client context, and
without the settings of asynchronous calls (AWS Lambda developer guide)."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from lambdad.domain.identity import Caller
from lambdad.domain.invocations import Outcome
from lambdad.domain.mappings import EventSourceMapping
from lambdad.invocation.catalog import Target
from lambdad.invocation.invoker import Invoker


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A call that ran."""

    request_id: str
    executed_version: str
    outcome: Outcome


class FunctionCalls:
    """Calls functions for pollers."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    async def ready(self, mapping: EventSourceMapping) -> Target:
        """Raises ResourceNotFound for a function, version or alias that is gone, ResourceConflict for one that is not
        Active."""
        caller = _caller(mapping)
        name = mapping.function_arn
        target = self._invoker.cached_target(caller.account, caller.region, name, "")
        if target is None:
            target = await self._invoker.resolve(caller, name, "")
            self._invoker.check_state(target)
        return target

    async def role(self, mapping: EventSourceMapping) -> str:
        """The execution role, which records of streams name."""
        return (await self.ready(mapping)).version.role

    async def call(self, mapping: EventSourceMapping, event: bytes, trace: str = "", request_id: str = "") -> Called:
        """One attempt. Raises what `ready` raises, TooManyRequests for a throttle, and RecursiveInvocation."""
        target = await self.ready(mapping)
        if trace:
            self._invoker.check_recursion(target, trace)
        pool = self._invoker.version_of(target)
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not ended.done():
                ended.set_result(outcome)

        request_id = request_id or str(uuid.uuid4())
        self._invoker.start(target, pool, request_id=request_id, event=event, done=done, trace=trace)
        outcome = await ended
        return Called(request_id=request_id, executed_version=pool.version.version, outcome=outcome)


def _caller(mapping: EventSourceMapping) -> Caller:
    return Caller(
        account=mapping.account,
        region=mapping.region,
        access_key_id="",
        arn=f"arn:aws:iam::{mapping.account}:root",
        user_id=mapping.account,
    )
