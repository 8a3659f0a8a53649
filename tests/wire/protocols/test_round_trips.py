"""botocore's serialisers write requests that our codecs read, its parsers read what our codecs write."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore.model import OperationModel

from lambdad.wire.service import Answer
from tests.wire.protocols import samples

SERVICES = ("lambda", "logs", "sts", "iam", "sqs", "sns", "events")
OPERATIONS = [(name, operation) for name in SERVICES for operation in samples.service(name).operation_names]
TRIES = 4


def _operation(service: str, operation: str) -> OperationModel:
    return samples.service(service).operation_model(operation)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_requests_are_read_as_botocore_means_them(service: str, operation: str):
    shape = _operation(service, operation)
    codec = samples.codec(service)
    for seed in range(TRIES):
        params: dict[str, Any] = {}
        if shape.input_shape is not None:
            params = samples.sample(shape.input_shape, random.Random(seed))
        request = samples.sent(shape, params)
        found, labels = codec.find(request)
        assert found.name == operation
        assert codec.parse(found, labels, request) == _as_sent(shape, params, request.body)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_answers_are_read_by_botocore_as_we_mean_them(service: str, operation: str):
    shape = _operation(service, operation)
    codec = samples.codec(service)
    if shape.has_event_stream_output or shape.has_streaming_output:
        pytest.skip("streams are written by hand")
    for seed in range(TRIES):
        members: dict[str, Any] = {}
        if shape.output_shape is not None:
            members = samples.sample(shape.output_shape, random.Random(seed))
        response = codec.answer(codec.model.operations[operation], Answer(members=members), "id-1")
        read = samples.read(shape, response)
        assert read == _as_read(shape, members, response.status)


@pytest.mark.parametrize("service", SERVICES)
def test_unset_members_are_left_out(service: str):
    codec = samples.codec(service)
    for name in samples.service(service).operation_names:
        shape = _operation(service, name)
        if shape.output_shape is None or shape.has_event_stream_output or shape.has_streaming_output:
            continue
        answer = Answer(members=dict.fromkeys(shape.output_shape.members))
        response = codec.answer(codec.model.operations[name], answer, "id-1")
        assert b"null" not in response.body
        assert b"None" not in response.body


def _as_sent(shape: OperationModel, params: dict[str, Any], body: bytes) -> dict[str, Any]:
    """What reaches a server: an unset structure as payload is sent as an empty one."""
    payload = shape.input_shape.serialization.get("payload") if shape.input_shape is not None else None
    return {**params, payload: {}} if payload is not None and payload not in params and body == b"{}" else params


def _as_read(shape: OperationModel, members: dict[str, Any], status: int) -> dict[str, Any]:
    if shape.output_shape is None:
        return {}
    expected = dict(members)
    for name, member in shape.output_shape.members.items():
        if member.serialization.get("location") == "statusCode":
            expected[name] = status
    return expected
