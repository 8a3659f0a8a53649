"""Every kind of resource that belongs to functions, with Terraform. Minutes long: only `script/terraform` runs it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.aws.test_async import eventually
from tests.conftest import StartServer
from tests.terraform.driving import Terraform

pytestmark = pytest.mark.server


def test_everything(start_server: StartServer, tmp_path: Path):
    server = start_server()
    terraform = Terraform("whole", tmp_path / "terraform", server)
    terraform.apply()
    assert terraform.changes() == ""
    outputs = terraform.outputs()
    assert outputs["account"] == "000000000000"

    client = server.client("lambda")
    answer = client.invoke(FunctionName=outputs["alias"], Payload=b'{"a":1}')
    assert (answer["ExecutedVersion"], json.load(answer["Payload"])) == ("1", {"greeting": "Hello", "event": {"a": 1}})
    assert json.load(client.invoke(FunctionName=outputs["stored"], Payload=b"1")["Payload"])["event"] == 1
    # To the server's address, whatever the resolver makes of the host name.
    url = urllib.request.Request(f"{server.endpoint}/", headers={"Host": urlsplit(outputs["url"]).netloc})
    with urllib.request.urlopen(url) as response:
        assert json.load(response)["event"]["requestContext"]["http"]["method"] == "GET"

    def mappings() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.list_event_source_mappings()["EventSourceMappings"]
        return [one for one in found if ":sqs:" not in one["EventSourceArn"]]

    sqs = server.client("sqs")
    sqs.send_message(QueueUrl=outputs["work"], MessageBody='{"kind":"wanted"}')
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def is_empty() -> bool:
        counts = sqs.get_queue_attributes(QueueUrl=outputs["work"], AttributeNames=attributes)["Attributes"]
        return all(count == "0" for count in counts.values())

    eventually(is_empty)
    server.client("kinesis").put_record(StreamName="whole-clicks", Data=b"click", PartitionKey="k")
    server.client("dynamodb").put_item(TableName="whole-items", Item={"id": {"S": "changed"}})
    eventually(lambda: {"OK"} == {one["LastProcessingResult"] for one in mappings()})
    terraform.destroy()
    assert client.list_functions()["Functions"] == []
    assert client.list_event_source_mappings()["EventSourceMappings"] == []
