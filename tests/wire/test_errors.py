"""Errors on the wire, protocol by protocol."""

from __future__ import annotations

import json
import logging

import pytest

from lambdad.domain import errors as domain
from lambdad.domain.errors import LambdadError
from lambdad.wire import errors
from lambdad.wire.access import errors as access
from lambdad.wire.protocols import model
from lambdad.wire.protocols.errors import OperationNotOffered, SerializationFailed, UnknownOperation

TABLE: list[tuple[LambdadError, int, str, dict[str, str]]] = [
    (domain.InvalidParameterValue("m"), 400, "InvalidParameterValueException", {"Type": "User", "message": "m"}),
    (domain.InvalidParameterValue("m", typed=False), 400, "InvalidParameterValueException", {"message": "m"}),
    (domain.InvalidRequestContent("m"), 400, "InvalidRequestContentException", {"Type": "User", "message": "m"}),
    (domain.RequestEntityTooLarge("m"), 413, "RequestEntityTooLargeException", {"Message": "m"}),
    (domain.ResourceNotFound("m"), 404, "ResourceNotFoundException", {"Type": "User", "Message": "m"}),
    (domain.ProvisionedConcurrencyConfigNotFound("m"), 404, "ProvisionedConcurrencyConfigNotFoundException",
     {"Type": "User", "message": "m"}),
    (domain.CodeSigningConfigNotFound("m"), 404, "CodeSigningConfigNotFoundException",
     {"Type": "User", "Message": "m"}),
    (domain.ResourceConflict("m"), 409, "ResourceConflictException", {"Type": "User", "message": "m"}),
    (domain.ResourceInUse("m"), 400, "ResourceInUseException", {"Type": "User", "Message": "m"}),
    (domain.ResourceNotReady("m"), 502, "ResourceNotReadyException", {"Type": "Service", "message": "m"}),
    (domain.PreconditionFailed("m"), 412, "PreconditionFailedException", {"Type": "User", "message": "m"}),
    (domain.CodeStorageExceeded("m"), 400, "CodeStorageExceededException", {"Type": "User", "message": "m"}),
    (domain.PolicyLengthExceeded("m"), 400, "PolicyLengthExceededException", {"Type": "User", "message": "m"}),
    (domain.AccessDenied("m"), 403, "AccessDeniedException", {"Message": "m"}),
    (domain.RecursiveInvocation("m"), 400, "RecursiveInvocationException", {"Type": "User", "Message": "m"}),
    (domain.UnsupportedMediaType("m"), 415, "UnsupportedMediaTypeException", {"Type": "User", "message": "m"}),
    (domain.InvalidRuntime("m"), 502, "InvalidRuntimeException", {"Type": "Service", "Message": "m"}),
    (domain.ServiceFailure("m"), 500, "ServiceException", {"Type": "Service", "Message": "m"}),
    (domain.TooManyRequests("ReservedFunctionConcurrentInvocationLimitExceeded"), 429, "TooManyRequestsException",
     {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."}),
    (domain.ValidationFailed(["a", "b"]), 400, "ValidationException",
     {"message": "2 validation errors detected: a; b"}),
    (SerializationFailed("m"), 400, "SerializationException", {"Message": "m"}),
    (UnknownOperation("m"), 404, "UnknownOperationException", {"Message": "m"}),
    (OperationNotOffered("m"), 501, "NotImplemented", {"Message": "m"}),
    (access.MissingAuthenticationToken(), 403, "MissingAuthenticationTokenException",
     {"message": "Missing Authentication Token"}),
    (access.SignatureMismatch(), 403, "InvalidSignatureException", {"message": access.MISMATCH}),
    (access.UnknownAccessKey(), 403, "UnrecognizedClientException", {"message": access.INVALID_TOKEN}),
    (access.ExpiredToken(), 403, "ExpiredTokenException", {"message": access.EXPIRED_TOKEN}),
    (domain.ServiceError("SomeException", "m", 418), 418, "SomeException", {"Type": "User", "message": "m"}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "status", "code", "body"), TABLE, ids=lambda value: type(value).__name__)
def test_rest_json(error: LambdadError, status: int, code: str, body: dict[str, str]):
    response = errors.rest_json_response(error, "id-1")
    headers = dict(response.headers)
    assert response.status == status
    assert headers["x-amzn-errortype"] == code
    assert headers["x-amzn-requestid"] == "id-1"
    assert headers["content-type"] == "application/json"
    assert list(json.loads(response.body).items()) == list(body.items())


def test_key_case_and_status_are_those_of_the_model():
    """The error shapes of botocore's model say the same, where the model has the error."""
    shapes = json.loads(json.dumps(_raw_lambda_shapes()))
    modelled = 0
    for rule in errors.RULES.values():
        shape = shapes.get(rule.code)
        if shape is None:
            assert not rule.typed
            continue
        modelled += 1
        assert rule.key in shape["members"]
        assert shape["error"]["httpStatusCode"] == rule.status
    assert modelled >= 16


def _raw_lambda_shapes():
    from botocore.loaders import Loader

    return Loader().load_service_model("lambda", "service-2")["shapes"]


def test_every_error_of_the_domain_has_a_rule():
    kinds = {kind for kind in vars(domain).values() if isinstance(kind, type) and issubclass(kind, LambdadError)}
    assert kinds - set(errors.RULES) == {domain.ServiceError}


def test_retry_after():
    headers = dict(errors.rest_json_response(domain.TooManyRequests("R", retry_after_s=3), "id").headers)
    assert headers["retry-after"] == "3"


@pytest.mark.parametrize(
    ("error", "status", "kind", "message"),
    [
        (domain.ServiceError("ResourceNotFoundException", "m"), 400, "ResourceNotFoundException", "m"),
        (domain.ValidationFailed(["a"]), 400, "InvalidParameterException", "1 validation error detected: a"),
        (access.SignatureMismatch("m"), 400, "InvalidSignatureException", "m"),
        (
            access.MissingAuthenticationToken(),
            400,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        ),
        (UnknownOperation("m"), 400, "UnknownOperationException", "m"),
        (OperationNotOffered("m"), 501, "NotImplemented", "m"),
        (domain.ServiceFailure("m"), 500, "InternalFailure", "m"),
    ],
)
def test_json(error: LambdadError, status: int, kind: str, message: str):
    response = errors.render(error, errors.JSON, "id-1", model.load("logs"))
    assert response.status == status
    assert json.loads(response.body) == {"__type": kind, "message": message}
    assert dict(response.headers)["content-type"] == "application/x-amz-json-1.1"


def test_json_of_a_service_that_once_spoke_query():
    error = domain.ServiceError("QueueDoesNotExist", "The specified queue does not exist.")
    response = errors.render(error, errors.JSON, "id-1", model.load("sqs"))
    assert json.loads(response.body)["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"
    assert dict(response.headers)["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"


@pytest.mark.parametrize(
    ("error", "status", "code", "fault"),
    [
        (domain.ServiceError("NoSuchEntityException", "m"), 404, "NoSuchEntity", "Sender"),
        (domain.ServiceError("ValidationError", "m"), 400, "ValidationError", "Sender"),
        (domain.ServiceError("AccessDenied", "m", 403), 403, "AccessDenied", "Sender"),
        (domain.ValidationFailed(["m"]), 400, "ValidationError", "Sender"),
        (UnknownOperation("m"), 400, "InvalidAction", "Sender"),
        (access.SignatureMismatch("m"), 403, "SignatureDoesNotMatch", "Sender"),
        (access.UnknownAccessKey(), 403, "InvalidClientTokenId", "Sender"),
        (access.ExpiredToken(), 403, "ExpiredToken", "Sender"),
        (access.MissingAuthenticationToken(), 403, "MissingAuthenticationToken", "Sender"),
        (domain.ServiceFailure("m"), 500, "InternalFailure", "Receiver"),
    ],
)
def test_query(error: LambdadError, status: int, code: str, fault: str):
    from botocore.parsers import QueryParser

    response = errors.render(error, errors.QUERY, "id-1", model.load("iam"))
    assert response.status == status
    parsed = QueryParser().parse({"status_code": status, "headers": {}, "body": response.body}, None)
    assert parsed["Error"]["Code"] == code
    assert parsed["Error"]["Type"] == fault
    assert parsed["ResponseMetadata"]["RequestId"] == "id-1"
    assert b'<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">' in response.body


def test_text_of_users_cannot_break_the_xml():
    from botocore.parsers import QueryParser

    text = 'a <b> & "c" \x00\x1f\ud800 ü\r\n'
    response = errors.render(domain.ServiceError("ValidationError", text), errors.QUERY, "id", model.load("iam"))
    parsed = QueryParser().parse({"status_code": 400, "headers": {}, "body": response.body}, None)
    assert parsed["Error"]["Message"].startswith('a <b> & "c" ')


def test_an_unexpected_exception_is_logged_and_does_not_show_its_text(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR):
        response = errors.render(KeyError("secret detail"), errors.REST_JSON, "id-1")
    assert response.status == 500
    assert json.loads(response.body)["Message"].endswith("request id id-1.")
    assert b"secret detail" not in response.body
    assert "id-1" in caplog.text
    assert "secret detail" in caplog.text, "the traceback is in the log"
