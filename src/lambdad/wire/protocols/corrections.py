"""Where the services print or check other constraints than botocore's model says, or than older ones of it said.

Each entry was recorded from AWS (November 2025 to January 2026) or keeps what a service check answers out of the
generic layer.
"""

from __future__ import annotations

from typing import Any

from lambdad.domain.runtimes import FUNCTION_VALUE_SET, LAYER_VALUE_SET, RUNTIMES

_ARN_START = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
)
_LAYER_ARN = (
    r"arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+"
)

_LAMBDA: dict[str, dict[str, Any]] = {
    # The three kinds of function names and the qualifier, as the service prints them.
    "NamespacedFunctionName": {
        "type": "string",
        "min": 1,
        "max": 256,
        "pattern": _ARN_START + r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?",
    },
    "FunctionName": {
        "type": "string",
        "min": 1,
        "max": 140,
        "pattern": _ARN_START + r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?",
    },
    "UnqualifiedFunctionName": {
        "type": "string",
        "min": 1,
        "max": 140,
        "pattern": _ARN_START + r"([a-zA-Z0-9-_]+)",
    },
    "NumericLatestPublishedOrAliasQualifier": {
        "type": "string",
        "min": 1,
        "max": 128,
        "pattern": r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
    },
    "LayerVersionArn": {"pattern": f"({_LAYER_ARN}:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"},
    "TaggableResource": {
        "pattern": r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
        r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)"
        r"|code-signing-config:csc-[a-z0-9]{17}"
        r"|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
        r"|capacity-provider:[a-zA-Z0-9-_]+)"
    },
    # A runtime is checked by the service itself: InvalidParameterValueException with another text.
    "FunctionRuntime": {"type": "string"},
    # The order in which AWS prints these is not the model's.
    "EventSourcePosition": {"enum": ["LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"]},
    "InvokeMode": {"enum": ["RESPONSE_STREAM", "BUFFERED"]},
    "RecursiveLoop": {"enum": ["Terminate", "Allow"]},
    # The lists that AWS prints lag behind what it takes.
    "LayerRuntime": {"type": "string", "enum": FUNCTION_VALUE_SET, "enum_beyond": RUNTIMES},
    "LayerRuntimeFilter": {"type": "string", "enum": LAYER_VALUE_SET, "enum_beyond": RUNTIMES},
    "CompatibleRuntimes": {"member": {"shape": "LayerRuntime"}, "elements_may_be_null": True},
    "SubnetIds": {"elements_may_be_null": True},
    "SecurityGroupIds": {"elements_may_be_null": True},
    "EnvironmentVariables": {"elements_may_be_null": True},
}


def _sqs_errors() -> dict[str, dict[str, Any]]:
    # botocore's model has lost them with the query protocol; clients still know errors by these codes.
    prefixed = "AWS.SimpleQueueService."
    codes: dict[str, tuple[str, int]] = {
        "QueueDoesNotExist": (f"{prefixed}NonExistentQueue", 400),
        "QueueNameExists": ("QueueAlreadyExists", 400),
        "PurgeQueueInProgress": (f"{prefixed}PurgeQueueInProgress", 403),
        "ReceiptHandleIsInvalid": ("ReceiptHandleIsInvalid", 404),
        "OverLimit": ("OverLimit", 403),
        "InvalidAddress": ("InvalidAddress", 404),
        "ResourceNotFoundException": ("ResourceNotFoundException", 404),
        # Not in the model; these are the names in JSON of errors that all services have.
        "InvalidParameterValueException": ("InvalidParameterValue", 400),
        "MissingRequiredParameterException": ("MissingParameter", 400),
        "AccessDeniedException": ("AccessDenied", 403),
    }
    for name in (
        "BatchEntryIdsNotDistinct", "BatchRequestTooLong", "EmptyBatchRequest", "InvalidBatchEntryId",
        "MessageNotInflight", "QueueDeletedRecently", "TooManyEntriesInBatchRequest", "UnsupportedOperation",
    ):  # fmt: skip
        codes[name] = (f"{prefixed}{name}", 400)
    return {name: {"error": {"code": code, "httpStatusCode": status}} for name, (code, status) in codes.items()}


# These patterns take time exponential in the number of blanks: a call with one such value would stop the server.
_EVENTS: dict[str, dict[str, Any]] = {
    name: {"pattern": None}
    for name in ("AuthHeaderParameters", "AuthHeaderParametersSensitive", "HeaderValue", "HeaderValueSensitive")
}

_SHAPES: dict[str, dict[str, dict[str, Any]]] = {"lambda": _LAMBDA, "sqs": _sqs_errors(), "events": _EVENTS}

METADATA: dict[str, dict[str, Any]] = {"sqs": {"xmlNamespace": "http://queue.amazonaws.com/doc/2012-11-05/"}}
"""What the head of a model lacks."""

_NAMESPACED = (
    "Invoke", "InvokeAsync", "InvokeWithResponseStream", "GetFunction", "GetFunctionConfiguration", "DeleteFunction",
    "AddPermission", "RemovePermission", "GetPolicy", "ListVersionsByFunction", "GetFunctionEventInvokeConfig",
    "PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig",
    "ListFunctionEventInvokeConfigs", "CreateEventSourceMapping", "UpdateEventSourceMapping", "ListEventSourceMappings",
    "GetRuntimeManagementConfig", "PutRuntimeManagementConfig",
)  # fmt: skip
_QUALIFIED = (
    "Invoke", "InvokeWithResponseStream", "GetFunction", "GetFunctionConfiguration", "DeleteFunction", "AddPermission",
    "RemovePermission", "GetPolicy", "GetFunctionEventInvokeConfig", "PutFunctionEventInvokeConfig",
    "UpdateFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig", "GetRuntimeManagementConfig",
    "PutRuntimeManagementConfig",
)  # fmt: skip


def _lambda_members() -> dict[str, dict[str, str]]:
    members: dict[str, dict[str, str]] = {name: {"FunctionName": "NamespacedFunctionName"} for name in _NAMESPACED}
    for name in _QUALIFIED:
        members[name]["Qualifier"] = "NumericLatestPublishedOrAliasQualifier"
    for name in ("CreateFunction", "UpdateFunctionConfiguration"):
        members[name] = {"FunctionName": "FunctionName", "Runtime": "FunctionRuntime"}
    for name in ("ListLayers", "ListLayerVersions"):
        members[name] = {"CompatibleRuntime": "LayerRuntimeFilter"}
    return members


_MEMBERS: dict[str, dict[str, dict[str, str]]] = {"lambda": _lambda_members()}

_ORDERS: dict[tuple[str, str], tuple[str, ...]] = {
    ("lambda", "PublishLayerVersion"): ("LayerName", "Description", "Content", "CompatibleRuntimes", "LicenseInfo"),
}

VALIDATION_CODES: dict[str, str] = {"logs": "InvalidParameterException"}
"""JSON services that give broken constraints another code than ValidationException (AWS: recorded)."""


def shapes(service: str) -> dict[str, dict[str, Any]]:
    """Attributes to put over those of the model's shapes, by shape; may add shapes."""
    return _SHAPES.get(service, {})


def members(service: str, operation: str) -> dict[str, str]:
    """Members of an operation's input that have another shape than the model says."""
    return _MEMBERS.get(service, {}).get(operation, {})


def order(service: str, operation: str) -> tuple[str, ...]:
    """Members of an operation's input that are checked first, in this order; the others follow as in the model."""
    return _ORDERS.get((service, operation), ())
