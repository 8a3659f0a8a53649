"""Events that share a commit do not share the troubles of the callers that wait for it."""

from __future__ import annotations

import asyncio

from tests.event_queue.building import CALLER, World


async def test_a_caller_that_cannot_be_answered_does_not_stop_the_others(world: World) -> None:
    runs = await world.function()
    target = await world.invoker.resolve(CALLER, "greet", "")
    answered: list[str] = []
    done = asyncio.Event()

    def gone(_: BaseException | None) -> None:
        raise RuntimeError("this exchange has its answer already")

    def last(error: BaseException | None) -> None:
        answered.append("last" if error is None else str(error))
        done.set()

    for name, stored in (("first", gone), ("last", last)):
        world.queue.intake.accept_at_once(target, b"{}", name, "", stored)
    await asyncio.wait_for(done.wait(), 5)
    assert answered == ["last"]
    await world.run_due()
    assert [invocation.request_id for invocation in runs.invocations] == ["first", "last"]
    await world.accept(request_id="later")
    assert world.queue.intake.statistics() == {"accepted": 3}
