"""JSON 1.0 and 1.1: the operation in `X-Amz-Target`, everything else in the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambdad.http.messages import Request, Response
from lambdad.wire.protocols import json_values
from lambdad.wire.protocols.errors import UnknownOperation
from lambdad.wire.protocols.model import Operation, ServiceModel
from lambdad.wire.service import Answer

NO_LABELS: dict[str, str] = {}


class AwsJson:
    """The codec of one JSON service. Answers are in the version of JSON that the client asked with."""

    name = "json"

    def __init__(self, model: ServiceModel) -> None:
        self.model = model
        self._content_type = f"application/x-amz-json-{model.json_version}"

    def find(self, request: Request) -> tuple[Operation, dict[str, str]]:
        """The operation named by the target. Raises UnknownOperation."""
        target = request.headers.get("x-amz-target", "")
        operation = self.model.operations.get(target.rpartition(".")[2])
        if operation is None:
            raise UnknownOperation(f"{self.model.title} has no operation {target or 'without X-Amz-Target'}")
        return operation, NO_LABELS

    def parse(self, operation: Operation, _: Mapping[str, str], request: Request) -> dict[str, Any]:
        """The parameters of a call by member. Raises SerializationFailed where a value is of another type."""
        body = json_values.load_object(request.body)
        if operation.input is None:
            return {}
        params: dict[str, Any] = json_values.decode(operation.input, body)
        return params

    def answer(self, operation: Operation, answer: Answer, request_id: str) -> Response:
        """The response of a call that succeeded. Without output the body is empty, as AWS sends it."""
        body = b""
        if operation.output is not None:
            body = json_values.dump(json_values.encode_members(operation.output.members, answer.members))
        headers = [("x-amzn-requestid", request_id), ("content-type", self._content_type), *answer.headers]
        return Response(answer.status or 200, headers, body)
