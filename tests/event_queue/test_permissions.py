"""Policies and events: asked when an event is accepted, not when it runs."""

from __future__ import annotations

import json

import pytest

from lambdad.domain.errors import AccessDenied
from lambdad.domain.policies import ServiceCaller
from lambdad.event_queue import permissions
from lambdad.storage import policies
from lambdad.storage.functions import FunctionKey
from lambdad.storage.policies import StoredPolicy
from tests.event_queue.building import ACCOUNT, REGION, World, raises

FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:greet"
BUCKET = ServiceCaller(service="s3.amazonaws.com", source_arn="arn:aws:s3:::photos", source_account=ACCOUNT)


async def give_policy(world: World, effect: str, qualifier: str = "", **members: object) -> None:
    resource = f"{FUNCTION}:{qualifier}" if qualifier else FUNCTION
    statement = {"Effect": effect, "Principal": "*", "Action": "lambda:*", "Resource": resource, **members}
    stored = StoredPolicy(json.dumps({"Statement": [statement]}), "r")
    key = FunctionKey(ACCOUNT, REGION, "greet")
    await world.engine.write(lambda tx: policies.put(tx, key, qualifier, stored))
    world.catalog.changed(ACCOUNT, REGION, "greet")


async def check(world: World, arn: str = FUNCTION, caller: ServiceCaller = BUCKET) -> None:
    await world.engine.write(lambda tx: permissions.check_in(tx, arn, caller))


async def test_what_was_accepted_runs_although_a_policy_now_shuts_everybody_out(world: World) -> None:
    runs = await world.function(raises())
    await world.accept()
    await give_policy(world, "Deny")
    assert await world.run_due() == 1
    assert await world.advance(60) == 1
    assert len(runs.invocations) == 2
    with pytest.raises(AccessDenied, match="explicit deny"):
        await world.accept()


async def test_the_refusal_of_a_service_says_what_to_do(world: World) -> None:
    await world.function()
    with pytest.raises(AccessDenied) as refused:
        await check(world, f"{FUNCTION}:live")
    assert refused.value.message == (
        f"User: s3.amazonaws.com is not authorized to perform: lambda:InvokeFunction on resource: {FUNCTION}:live "
        "because no resource-based policy allows the lambda:InvokeFunction action. This adds it: aws lambda "
        f"add-permission --function-name {FUNCTION} --statement-id s3-photos --action lambda:InvokeFunction "
        f"--principal s3.amazonaws.com --source-arn arn:aws:s3:::photos --source-account {ACCOUNT} --qualifier live"
    )


async def test_a_service_is_let_in_for_its_source_alone(world: World) -> None:
    await world.function()
    await give_policy(world, "Allow", Condition={"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::photos"}})
    await check(world)
    other = ServiceCaller(service="s3.amazonaws.com", source_arn="arn:aws:s3:::other", source_account=ACCOUNT)
    with pytest.raises(AccessDenied):
        await check(world, caller=other)
    with pytest.raises(AccessDenied, match=f"No permission is for .LATEST: make {FUNCTION} the target"):
        await check(world, f"{FUNCTION}:$LATEST")


async def test_a_service_can_be_shut_out(world: World) -> None:
    await world.function()
    await give_policy(world, "Deny", Principal={"Service": "s3.amazonaws.com"})
    with pytest.raises(AccessDenied, match="explicit deny"):
        await check(world)
