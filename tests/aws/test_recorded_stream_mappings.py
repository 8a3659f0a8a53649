"""Event source mappings of Kinesis and DynamoDB streams, replayed against what AWS answered."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.extras.moto_services import is_installed
from tests.aws.deploying import Deployer
from tests.aws.queues import REPORTS, Queue, settled
from tests.recordings import Recording, paths
from tests.running import RunningServer

pytestmark = [pytest.mark.server, pytest.mark.skipif(not is_installed(), reason="needs the extra aws")]

ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambda-role"
TELLS = REPORTS + "def handler(event, context):\n    report(event)\n"
ANSWERS = REPORTS + "def handler(event, context):\n    report(event)\n    return json.loads(os.environ['ANSWER'])\n"
RAISES = REPORTS + "def handler(event, context):\n    report(event)\n    raise ValueError('no')\n"
FAILS = "def handler(event, context):\n    raise ValueError('no')\n"
TELLS_ITS_START = REPORTS + (
    "import time\n"
    "def handler(event, context):\n"
    "    start = time.time()\n"
    "    time.sleep(0.3)\n"
    "    report({'executionStart': start, 'event': event})\n"
)

ANSWERS_THAT_FAIL = {
    "empty_string_item_identifier_failure": {"batchItemFailures": [{"itemIdentifier": ""}]},
    "null_item_identifier_failure": {"batchItemFailures": [{"itemIdentifier": None}]},
    "invalid_key_foo_failure": {"batchItemFailures": [{"foo": "bar"}]},
    "invalid_key_foo_null_value_failure": {"batchItemFailures": [{"foo": None}]},
    "item_identifier_not_present_failure": {"batchItemFailures": [{"itemIdentifier": "nothing"}]},
}
ANSWERS_THAT_DO_NOT = {
    "empty_string_success": "",
    "empty_list_success": [],
    "null_success": None,
    "empty_dict_success": {},
    "empty_batch_item_failure_success": {"batchItemFailures": []},
    "null_batch_item_failure_success": {"batchItemFailures": None},
}


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Any:
    return server.client("lambda", account=ACCOUNT)


@pytest.fixture
def deploy(client: Any) -> Iterator[Deployer]:
    deployer = Deployer(client)
    yield deployer
    deployer.remove_all()


@pytest.fixture
def reports(server: RunningServer) -> Queue:
    return Queue(server, account=ACCOUNT)


@pytest.fixture
def failures(server: RunningServer) -> Queue:
    return Queue(server, account=ACCOUNT)


@pytest.fixture
def mapped(client: Any) -> Iterator[Any]:
    """Makes mappings, and removes them after the test."""
    made: list[str] = []

    def make(source_arn: str, function: str, **settings: Any) -> dict[str, Any]:
        settings.setdefault("StartingPosition", "TRIM_HORIZON")
        mapping = client.create_event_source_mapping(EventSourceArn=source_arn, FunctionName=function, **settings)
        made.append(mapping["UUID"])
        settled(client, mapping["UUID"])
        for one in mapping.get("FilterCriteria", {}).get("Filters", []):
            one["Pattern"] = json.loads(one["Pattern"])
        return mapping  # type: ignore[no-any-return]

    yield make
    for one in made:
        with contextlib.suppress(client.exceptions.ResourceNotFoundException):
            settled(client, one)
            client.delete_event_source_mapping(UUID=one)


class DataStream:
    """A Kinesis stream of a test's own."""

    def __init__(self, server: RunningServer, shards: int = 1) -> None:
        self.client = server.client("kinesis", account=ACCOUNT)
        self.name = f"s-{uuid.uuid4().hex[:12]}"
        self.client.create_stream(StreamName=self.name, ShardCount=shards)
        self.arn = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{self.name}"

    def put(self, *data: object, key: str = "test") -> None:
        records = [{"Data": one if isinstance(one, str) else json.dumps(one), "PartitionKey": key} for one in data]
        self.client.put_records(StreamName=self.name, Records=records)


class Table:
    """A DynamoDB table of a test's own, with a stream."""

    def __init__(self, server: RunningServer, key: str, view: str = "NEW_IMAGE") -> None:
        self.client = server.client("dynamodb", account=ACCOUNT)
        self.name = f"t-{uuid.uuid4().hex[:12]}"
        made = self.client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )
        self.stream_arn = made["TableDescription"]["LatestStreamArn"]

    def put(self, **item: Any) -> None:
        self.client.put_item(TableName=self.name, Item=item)


def a_reporter(deploy: Deployer, code: str, reports: Queue, **variables: str) -> str:
    variables = {"REPORTS": reports.url, **variables}
    return deploy(code, Role=ROLE, Timeout=20, Environment={"Variables": variables})


def recorded(test: str) -> Recording:
    return Recording.find(test, region="us-east-1")


def case_of(test: str) -> str:
    return test.partition("[")[2].removesuffix("]")


def of(test: str) -> list[str]:
    return sorted(name for name in paths() if f"::{test}" in name)


# --- Kinesis ---


@pytest.mark.parametrize("name", of("test_kinesis_report_batch_item_failure_scenarios["))
def test_kinesis_report_batch_item_failure_scenarios(
    name: str, server: RunningServer, deploy: Deployer, mapped: Any, reports: Queue, failures: Queue
) -> None:
    recording, case = recorded(name), case_of(name)
    answer = json.dumps(ANSWERS_THAT_FAIL.get(case))
    stream = DataStream(server)
    function = a_reporter(deploy, ANSWERS if case in ANSWERS_THAT_FAIL else RAISES, reports, ANSWER=answer)
    made = mapped(
        stream.arn, function, BatchSize=1, MaximumBatchingWindowInSeconds=1, MaximumRetryAttempts=2,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": failures.arn}},
    )  # fmt: skip
    recording.check("create_event_source_mapping_response", made)
    stream.put("hello")
    recording.check("sqs_payload", received(failures))
    recording.check("kinesis_events", reports.take(3))


@pytest.mark.parametrize("name", of("test_kinesis_report_batch_item_success_scenarios["))
def test_kinesis_report_batch_item_success_scenarios(
    name: str, server: RunningServer, deploy: Deployer, mapped: Any, reports: Queue
) -> None:
    recording = recorded(name)
    stream = DataStream(server)
    function = a_reporter(deploy, ANSWERS, reports, ANSWER=json.dumps(ANSWERS_THAT_DO_NOT[case_of(name)]))
    made = mapped(
        stream.arn, function, BatchSize=1, MaximumBatchingWindowInSeconds=1, MaximumRetryAttempts=2,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )  # fmt: skip
    recording.check("create_event_source_mapping_response", made)
    stream.put("hello")
    recording.check("kinesis_events", reports.take(1))
    stream.put("next")  # what was dealt with does not come again
    assert reports.take(1)[0]["Records"][0]["kinesis"]["data"] == "bmV4dA=="


def test_kinesis_event_filtering_json_pattern(
    server: RunningServer, deploy: Deployer, mapped: Any, reports: Queue
) -> None:
    recording = recorded("TestKinesisEventFiltering::test_kinesis_event_filtering_json_pattern")
    stream, others = DataStream(server), Queue(server, account=ACCOUNT)
    for number, queue, step in (
        (1, reports, "create_event_source_mapping_response"),
        (2, others, "create_event_source_mapping_2_response"),
    ):
        made = mapped(
            stream.arn, a_reporter(deploy, TELLS, queue),
            BatchSize=1, MaximumBatchingWindowInSeconds=1, MaximumRetryAttempts=1,
            FilterCriteria={"Filters": [{"Pattern": json.dumps({"data": {"event_type": [f"function_{number}"]}})}]},
        )  # fmt: skip
        recording.check(step, made)
    stream.put({"event_type": "function_1", "message": "foo"}, {"event_type": "function_3", "message": "bar"})
    (event,) = reports.take()
    data = [json.loads(base64.b64decode(record["kinesis"]["data"])) for record in event["Records"]]
    recording.check("kinesis-record-lambda-payload", json.dumps(data))
    assert others.counts() == (0, 0)


def test_disable_kinesis_event_source_mapping(
    server: RunningServer, client: Any, deploy: Deployer, mapped: Any, reports: Queue
) -> None:
    recording = recorded("TestKinesisSource::test_disable_kinesis_event_source_mapping")
    stream = DataStream(server)
    made = mapped(stream.arn, a_reporter(deploy, TELLS, reports), BatchSize=10, StartingPosition="LATEST")
    recording.check("create_event_source_mapping_response", made)
    stream.put(*({"record_id": n} for n in range(10)))
    recording.check("invocation_events", reports.take(1))
    client.update_event_source_mapping(UUID=made["UUID"], Enabled=False)
    assert settled(client, made["UUID"])["State"] == "Disabled"
    stream.put(*({"record_id": n} for n in range(10, 20)))
    assert reports.counts() == (0, 0)
    client.update_event_source_mapping(UUID=made["UUID"], Enabled=True)
    assert len(reports.take(1)[0]["Records"]) == 10  # where it was
    assert client.get_event_source_mapping(UUID=made["UUID"])["LastProcessingResult"] == "OK"


def test_kinesis_event_source_mapping_with_async_invocation(
    server: RunningServer, deploy: Deployer, mapped: Any, reports: Queue
) -> None:
    recording = recorded("TestKinesisSource::test_kinesis_event_source_mapping_with_async_invocation")
    stream = DataStream(server)
    made = mapped(stream.arn, a_reporter(deploy, TELLS_ITS_START, reports), BatchSize=10, StartingPosition="LATEST")
    recording.check("create_event_source_mapping_response", made)
    for number in range(2):
        stream.put(*({"record_id": n} for n in range(10)), key=f"test_{number}")
    events = reports.take(2)
    assert events[1]["executionStart"] >= events[0]["executionStart"] + 0.3  # one after the other
    recording.check("invocation_events", events)


def test_kinesis_event_source_mapping_with_s3_on_failure_destination(
    server: RunningServer, deploy: Deployer, mapped: Any
) -> None:
    recording = recorded("TestKinesisSource::test_kinesis_event_source_mapping_with_s3_on_failure_destination")
    stream, bucket = DataStream(server), Bucket(server)
    made = mapped(
        stream.arn, deploy(FAILS, Role=ROLE, Timeout=20), BatchSize=1, MaximumBatchingWindowInSeconds=1,
        MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": bucket.arn}},
    )  # fmt: skip
    recording.check("create_event_source_mapping_response", made)
    stream.put({"input": "hello", "value": "world", "raise_error": 1}, key="custom")
    key, record = bucket.first()
    assert key.startswith(f"aws/lambda/{made['UUID']}/shardId-000000000000/")
    recording.check("record_body", record)


def test_esm_with_not_existing_kinesis_stream(deploy: Deployer, client: Any) -> None:
    recording = recorded("TestKinesisSource::test_esm_with_not_existing_kinesis_stream")
    with pytest.raises(ClientError) as refused:
        client.create_event_source_mapping(
            EventSourceArn=f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/test-foobar-81ded7e8",
            FunctionName=deploy(FAILS), StartingPosition="LATEST",
        )  # fmt: skip
    recording.check("error", refused.value)


def test_sources_that_are_almost_there(deploy: Deployer, client: Any, server: RunningServer) -> None:
    """A consumer that nobody registered, and a stream that the table does not have any more."""
    table = Table(server, "id").stream_arn.rpartition("/")[0]
    name = deploy(FAILS)
    for arn in (f"{DataStream(server).arn}/consumer/missing:1700000000", f"{table}/2020-01-01T00:00:00.000"):
        with pytest.raises(ClientError, match=f"Stream not found: {arn}"):
            client.create_event_source_mapping(EventSourceArn=arn, FunctionName=name, StartingPosition="LATEST")


# --- DynamoDB ---

ITEMS: dict[str, list[dict[str, Any]]] = {
    "content_filter_type": [
        {"id": {"S": "id_value_1"}, "presentKey": {"S": "presentValue"}},
        {"id": {"S": "id_value_2"}, "presentKey": {"S": "other"}},
    ],
    "content_or_filter": [
        {"id": {"S": "id_value"}},
        {"id": {"S": "id_value"}, "id2": {"S": "id2_new_value"}},
    ],
    "date_time_conversion": [{"id": {"S": "id_value_1"}}, {"id": {"S": "id_value_2"}}],
    "exists_false_filter": [
        {"id": {"S": "id_value_1"}},
        {"id": {"S": "id_value_2"}, "presentKey": {"S": "presentValue"}},
    ],
    "exists_filter_type": [
        {"id": {"S": "id_value_1"}, "presentKey": {"S": "presentValue"}},
        {"id": {"S": "id_value_2"}},
    ],
    "insert_same_entry_twice": [
        {"id": {"S": "id_value"}, "id2": {"S": "id2_value"}},
        {"id": {"S": "id_value"}, "id2": {"S": "id2_new_value"}},
    ],
    "numeric_filter": [
        {"id": {"S": "id_value_1"}, "numericFilter": {"N": "42"}},
        {"id": {"S": "id_value_2"}, "numericFilter": {"N": "101"}},
    ],
    "prefix_filter": [
        {"id": {"S": "id_value_1"}, "prefix": {"S": "us-1-other-suffix"}},
        {"id": {"S": "id_value_2"}, "prefix": {"S": "other-suffix"}},
    ],
}


@pytest.mark.parametrize("name", of("test_dynamodb_event_filter["))
def test_dynamodb_event_filter(name: str, server: RunningServer, deploy: Deployer, mapped: Any, reports: Queue) -> None:
    recording, case = recorded(name), case_of(name)
    table = Table(server, "id", "NEW_AND_OLD_IMAGES")
    pattern = recording.steps["create_event_source_mapping_response"]["FilterCriteria"]["Filters"][0]["Pattern"]
    given = json.dumps(pattern)
    if case == "date_time_conversion":  # the recording hides the pattern, which asks for a number
        given = json.dumps({"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 0]}]}})
    made = mapped(
        table.stream_arn, a_reporter(deploy, TELLS, reports), BatchSize=1, MaximumBatchingWindowInSeconds=1,
        MaximumRetryAttempts=1, FilterCriteria={"Filters": [{"Pattern": given}]},
    )  # fmt: skip
    if case == "date_time_conversion":
        made["FilterCriteria"]["Filters"][0]["Pattern"] = pattern
    recording.check("create_event_source_mapping_response", made)
    events = []
    for number, item in enumerate(ITEMS[case]):
        table.put(**item)
        step = ("lambda-log-events", "lambda-multiple-log-events")[number]
        while len(events) < len(recording.steps[step]):
            events += reports.take(1)
        recording.check(step, events)


@pytest.mark.parametrize("name", of("test_dynamodb_report_batch_item_failure_scenarios["))
def test_dynamodb_report_batch_item_failure_scenarios(
    name: str, server: RunningServer, deploy: Deployer, mapped: Any, reports: Queue, failures: Queue
) -> None:
    recording, case = recorded(name), case_of(name)
    table = Table(server, "my_partition_key")
    answer = json.dumps(ANSWERS_THAT_FAIL.get(case))
    function = a_reporter(deploy, ANSWERS if case in ANSWERS_THAT_FAIL else RAISES, reports, ANSWER=answer)
    mapped(
        table.stream_arn, function, BatchSize=1, MaximumBatchingWindowInSeconds=1, MaximumRetryAttempts=3,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": failures.arn}},
    )  # fmt: skip
    table.put(my_partition_key={"S": "hello world"}, binary_key={"B": b"foobar"})
    recording.check("destination_queue_messages", received(failures))
    recording.check("dynamodb_events", reports.take(4))


def test_dynamodb_event_source_mapping_with_s3_on_failure_destination(
    server: RunningServer, deploy: Deployer, mapped: Any
) -> None:
    recording = recorded(
        "TestDynamoDBEventSourceMapping::test_dynamodb_event_source_mapping_with_s3_on_failure_destination"
    )
    table, bucket = Table(server, "my_partition_key"), Bucket(server)
    made = mapped(
        table.stream_arn, deploy(FAILS, Role=ROLE, Timeout=20), BatchSize=1, MaximumBatchingWindowInSeconds=1,
        MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": bucket.arn}},
    )  # fmt: skip
    recording.check("create_event_source_mapping_response", made)
    table.put(my_partition_key={"S": "hello world"})
    recording.check("record_body", bucket.first()[1])


def test_duplicate_event_source_mappings(server: RunningServer, deploy: Deployer, client: Any, mapped: Any) -> None:
    recording = recorded("TestDynamoDBEventSourceMapping::test_duplicate_event_source_mappings")
    table, function = Table(server, "my_partition_key"), deploy(FAILS, Role=ROLE)
    settings = {"MaximumBatchingWindowInSeconds": 1, "MaximumRetryAttempts": 1}
    recording.check("create", mapped(table.stream_arn, function, **settings))
    with pytest.raises(ClientError) as refused:
        client.create_event_source_mapping(
            EventSourceArn=table.stream_arn, FunctionName=function, StartingPosition="LATEST"
        )
    recording.check("error", refused.value)


class Bucket:
    """A bucket of a test's own."""

    def __init__(self, server: RunningServer) -> None:
        self.client = server.client("s3", account=ACCOUNT)
        self.name = f"b-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=self.name)
        self.arn = f"arn:aws:s3:::{self.name}"

    def first(self) -> tuple[str, Any]:
        """Key and JSON of the first object that comes."""
        end = time.monotonic() + 30
        while not (found := self.client.list_objects_v2(Bucket=self.name).get("Contents")):
            assert time.monotonic() < end
            time.sleep(0.1)  # buckets have no signals
        key = found[0]["Key"]
        return key, json.loads(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())


def received(queue: Queue) -> Any:
    """The answer of the one receive that brings a message, in the form of recordings."""
    end = time.monotonic() + 30
    while not (got := queue.client.receive_message(QueueUrl=queue.url, WaitTimeSeconds=20)).get("Messages"):
        assert time.monotonic() < end
    got["Messages"][0]["Body"] = json.loads(got["Messages"][0]["Body"])
    return got
