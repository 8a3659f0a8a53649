"""Terraform deploys one function, finds nothing to change, and removes it. `script/terraform` runs the larger check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lambdad.extras.moto_services import is_installed
from tests.aws.urls import Url
from tests.conftest import StartServer
from tests.terraform.driving import Terraform

pytestmark = [pytest.mark.server, pytest.mark.skipif(not is_installed(), reason="needs the extra aws")]


def test_a_function_with_code_in_s3_and_an_alarm(start_server: StartServer, tmp_path: Path):
    server = start_server()
    terraform = Terraform("small", tmp_path / "terraform", server)
    terraform.apply()
    assert terraform.changes() == ""
    outputs = terraform.outputs()
    client = server.client("lambda")
    answer = client.invoke(FunctionName=outputs["alias"], Payload=b'{"a":1}')
    assert (answer["ExecutedVersion"], json.load(answer["Payload"])) == ("1", {"greeting": "Hello", "event": {"a": 1}})
    # The provider itself adds the permission that a URL without authentication needs.
    url = Url(server, outputs["url"])
    assert json.loads(url(origin="https://page.example").body)["event"]["requestContext"]["apiId"] == url.id
    terraform.destroy()
    assert client.list_functions()["Functions"] == []
    assert server.client("s3").list_buckets()["Buckets"] == []
