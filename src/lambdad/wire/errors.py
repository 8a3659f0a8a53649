"""Errors on the wire: the only place with codes, HTTP statuses and the spelling of keys.

rest-json: header `x-amzn-ErrorType`, body `{"Type":"User","message":"…"}`; each error shape of Lambda has its own
spelling of `message`; errors outside the model carry no `Type` (AWS: recorded 2025-11). JSON 1.x: `__type` and
`message`. Query: an XML `ErrorResponse`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lambdad.domain import errors as domain
from lambdad.domain.errors import LambdadError
from lambdad.http.messages import Response
from lambdad.wire.access import errors as access
from lambdad.wire.protocols import cbor, json_values, rpc_cbor, xml
from lambdad.wire.protocols import errors as protocol_errors
from lambdad.wire.protocols.corrections import VALIDATION_CODES
from lambdad.wire.protocols.model import ServiceModel

log = logging.getLogger("lambdad.wire")

REST_JSON, JSON, QUERY, REST_XML, CBOR = "rest-json", "json", "query", "rest-xml", "cbor"


@dataclass(frozen=True, slots=True)
class Rule:
    """How one exception is answered in rest-json; the other protocols derive from it."""

    status: int
    code: str
    key: str = "message"
    typed: bool = True


RULES: dict[type[LambdadError], Rule] = {
    domain.ValidationFailed: Rule(400, "ValidationException", typed=False),
    domain.InvalidParameterValue: Rule(400, "InvalidParameterValueException"),
    domain.InvalidRequestContent: Rule(400, "InvalidRequestContentException"),
    domain.RequestEntityTooLarge: Rule(413, "RequestEntityTooLargeException", "Message", typed=False),
    domain.ResourceNotFound: Rule(404, "ResourceNotFoundException", "Message"),
    domain.ProvisionedConcurrencyConfigNotFound: Rule(404, "ProvisionedConcurrencyConfigNotFoundException"),
    domain.CodeSigningConfigNotFound: Rule(404, "CodeSigningConfigNotFoundException", "Message"),
    domain.CodeVerificationFailed: Rule(400, "CodeVerificationFailedException", "Message"),
    domain.ResourceConflict: Rule(409, "ResourceConflictException"),
    domain.ResourceInUse: Rule(400, "ResourceInUseException", "Message"),
    domain.ResourceNotReady: Rule(502, "ResourceNotReadyException"),
    domain.PreconditionFailed: Rule(412, "PreconditionFailedException"),
    domain.CodeStorageExceeded: Rule(400, "CodeStorageExceededException"),
    domain.PolicyLengthExceeded: Rule(400, "PolicyLengthExceededException"),
    domain.AccessDenied: Rule(403, "AccessDeniedException", "Message", typed=False),
    domain.RecursiveInvocation: Rule(400, "RecursiveInvocationException", "Message"),
    domain.UnsupportedMediaType: Rule(415, "UnsupportedMediaTypeException"),
    domain.InvalidRuntime: Rule(502, "InvalidRuntimeException", "Message"),
    domain.ServiceFailure: Rule(500, "ServiceException", "Message"),
    domain.TooManyRequests: Rule(429, "TooManyRequestsException"),
    protocol_errors.SerializationFailed: Rule(400, "SerializationException", "Message", typed=False),
    protocol_errors.UnknownOperation: Rule(404, "UnknownOperationException", "Message", typed=False),
    protocol_errors.OperationNotOffered: Rule(501, "NotImplemented", "Message", typed=False),
    protocol_errors.RequestTooLarge: Rule(413, "RequestEntityTooLargeException", "Message", typed=False),
    access.MissingAuthenticationToken: Rule(403, "MissingAuthenticationTokenException", typed=False),
    access.IncompleteSignature: Rule(403, "IncompleteSignatureException", typed=False),
    access.SignatureMismatch: Rule(403, "InvalidSignatureException", typed=False),
    access.UnknownAccessKey: Rule(403, "UnrecognizedClientException", typed=False),
    access.ExpiredToken: Rule(403, "ExpiredTokenException", typed=False),
    access.AccessRefused: Rule(403, "AccessDeniedException", "Message", typed=False),
    LambdadError: Rule(500, "ServiceException", "Message"),
}

_QUERY_CODES = {
    "ValidationException": "ValidationError",
    "SerializationException": "MalformedInput",
    "UnknownOperationException": "InvalidAction",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ExpiredTokenException": "ExpiredToken",
    "AccessDeniedException": "AccessDenied",
    "TooManyRequestsException": "Throttling",
    "RequestEntityTooLargeException": "RequestEntityTooLarge",
    "ServiceException": "InternalFailure",
}
"""Where query services have another word than the JSON ones."""

_S3_CODES = {**_QUERY_CODES, "UnrecognizedClientException": "InvalidAccessKeyId"}
_JSON_CODES = {"ServiceException": "InternalFailure", "AccessDeniedException": "AccessDeniedException"}


def rule_of(error: LambdadError) -> Rule:
    """The rule of an exception's class or of the nearest class above it."""
    for kind in type(error).__mro__:
        rule = RULES.get(kind)
        if rule is not None:
            return rule
    return RULES[LambdadError]


def render(error: BaseException, protocol: str, request_id: str, model: ServiceModel | None = None) -> Response:
    """The response for an exception, in the form of a protocol.

    `model` brings codes and statuses of a service's modelled errors. Anything that is not a LambdadError is our own
    fault: it is logged with its traceback and answered with 500, naming the request id that the log has too.
    """
    if not isinstance(error, LambdadError):
        log.error("Call %s failed unexpectedly", request_id, exc_info=error)
        error = domain.ServiceFailure(
            f"lambdad failed while it served this call. Its log has the details under request id {request_id}."
        )
    if protocol == REST_JSON:
        return _rest_json(error, request_id)
    if protocol in (JSON, CBOR):
        return _json(error, request_id, model, protocol)
    return _xml(error, protocol, request_id, model)


def rest_json_response(error: LambdadError, request_id: str) -> Response:
    """The response of Lambda's hand-written routes."""
    return render(error, REST_JSON, request_id)


def _rest_json(error: LambdadError, request_id: str) -> Response:
    rule = Rule(error.status, error.code) if isinstance(error, domain.ServiceError) else rule_of(error)
    typed = rule.typed and getattr(error, "typed", True)
    members: dict[str, object] = {}
    headers = [
        ("x-amzn-requestid", request_id),
        ("x-amzn-errortype", rule.code),
        ("content-type", "application/json"),
    ]
    if isinstance(error, domain.TooManyRequests):
        members["Reason"] = error.reason
        if error.retry_after_s is not None:
            headers.append(("retry-after", str(error.retry_after_s)))
    if typed:
        members["Type"] = "User" if rule.status < 500 else "Service"
    members[rule.key] = error.message
    return Response(rule.status, headers, json_values.dump(members))


def _json(error: LambdadError, request_id: str, model: ServiceModel | None, protocol: str) -> Response:
    headers = [("x-amzn-requestid", request_id)]
    code, status = _code_and_status(error, model, _JSON_CODES)
    if isinstance(error, domain.ValidationFailed) and model is not None:
        code = VALIDATION_CODES.get(model.name, code)
    type_name = code
    if model is not None and model.query_compatible:
        # Clients that once spoke query read the old code from this header and know errors by its text.
        shape = model.errors.get(code)
        query_code = shape.code if shape is not None else code
        headers.append(("x-amzn-query-error", f"{query_code};{'Sender' if status < 500 else 'Receiver'}"))
        type_name = f"com.amazonaws.{model.name}#{code}" if shape is not None else f"com.amazon.coral.service#{code}"
    members = {"__type": type_name, "message": error.message}
    if protocol == CBOR:
        return Response(status, [*headers, *rpc_cbor.HEADERS], cbor.dump(members))
    version = model.json_version if model is not None else "1.1"
    headers.append(("content-type", f"application/x-amz-json-{version}"))
    return Response(status, headers, json_values.dump(members))


def _xml(error: LambdadError, protocol: str, request_id: str, model: ServiceModel | None) -> Response:
    codes = _S3_CODES if protocol == REST_XML else _QUERY_CODES
    code, status = _code_and_status(error, model, codes)
    if model is not None and code in model.errors:
        code = model.errors[code].code
    headers = [("x-amzn-requestid", request_id)]
    message = error.message
    if isinstance(error, access.MissingAuthenticationToken):
        message = "Request is missing Authentication Token"
    if protocol == REST_XML:
        headers.append(("content-type", "application/xml"))
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{xml.escape(code)}</Code><Message>{xml.escape(message)}</Message>"
            f"<RequestId>{request_id}</RequestId></Error>"
        )
    else:
        headers.append(("content-type", "text/xml"))
        namespace = model.namespace if model is not None else ""
        body = (
            f'<ErrorResponse xmlns="{namespace}"><Error><Type>{"Sender" if status < 500 else "Receiver"}</Type>'
            f"<Code>{xml.escape(code)}</Code><Message>{xml.escape(message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return Response(status, headers, body.encode("utf-8", "replace"))


def _code_and_status(error: LambdadError, model: ServiceModel | None, codes: dict[str, str]) -> tuple[str, int]:
    if isinstance(error, domain.ServiceError):
        shape = model.errors.get(error.code) if model is not None else None
        return error.code, error.status if shape is None else shape.status
    rule = rule_of(error)
    code = codes.get(rule.code, rule.code)
    # JSON and query services answer wrong calls with 400; 403 and 413 stay in query (AWS: common errors).
    status = 400 if codes is _JSON_CODES and rule.status < 500 and rule.status != 413 else rule.status
    if isinstance(error, protocol_errors.UnknownOperation):
        status = 400
    return code, status
