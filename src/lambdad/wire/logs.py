"""CloudWatch Logs on the wire: from parameters to the service, and from its values to answers.

Operations that are not here are refused as not implemented, StartLiveTail among them.
"""

from __future__ import annotations

from typing import Any

from lambdad.domain.logs import LogGroup, LogStreamState, NewEvent
from lambdad.neighbours.logs.events import sequence_token
from lambdad.neighbours.logs.service import LogService
from lambdad.wire.log_subscriptions import SubscriptionFilters
from lambdad.wire.service import Answer, ApiCall, Handler, Service


def logs_service(logs: LogService) -> Service:
    """The service for the front door."""
    return Service(name="logs", signing_names=("logs",), handlers=handlers(logs))


def handlers(logs: LogService) -> dict[str, Handler]:
    """A handler for each operation that is offered."""
    groups, events, filters = _GroupHandlers(logs), _EventHandlers(logs), SubscriptionFilters(logs)
    return {
        "CreateLogGroup": groups.create,
        "DeleteLogGroup": groups.delete,
        "DescribeLogGroups": groups.describe,
        "PutRetentionPolicy": groups.put_retention,
        "DeleteRetentionPolicy": groups.delete_retention,
        "TagResource": groups.tag_resource,
        "UntagResource": groups.untag_resource,
        "ListTagsForResource": groups.list_tags_for_resource,
        "TagLogGroup": groups.tag_group,
        "UntagLogGroup": groups.untag_group,
        "ListTagsLogGroup": groups.list_group_tags,
        "CreateLogStream": groups.create_stream,
        "DeleteLogStream": groups.delete_stream,
        "DescribeLogStreams": groups.describe_streams,
        "PutLogEvents": events.put,
        "GetLogEvents": events.get,
        "FilterLogEvents": events.filter,
        "PutSubscriptionFilter": filters.put,
        "DescribeSubscriptionFilters": filters.describe,
        "DeleteSubscriptionFilter": filters.delete,
    }


class _GroupHandlers:
    def __init__(self, logs: LogService) -> None:
        self._groups = logs.groups

    async def create(self, call: ApiCall) -> Answer:
        params = call.params
        await self._groups.create(
            call.caller.account,
            call.caller.region,
            params["logGroupName"],
            tags=params.get("tags") or {},
            group_class=params.get("logGroupClass") or "STANDARD",
            kms_key=params.get("kmsKeyId"),
            deletion_protected=bool(params.get("deletionProtectionEnabled")),
        )
        return Answer()

    async def delete(self, call: ApiCall) -> Answer:
        await self._groups.delete(call.caller.account, call.caller.region, call.params["logGroupName"])
        return Answer()

    async def describe(self, call: ApiCall) -> Answer:
        params = call.params
        pattern = params.get("logGroupNamePattern")
        groups, token = await self._groups.listing(
            call.caller.account,
            call.caller.region,
            prefix=params.get("logGroupNamePrefix"),
            pattern=pattern,
            group_class=params.get("logGroupClass"),
            identifiers=params.get("logGroupIdentifiers"),
            token=params.get("nextToken"),
            limit=params.get("limit"),
        )
        return Answer(members=_page("logGroups", [render_group(group) for group in groups], token))

    async def put_retention(self, call: ApiCall) -> Answer:
        await self._groups.set_retention(
            call.caller.account, call.caller.region, call.params["logGroupName"], call.params["retentionInDays"]
        )
        return Answer()

    async def delete_retention(self, call: ApiCall) -> Answer:
        await self._groups.set_retention(call.caller.account, call.caller.region, call.params["logGroupName"], None)
        return Answer()

    async def tag_resource(self, call: ApiCall) -> Answer:
        group = await self._groups.find_arn(call.caller.account, call.caller.region, call.params["resourceArn"])
        await self._groups.add_tags(group, call.params["tags"])
        return Answer()

    async def untag_resource(self, call: ApiCall) -> Answer:
        group = await self._groups.find_arn(call.caller.account, call.caller.region, call.params["resourceArn"])
        await self._groups.remove_tags(group, call.params["tagKeys"])
        return Answer()

    async def list_tags_for_resource(self, call: ApiCall) -> Answer:
        group = await self._groups.find_arn(call.caller.account, call.caller.region, call.params["resourceArn"])
        return Answer(members={"tags": dict(group.tags)})

    async def tag_group(self, call: ApiCall) -> Answer:
        await self._groups.add_tags(await self._named(call), call.params["tags"])
        return Answer()

    async def untag_group(self, call: ApiCall) -> Answer:
        await self._groups.remove_tags(await self._named(call), call.params["tags"])
        return Answer()

    async def list_group_tags(self, call: ApiCall) -> Answer:
        return Answer(members={"tags": dict((await self._named(call)).tags)})

    async def create_stream(self, call: ApiCall) -> Answer:
        await self._groups.create_stream(
            call.caller.account, call.caller.region, call.params["logGroupName"], call.params["logStreamName"]
        )
        return Answer()

    async def delete_stream(self, call: ApiCall) -> Answer:
        await self._groups.delete_stream(
            call.caller.account, call.caller.region, call.params["logGroupName"], call.params["logStreamName"]
        )
        return Answer()

    async def describe_streams(self, call: ApiCall) -> Answer:
        params = call.params
        group = await self._named(call)
        streams, token = await self._groups.streams(
            group,
            prefix=params.get("logStreamNamePrefix"),
            order_by=params.get("orderBy"),
            descending=bool(params.get("descending")),
            token=params.get("nextToken"),
            limit=params.get("limit"),
        )
        return Answer(members=_page("logStreams", [render_stream(group, stream) for stream in streams], token))

    async def _named(self, call: ApiCall) -> LogGroup:
        return await self._groups.find(
            call.caller.account,
            call.caller.region,
            call.params.get("logGroupName"),
            call.params.get("logGroupIdentifier"),
        )


class _EventHandlers:
    def __init__(self, logs: LogService) -> None:
        self._groups = logs.groups
        self._events = logs.events

    async def put(self, call: ApiCall) -> Answer:
        params = call.params
        group = await self._groups.find(call.caller.account, call.caller.region, params["logGroupName"])
        batch = [NewEvent(event["timestamp"], event["message"]) for event in params["logEvents"]]
        result = await self._events.put(group, params["logStreamName"], batch)
        rejected = {
            "tooNewLogEventStartIndex": result.too_new_start,
            "tooOldLogEventEndIndex": result.too_old_end,
            "expiredLogEventEndIndex": result.expired_end,
        }
        refused = {name: index for name, index in rejected.items() if index is not None}
        members: dict[str, Any] = {"nextSequenceToken": result.sequence_token}
        if refused:
            members["rejectedLogEventsInfo"] = refused
        return Answer(members=members)

    async def get(self, call: ApiCall) -> Answer:
        params = call.params
        page = await self._events.get(
            await self._group(call),
            params["logStreamName"],
            start_ms=params.get("startTime"),
            end_ms=params.get("endTime"),
            token=params.get("nextToken"),
            limit=params.get("limit"),
            from_head=bool(params.get("startFromHead")),
        )
        return Answer(
            members={
                "events": [
                    {
                        "timestamp": event.position.timestamp_ms,
                        "message": event.message,
                        "ingestionTime": event.ingested_ms,
                    }
                    for event in page.events
                ],
                "nextForwardToken": page.forward_token,
                "nextBackwardToken": page.backward_token,
            }
        )

    async def filter(self, call: ApiCall) -> Answer:
        params = call.params
        from_head = params.get("startFromHead")
        page = await self._events.filter(
            await self._group(call),
            streams=params.get("logStreamNames"),
            stream_prefix=params.get("logStreamNamePrefix"),
            start_ms=params.get("startTime"),
            end_ms=params.get("endTime"),
            pattern=params.get("filterPattern"),
            token=params.get("nextToken"),
            limit=params.get("limit"),
            from_head=from_head is None or bool(from_head),
        )
        events = [
            {
                "logStreamName": event.stream,
                "timestamp": event.position.timestamp_ms,
                "message": event.message,
                "ingestionTime": event.ingested_ms,
                "eventId": event.position.digits(),
            }
            for event in page.events
        ]
        # Since 2019 the list of searched streams is empty (AWS: model of FilterLogEvents).
        return Answer(members={**_page("events", events, page.next_token), "searchedLogStreams": []})

    async def _group(self, call: ApiCall) -> LogGroup:
        return await self._groups.find(
            call.caller.account,
            call.caller.region,
            call.params.get("logGroupName"),
            call.params.get("logGroupIdentifier"),
        )


def render_group(group: LogGroup) -> dict[str, Any]:
    """A group as DescribeLogGroups lists it (AWS: recorded 2026-02). Stored bytes are not counted."""
    members: dict[str, Any] = {
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "metricFilterCount": 0,
        "arn": f"{group.arn}:*",
        "storedBytes": 0,
        "logGroupClass": group.group_class,
        "logGroupArn": group.arn,
        "deletionProtectionEnabled": group.deletion_protected,
    }
    if group.retention_days is not None:
        members["retentionInDays"] = group.retention_days
    if group.kms_key is not None:
        members["kmsKeyId"] = group.kms_key
    return members


def render_stream(group: LogGroup, stream: LogStreamState) -> dict[str, Any]:
    """A stream as DescribeLogStreams lists it."""
    members: dict[str, Any] = {
        "logStreamName": stream.name,
        "creationTime": stream.created_ms,
        "arn": f"{group.arn}:log-stream:{stream.name}",
        "storedBytes": 0,
    }
    if stream.last_ingestion_ms is not None:
        members |= {
            "firstEventTimestamp": stream.first_event_ms,
            "lastEventTimestamp": stream.last_event_ms,
            "lastIngestionTime": stream.last_ingestion_ms,
            "uploadSequenceToken": sequence_token(stream.last_ingestion_ms, stream.id),
        }
    return members


def _page(name: str, items: list[dict[str, Any]], token: str | None) -> dict[str, Any]:
    return {name: items} if token is None else {name: items, "nextToken": token}
