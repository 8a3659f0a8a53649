"""EventBridge on the wire, JSON 1.1: from parameters to the service and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lambdad.domain.rules import Bus, BusSettings, Rule, RuleSettings, Target, parse_bus_arn
from lambdad.neighbours.eventbridge.events import Entry, EntryResult, pattern_matches
from lambdad.neighbours.eventbridge.service import EventBridgeService
from lambdad.wire.service import Answer, ApiCall, Handler, Service


def eventbridge_service(eventbridge: EventBridgeService) -> Service:
    """The service for the front door."""
    return Service(name="events", signing_names=("events",), handlers=handlers(eventbridge))


def handlers(eventbridge: EventBridgeService) -> dict[str, Handler]:
    """A handler for each operation that is offered."""
    buses, rules, events = _BusHandlers(eventbridge), _RuleHandlers(eventbridge), _EventHandlers(eventbridge)
    tags = _TagHandlers(eventbridge)
    return {
        "CreateEventBus": buses.create,
        "DescribeEventBus": buses.describe,
        "ListEventBuses": buses.listing,
        "UpdateEventBus": buses.update,
        "DeleteEventBus": buses.delete,
        "PutPermission": buses.put_permission,
        "RemovePermission": buses.remove_permission,
        "PutRule": rules.put,
        "DescribeRule": rules.describe,
        "ListRules": rules.listing,
        "EnableRule": rules.enable,
        "DisableRule": rules.disable,
        "DeleteRule": rules.delete,
        "PutTargets": rules.put_targets,
        "RemoveTargets": rules.remove_targets,
        "ListTargetsByRule": rules.list_targets,
        "ListRuleNamesByTarget": rules.names_by_target,
        "PutEvents": events.put,
        "TestEventPattern": events.test_pattern,
        "TagResource": tags.tag,
        "UntagResource": tags.untag,
        "ListTagsForResource": tags.listing,
    }


class _BusHandlers:
    def __init__(self, eventbridge: EventBridgeService) -> None:
        self._buses = eventbridge.buses

    async def create(self, call: ApiCall) -> Answer:
        settings = _bus_settings(BusSettings(), call.params)
        bus = await self._buses.create(call.caller, call.params["Name"], settings, _tags(call.params.get("Tags")))
        return Answer(members={"EventBusArn": bus.address.arn, **_render_bus_settings(bus.settings)})

    async def describe(self, call: ApiCall) -> Answer:
        bus = await self._buses.describe(call.caller, call.params.get("Name"))
        return Answer(members={**_render_bus(bus), **_render_bus_settings(bus.settings)})

    async def listing(self, call: ApiCall) -> Answer:
        params = call.params
        found, token = await self._buses.listing(
            call.caller, prefix=params.get("NamePrefix") or "", limit=params.get("Limit"), token=params.get("NextToken")
        )
        return Answer(members={"EventBuses": [_render_bus(bus) for bus in found], "NextToken": token})

    async def update(self, call: ApiCall) -> Answer:
        address, settings = await self._buses.update(
            call.caller, call.params.get("Name"), lambda before: _bus_settings(before, call.params)
        )
        return Answer(members={"Arn": address.arn, "Name": address.name, **_render_bus_settings(settings)})

    async def delete(self, call: ApiCall) -> Answer:
        await self._buses.delete(call.caller, call.params["Name"])
        return Answer()

    async def put_permission(self, call: ApiCall) -> Answer:
        params = call.params
        await self._buses.put_permission(
            call.caller,
            params.get("EventBusName"),
            statement_id=params.get("StatementId"),
            action=params.get("Action"),
            principal=params.get("Principal"),
            condition=params.get("Condition"),
            whole_policy=params.get("Policy"),
        )
        return Answer()

    async def remove_permission(self, call: ApiCall) -> Answer:
        await self._buses.remove_permission(
            call.caller,
            call.params.get("EventBusName"),
            call.params.get("StatementId"),
            all_of_them=bool(call.params.get("RemoveAllPermissions")),
        )
        return Answer()


class _RuleHandlers:
    def __init__(self, eventbridge: EventBridgeService) -> None:
        self._rules = eventbridge.rules

    async def put(self, call: ApiCall) -> Answer:
        params = call.params
        settings = RuleSettings(
            pattern=params.get("EventPattern") or None,
            schedule=params.get("ScheduleExpression") or None,
            state=params.get("State") or "ENABLED",
            description=params.get("Description"),
            role_arn=params.get("RoleArn"),
        )
        arn = await self._rules.put(
            call.caller, params.get("EventBusName"), params["Name"], settings, _tags(params.get("Tags"))
        )
        return Answer(members={"RuleArn": arn})

    async def describe(self, call: ApiCall) -> Answer:
        rule = await self._rules.describe(call.caller, call.params.get("EventBusName"), call.params["Name"])
        return Answer(members={**_render_rule(rule), "CreatedBy": rule.bus.account})

    async def listing(self, call: ApiCall) -> Answer:
        params = call.params
        found, token = await self._rules.listing(
            call.caller,
            params.get("EventBusName"),
            prefix=params.get("NamePrefix") or "",
            limit=params.get("Limit"),
            token=params.get("NextToken"),
        )
        return Answer(members={"Rules": [_render_rule(rule) for rule in found], "NextToken": token})

    async def enable(self, call: ApiCall) -> Answer:
        await self._rules.set_state(call.caller, call.params.get("EventBusName"), call.params["Name"], "ENABLED")
        return Answer()

    async def disable(self, call: ApiCall) -> Answer:
        await self._rules.set_state(call.caller, call.params.get("EventBusName"), call.params["Name"], "DISABLED")
        return Answer()

    async def delete(self, call: ApiCall) -> Answer:
        await self._rules.delete(call.caller, call.params.get("EventBusName"), call.params["Name"])
        return Answer()

    async def put_targets(self, call: ApiCall) -> Answer:
        targets = [Target(id=given["Id"], arn=given["Arn"], document=given) for given in call.params["Targets"]]
        failed = await self._rules.put_targets(
            call.caller, call.params.get("EventBusName"), call.params["Rule"], targets
        )
        entries = [
            {"TargetId": failure.id, "ErrorCode": failure.code, "ErrorMessage": failure.message} for failure in failed
        ]
        return Answer(members={"FailedEntryCount": len(entries), "FailedEntries": entries})

    async def remove_targets(self, call: ApiCall) -> Answer:
        await self._rules.remove_targets(
            call.caller, call.params.get("EventBusName"), call.params["Rule"], call.params["Ids"]
        )
        return Answer(members={"FailedEntryCount": 0, "FailedEntries": []})

    async def list_targets(self, call: ApiCall) -> Answer:
        params = call.params
        found, token = await self._rules.targets(
            call.caller,
            params.get("EventBusName"),
            params["Rule"],
            limit=params.get("Limit"),
            token=params.get("NextToken"),
        )
        return Answer(members={"Targets": [target.document for target in found], "NextToken": token})

    async def names_by_target(self, call: ApiCall) -> Answer:
        params = call.params
        found, token = await self._rules.names_by_target(
            call.caller,
            params.get("EventBusName"),
            params["TargetArn"],
            limit=params.get("Limit"),
            token=params.get("NextToken"),
        )
        return Answer(members={"RuleNames": found, "NextToken": token})


class _EventHandlers:
    def __init__(self, eventbridge: EventBridgeService) -> None:
        self._events = eventbridge.events

    async def put(self, call: ApiCall) -> Answer:
        results = await self._events.put(call.caller, [_entry(given) for given in call.params["Entries"]])
        failed = sum(1 for result in results if result.error_code is not None)
        return Answer(members={"FailedEntryCount": failed, "Entries": [_render_result(result) for result in results]})

    async def test_pattern(self, call: ApiCall) -> Answer:
        return Answer(members={"Result": pattern_matches(call.params["EventPattern"], call.params["Event"])})


class _TagHandlers:
    def __init__(self, eventbridge: EventBridgeService) -> None:
        self._eventbridge = eventbridge

    async def tag(self, call: ApiCall) -> Answer:
        await self._control(call).tag(call.caller, call.params["ResourceARN"], _tags(call.params["Tags"]))
        return Answer()

    async def untag(self, call: ApiCall) -> Answer:
        await self._control(call).untag(call.caller, call.params["ResourceARN"], call.params["TagKeys"])
        return Answer()

    async def listing(self, call: ApiCall) -> Answer:
        tags = await self._control(call).tags(call.caller, call.params["ResourceARN"])
        return Answer(members={"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]})

    def _control(self, call: ApiCall) -> Any:
        is_bus = parse_bus_arn(call.params["ResourceARN"]) is not None
        return self._eventbridge.buses if is_bus else self._eventbridge.rules


def _entry(given: Mapping[str, Any]) -> Entry:
    return Entry(
        source=given.get("Source"),
        detail_type=given.get("DetailType"),
        detail=given.get("Detail"),
        time=given.get("Time"),
        resources=tuple(given.get("Resources") or ()),
        bus=given.get("EventBusName"),
        trace=given.get("TraceHeader") or "",
    )


def _render_result(result: EntryResult) -> dict[str, Any]:
    if result.event_id is not None:
        return {"EventId": result.event_id}
    return {"ErrorCode": result.error_code, "ErrorMessage": result.error_message}


def _bus_settings(before: BusSettings, params: Mapping[str, Any]) -> BusSettings:
    changes: dict[str, Any] = {}
    for member, name in (("Description", "description"), ("KmsKeyIdentifier", "kms_key"), ("LogConfig", "log_config")):
        if params.get(member) is not None:
            changes[name] = params[member]
    if params.get("DeadLetterConfig") is not None:
        changes["dead_letter_arn"] = params["DeadLetterConfig"].get("Arn")
    return replace(before, **changes)


def _render_bus(bus: Bus) -> dict[str, Any]:
    members = {
        "Name": bus.address.name,
        "Arn": bus.address.arn,
        "Description": bus.settings.description,
        "Policy": bus.policy or None,
        "CreationTime": bus.created_ms / 1000,
        "LastModifiedTime": bus.modified_ms / 1000,
    }
    return _given(members)


def _render_bus_settings(settings: BusSettings) -> dict[str, Any]:
    members: dict[str, Any] = {
        "Description": settings.description,
        "KmsKeyIdentifier": settings.kms_key,
        "LogConfig": settings.log_config,
    }
    if settings.dead_letter_arn is not None:
        members["DeadLetterConfig"] = {"Arn": settings.dead_letter_arn}
    return _given(members)


def _render_rule(rule: Rule) -> dict[str, Any]:
    settings = rule.settings
    members = {
        "Name": rule.name,
        "Arn": rule.arn,
        "EventPattern": settings.pattern,
        "ScheduleExpression": settings.schedule,
        "State": settings.state,
        "Description": settings.description,
        "RoleArn": settings.role_arn,
        "EventBusName": rule.bus.name,
    }
    return _given(members)


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _tags(given: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in given or ()}
