"""Event source mappings of queues, replayed against what AWS answered."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.deploying import Deployer
from tests.aws.queues import REPORTS, Queue, a_mapping, settled
from tests.recordings import Recording, paths
from tests.running import RunningServer

ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambda-role"
TELLS = REPORTS + "def handler(event, context):\n    report(event)\n"
TELLS_ITS_VERSION = REPORTS + (
    "def handler(event, context):\n"
    "    report({'function_version': context.function_version, 'CUSTOM_VAR': os.environ.get('CUSTOM_VAR'), 'event': event})\n"
)
FAILS_AT_FIRST = (
    REPORTS
    + """
def handler(event, context):
    body = json.loads(event["Records"][0]["body"])
    attempt = int(event["Records"][0]["attributes"]["ApproximateReceiveCount"])
    if attempt <= body["fail_attempts"]:
        report({"error": "failed attempt", "event": event})
        raise Exception("failed attempt")
    report({"error": None, "event": event})
"""
)
ANSWERS_AN_EMPTY_OBJECT = (
    REPORTS
    + """
def handler(event, context):
    report({"event": event, "result": {}})
    return {}
"""
)


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Any:
    return server.client("lambda", account=ACCOUNT)


@pytest.fixture
def deploy(client: Any) -> Iterator[Deployer]:
    deployer = Deployer(client)
    yield deployer
    deployer.remove_all()


@pytest.fixture
def source(server: RunningServer, client: Any) -> Iterator[Queue]:
    queue = Queue(server, account=ACCOUNT)
    yield queue
    for mapping in client.list_event_source_mappings(EventSourceArn=queue.arn)["EventSourceMappings"]:
        client.delete_event_source_mapping(UUID=settled(client, mapping["UUID"])["UUID"])


@pytest.fixture
def reports(server: RunningServer) -> Queue:
    return Queue(server, account=ACCOUNT)


def a_reporter(deploy: Deployer, code: str, reports: Queue, **settings: Any) -> str:
    variables = {"REPORTS": reports.url, **settings.pop("variables", {})}
    return deploy(code, Role=ROLE, Timeout=20, Environment={"Variables": variables}, **settings)


def recorded(test: str) -> Recording:
    return Recording.find(test, region="us-east-1")


def as_recorded(event: Any, **members: str) -> Any:
    """An event with the texts that recordings have in place of what changes."""
    for record in event["Records"]:
        record["attributes"] |= {"SentTimestamp": "sent-timestamp", **members}
        with contextlib.suppress(ValueError):
            record["body"] = json.loads(record["body"])
    return event


FILTERED = {name: path for name, path in paths().items() if "::test_sqs_event_filter[" in name}
MATCHING = {
    "and": {"my-key-one": "my-value-one", "my-key-two": "my-value-two"},
    "exists": {"my-key": "any-value-one"},
    "numeric-bigger": {"my-number": 101},
    "numeric-range": {"my-number": 100},
    "numeric-smaller": {"my-number": 99},
    "or": {"my-key": "my-value-two"},
    "prefix": {"my-key": "yes-value"},
    "single": {"my-key": "my-value"},
    "valid-json-filter": {"my-key": "my-value"},
}
OTHERS = {"exists": {"other": 1}, "numeric-bigger": {"my-number": 100}, "numeric-range": {"my-number": 200},
          "numeric-smaller": {"my-number": 100}}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FILTERED))
def test_sqs_event_filter(name: str, deploy: Deployer, client: Any, source: Queue, reports: Queue) -> None:
    recording = Recording(FILTERED[name], region="us-east-1")
    case = name.partition("[")[2].rstrip("]")
    pattern = recording.steps["create_event_source_mapping_response"]["FilterCriteria"]["Filters"][0]["Pattern"]
    function = a_reporter(deploy, TELLS, reports)
    made = a_mapping(
        client, source, function, MaximumBatchingWindowInSeconds=1,
        FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)}]},
    )  # fmt: skip
    made["FilterCriteria"]["Filters"][0]["Pattern"] = json.loads(made["FilterCriteria"]["Filters"][0]["Pattern"])
    recording.check("create_event_source_mapping_response", made)
    source.send(OTHERS.get(case, {"my-key": "no"}), MATCHING[case])
    (event,) = reports.take()
    recording.check("invocation_events", [as_recorded(event, SenderId="sender-id")])
    source.wait_for_counts(0, 0)  # what did not match is deleted too


def test_sqs_event_source_mapping(deploy: Deployer, client: Any, source: Queue, reports: Queue) -> None:
    recording = recorded("TestSQSEventSourceMapping::test_sqs_event_source_mapping")
    made = a_mapping(client, source, a_reporter(deploy, TELLS, reports), MaximumBatchingWindowInSeconds=1)
    recording.check("create-event-source-mapping-response", made)
    source.send({"foo": "bar"})
    (event,) = reports.take()
    recording.check("events", [as_recorded(event, SenderId="sender-id")])


def test_sqs_event_source_mapping_update(deploy: Deployer, client: Any, source: Queue, reports: Queue) -> None:
    recording = recorded("TestSQSEventSourceMapping::test_sqs_event_source_mapping_update")
    names = []
    for letter, version in (("a", "1"), ("b", "2")):
        # The second recorded function is another version of the first, by its name in full.
        name = a_reporter(deploy, TELLS_ITS_VERSION, reports, variables={"CUSTOM_VAR": letter})
        for _ in range(int(version)):
            client.update_function_configuration(FunctionName=name, Description=f"v{_}")
            deploy.wait_updated(name)
            client.publish_version(FunctionName=name)
        names.append(f"{name}:{version}")
    made = a_mapping(client, source, names[0], MaximumBatchingWindowInSeconds=1)
    recording.check("create-event-source-mapping-response", made)
    source.send({"foo": "bar"})
    first = reports.take()[0]
    as_recorded(first["event"], SenderId="sender-id")
    recording.check("events", [first])
    recording.check("updated_esm", client.update_event_source_mapping(UUID=made["UUID"], FunctionName=names[1]))
    recording.check("updated_event_source_mapping", settled(client, made["UUID"]))
    source.send({"foo": "bar2"})
    second = reports.take()[0]
    as_recorded(second["event"], SenderId="sender-id")
    recording.check("events_postupdate", [first, second])


@pytest.mark.parametrize("size", [15, 100, 1000])
def test_sqs_event_source_mapping_batch_size(
    size: int, deploy: Deployer, client: Any, source: Queue, reports: Queue
) -> None:
    recording = recorded(f"TestSQSEventSourceMapping::test_sqs_event_source_mapping_batch_size[{size}]")
    window_s = 1 if size > 15 else 10
    made = a_mapping(
        client, source, a_reporter(deploy, TELLS, reports), BatchSize=size, MaximumBatchingWindowInSeconds=window_s
    )
    made["MaximumBatchingWindowInSeconds"] = "maximum-batching-window-in-seconds"
    recording.check("create-event-source-mapping-response", made)
    for step, count, batch in (("send-message-batch-result-10", 10, 0), ("send-message-batch-result-5", 5, 1)):
        entries = [{"Id": f"{n}-{batch}", "MessageBody": f"{n}-{batch}-message-{n}"} for n in range(count)]
        sent = source.client.send_message_batch(QueueUrl=source.url, Entries=entries)
        recording.check(step, sent)
    (event,) = reports.take()  # all in one batch
    as_recorded(event)
    recording.check("Records", sorted(event["Records"], key=lambda record: record["body"]))


def test_sqs_event_source_mapping_batching_reserved_concurrency(
    deploy: Deployer, client: Any, source: Queue, reports: Queue
) -> None:
    recording = recorded("TestSQSEventSourceMapping::test_sqs_event_source_mapping_batching_reserved_concurrency")
    function = a_reporter(deploy, TELLS, reports)
    reserved = client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=2)
    recording.check("put_concurrency_resp", reserved)
    made = a_mapping(
        client, source, function,
        BatchSize=20, MaximumBatchingWindowInSeconds=1, ScalingConfig={"MaximumConcurrency": 2},
    )  # fmt: skip
    recording.check("create-event-source-mapping-response", made)
    for n in range(10):
        source.client.send_message_batch(
            QueueUrl=source.url,
            Entries=[{"Id": f"{n}-{batch}", "MessageBody": f"{n}-{batch}-message"} for batch in range(3)],
        )
    batches = [as_recorded(event) for event in reports.take(2)]
    recording.check("batch_info", {"total_batches_received": len(batches)})
    records = [record for batch in batches for record in batch["Records"]]
    recording.check("Records", sorted(records, key=lambda record: record["body"]))


def test_esm_with_not_existing_sqs_queue(deploy: Deployer, client: Any) -> None:
    function = deploy("def handler(event, context): pass\n")
    with pytest.raises(ClientError) as refused:
        client.create_event_source_mapping(
            EventSourceArn=f"arn:aws:sqs:us-east-1:{ACCOUNT}:no-such-queue", FunctionName=function
        )
    recorded("test_esm_with_not_existing_sqs_queue").check("error", refused.value)


def test_failing_lambda_retries_after_visibility_timeout(
    server: RunningServer, deploy: Deployer, client: Any, reports: Queue
) -> None:
    recording = recorded("test_failing_lambda_retries_after_visibility_timeout")
    source = Queue(server, account=ACCOUNT, VisibilityTimeout=20)
    mapping = a_mapping(client, source, a_reporter(deploy, FAILS_AT_FIRST, reports), BatchSize=1)
    recording.check("event_source_mapping", client.get_event_source_mapping(UUID=mapping["UUID"]))
    recording.check("get_destination_queue_url", reports.client.get_queue_url(QueueName=reports.name))
    source.send(json.dumps({"destination": reports.url, "fail_attempts": 1}))
    recording.check("first_attempt", received(reports))
    source.wait_for_counts(0, 1)
    server.advance(20)
    recording.check("second_attempt", received(reports))
    source.wait_for_counts(0, 0)


def test_fifo_message_group_parallelism(server: RunningServer, deploy: Deployer, client: Any, reports: Queue) -> None:
    recording = recorded("test_fifo_message_group_parallelism")
    source = Queue(server, account=ACCOUNT, fifo=True, ContentBasedDeduplication="true", VisibilityTimeout=60)
    waits = REPORTS + (
        "import time\n"
        "def handler(event, context):\n"
        "    begun = time.time()\n"
        "    time.sleep(1)\n"
        "    report([event['Records'][0]['attributes']['MessageGroupId'], begun, time.time()])\n"
    )
    function = a_reporter(deploy, waits, reports)
    made = a_mapping(client, source, function, BatchSize=1, Enabled=False)
    recording.check("create_esm_disabled", made)
    for group in ("a", "b"):
        source.send(*(f"{group}{n}" for n in range(2)), MessageGroupId=group)
    recording.check("update_esm_enabling", client.update_event_source_mapping(UUID=made["UUID"], Enabled=True))
    recording.check("get_esm_enabled", settled(client, made["UUID"]))
    runs = sorted(reports.take(4))
    assert [run[0] for run in runs] == ["a", "a", "b", "b"]
    for first, second in (runs[:2], runs[2:]):
        assert second[1] >= first[2]  # one batch of a group at a time
    assert runs[2][1] < runs[0][2]  # groups side by side


def test_report_batch_item_failures_empty_json_batch_succeeds(
    server: RunningServer, deploy: Deployer, client: Any, reports: Queue
) -> None:
    recording = recorded("test_report_batch_item_failures_empty_json_batch_succeeds")
    recording.check("get_destination_queue_url", reports.client.get_queue_url(QueueName=reports.name))
    source = Queue(server, account=ACCOUNT, VisibilityTimeout=20)
    function = a_reporter(deploy, ANSWERS_AN_EMPTY_OBJECT, reports)
    a_mapping(client, source, function, FunctionResponseTypes=["ReportBatchItemFailures"])
    source.send(json.dumps({"message": 1, "fail_attempts": 0}))
    recording.check("first_invocation", received(reports))
    source.wait_for_counts(0, 0)


def test_sqs_queue_as_lambda_dead_letter_queue(deploy: Deployer, client: Any, reports: Queue) -> None:
    """No mapping takes part in this one."""
    recording = recorded("test_sqs_queue_as_lambda_dead_letter_queue")
    name = deploy(
        "def handler(event, context):\n    raise Exception('Test exception (this is intentional)')\n",
        DeadLetterConfig={"TargetArn": reports.arn},
    )
    config = client.get_function_configuration(FunctionName=name)["DeadLetterConfig"]
    recording.check("lambda-response-dlq-config", config)
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    deploy.invoke(name, {"raise_error": 1}, InvocationType="Event")
    got = reports.client.receive_message(QueueUrl=reports.url, WaitTimeSeconds=20, MessageAttributeNames=["All"])
    got["Messages"][0]["Body"] = json.loads(got["Messages"][0]["Body"])
    recording.check("messages", got)


def received(queue: Queue) -> Any:
    """The answer of the one receive that brings a report, in the form of recordings."""
    got = queue.client.receive_message(QueueUrl=queue.url, WaitTimeSeconds=20)
    message = got["Messages"][0]
    queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
    message["Body"] = json.loads(message["Body"])
    for record in message["Body"]["event"]["Records"]:
        record["attributes"] |= {"SentTimestamp": "sent-timestamp", "SenderId": "sender-id"}
    return got
