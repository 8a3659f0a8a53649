"""The context object that a handler gets (awslambdaric)."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from . import faults, logs

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class _Record:
    """An object with a fixed set of attributes, absent ones None."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, values: dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, values.get(name))

    def __repr__(self) -> str:
        fields = ",".join(f"{name}={getattr(self, name)}" for name in self.__slots__)
        return f"{type(self).__name__}([{fields}])"


class CognitoIdentity(_Record):
    """Who the caller of a mobile application is."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    cognito_identity_id: Any
    cognito_identity_pool_id: Any

    def __init__(self, values: dict[str, Any]) -> None:
        # The parent's own, written out: every invocation makes one.
        self.cognito_identity_id = values.get("cognito_identity_id")
        self.cognito_identity_pool_id = values.get("cognito_identity_pool_id")


class Client(_Record):
    """The calling application."""

    __slots__ = (  # noqa: RUF023 - the order of `repr`
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    )


_NO_VALUES: dict[str, Any] = {}


class ClientContext(_Record):
    """What the caller sent as ClientContext."""

    __slots__ = ("custom", "env", "client")  # noqa: RUF023 - the order of `repr`

    client: Any


class Surroundings:
    """What is the same for every invocation of an environment."""

    __slots__ = ("function_name", "function_version", "log_group_name", "log_stream_name", "memory_limit_in_mb")

    def __init__(self) -> None:
        get = os.environ.get
        self.log_group_name = get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = get("AWS_LAMBDA_FUNCTION_VERSION")


class LambdaContext:
    """One invocation, as its handler sees it."""

    def __init__(
        self,
        surroundings: Surroundings,
        request_id: str,
        client_context: dict[str, Any] | None,
        cognito_identity: dict[str, Any] | None,
        deadline_ms: int,
        invoked_function_arn: str,
        tenant_id: str | None,
    ) -> None:
        self.aws_request_id = request_id
        self.log_group_name = surroundings.log_group_name
        self.log_stream_name = surroundings.log_stream_name
        self.function_name = surroundings.function_name
        self.memory_limit_in_mb = surroundings.memory_limit_in_mb
        self.function_version = surroundings.function_version
        self.invoked_function_arn = invoked_function_arn
        self.tenant_id = tenant_id
        self._w3c_fields: dict[str, str] = {}
        self.client_context: ClientContext | None = None
        if client_context is not None:
            self._w3c_fields = _take_w3c(client_context)
            self.client_context = ClientContext(client_context)
            client = self.client_context.client
            self.client_context.client = None if client is None else Client(client)
        self.identity = CognitoIdentity(_NO_VALUES)
        if cognito_identity:
            self.identity.cognito_identity_id = cognito_identity.get("cognitoIdentityId")
            self.identity.cognito_identity_pool_id = cognito_identity.get("cognitoIdentityPoolId")
        self._epoch_deadline_time_in_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout; never below 0."""
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def w3c(self) -> dict[str, str]:
        """The W3C trace fields that came with the client context."""
        return dict(self._w3c_fields)

    def log(self, message: Any) -> None:
        """Writes one log event, without level or time."""
        if logs.sink is None:
            sys.stdout.write(str(message))
        else:
            logs.sink.event(str(message))

    def __repr__(self) -> str:
        names = (
            "aws_request_id",
            "log_group_name",
            "log_stream_name",
            "function_name",
            "memory_limit_in_mb",
            "function_version",
            "invoked_function_arn",
            "client_context",
            "identity",
            "tenant_id",
        )
        return "LambdaContext([{}])".format(",".join(f"{name}={getattr(self, name)}" for name in names))


def _take_w3c(client_context: Any) -> dict[str, str]:
    """Trace fields are no part of what the function sees as client context."""
    if not isinstance(client_context, dict):
        return {}
    fields = client_context.pop("w3c", None)
    if not isinstance(fields, dict):
        return {}
    return {name: fields[name] for name in _W3C_FIELDS if isinstance(fields.get(name), str)}


def parse_json(text: str, name: str) -> Any:
    """The decoded text, None if there is none. Raises Fault."""
    if not text:
        return None
    try:
        return json.loads(text)
    except Exception as error:
        message = f"Unable to parse {name} JSON: {error}"
        raise faults.Fault(faults.CONTEXT_UNMARSHAL_ERROR, message) from error
