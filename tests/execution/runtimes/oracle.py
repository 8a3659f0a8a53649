"""Runs a handler under awslambdaric's own loop, with a client that records instead of speaking HTTP.

`python oracle.py SPEC RESULT`: SPEC is JSON with the handler string and the invocations, RESULT gets what was posted.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import InvocationRequest
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller, to_json


class Recorder:
    """Has the methods of awslambdaric's client that its loop calls."""

    def __init__(self, invocations: list[dict[str, Any]], result: str) -> None:
        self.marshaller = LambdaMarshaller()
        self._invocations = list(invocations)
        self._result = result
        self._posted: list[list[str]] = []

    def wait_next_invocation(self) -> InvocationRequest:
        if not self._invocations:
            sys.stdout.flush()
            self._save()
            sys.exit(0)
        given = self._invocations.pop(0)
        return InvocationRequest(
            invoke_id=given["request_id"],
            x_amzn_trace_id=given["trace_id"] or None,
            invoked_function_arn=given["arn"],
            deadline_time_in_ms=given["deadline_ms"],
            client_context=given["client_context"] or None,
            cognito_identity=given["identity"] or None,
            tenant_id=given["tenant_id"] or None,
            content_type="application/json",
            event_body=given["event"].encode(),
            invocation_id=None,
        )

    def post_invocation_result(self, _id: str, data: Any, content_type: str, _invocation: object = None) -> None:
        body = data if isinstance(data, bytes) else data.encode()
        self._add("response", content_type, body)

    def post_invocation_error(self, _id: str, data: str, _fault: object, _invocation: object = None) -> None:
        self._add("error", json.loads(data)["errorType"], data.encode())

    def post_init_error(self, data: Any, _override: object = None) -> None:
        self._add("init_error", data["errorType"], to_json(data).encode())

    def _add(self, kind: str, text: str, body: bytes) -> None:
        self._posted.append([kind, text, body.decode("latin-1")])
        self._save()

    def _save(self) -> None:
        with open(self._result, "w") as file:
            json.dump(self._posted, file)


def main() -> None:
    with open(sys.argv[1]) as file:
        spec = json.load(file)
    sys.path.insert(0, spec["task_root"])
    bootstrap.run(spec["handler"], Recorder(spec["invocations"], sys.argv[2]))


if __name__ == "__main__":
    main()
