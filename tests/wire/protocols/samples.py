"""Random values for the shapes of botocore's model, and botocore's own codecs as the other side of ours."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from lambdad.http.messages import Request, Response
from lambdad.wire.protocols import model
from lambdad.wire.protocols.aws_json import AwsJson
from lambdad.wire.protocols.query import Query
from lambdad.wire.protocols.rest_json import RestJson
from tests.wire.harness import request_of

TEXTS = ("a", "plain text", "ümläut ☃", "a/b:c+d&e=f%20", "<&>\"'", "line\nbreak\ttab", "0", "true", "{}", "x" * 300)
HEADER_TEXTS = ("a", "two words", "a=b;c", "100%")


@cache
def service(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


@cache
def codec(name: str) -> RestJson | AwsJson | Query:
    compiled = model.load(name)
    return {"rest-json": RestJson, "json": AwsJson, "query": Query}[compiled.protocol](compiled)


def sample(shape: Shape, dice: random.Random, *, depth: int = 0, texts: tuple[str, ...] = TEXTS) -> Any:
    """A value of a shape; structures leave out a third of their members."""
    if isinstance(shape, StructureShape):
        names = [name for name in shape.members if dice.random() < 0.67 or name in shape.required_members]
        if depth > 5:
            names = [name for name in names if name in shape.required_members]
        if not names and depth:  # forms cannot say "empty"
            names = list(shape.members)[:1]
        if shape.is_tagged_union:
            names = [dice.choice(list(shape.members))]
        return {name: sample_member(name, shape.members[name], dice, depth=depth, texts=texts) for name in names}
    if isinstance(shape, ListShape):
        count = dice.randint(1, 3) if depth < 5 else 1
        return [sample(shape.member, dice, depth=depth + 1, texts=texts) for _ in range(count)]
    if isinstance(shape, MapShape):
        keys = dice.sample(("k", "key two", "ü", "a.b"), dice.randint(1, 3))
        return {key: sample(shape.value, dice, depth=depth + 1, texts=texts) for key in keys}
    return _scalar(shape, dice, texts)


def sample_member(name: str, shape: Shape, dice: random.Random, *, depth: int, texts: tuple[str, ...]) -> Any:
    location = shape.serialization.get("location")
    if location in ("header", "headers"):
        texts = HEADER_TEXTS
    return sample(shape, dice, depth=depth + 1, texts=texts)


def _scalar(shape: Shape, dice: random.Random, texts: tuple[str, ...]) -> Any:
    if isinstance(shape, StringShape):
        return dice.choice(shape.enum) if shape.enum else dice.choice(texts)
    kinds: dict[str, Any] = {
        "integer": lambda: dice.randint(-5, 2**31 - 1),
        "long": lambda: dice.randint(-5, 2**53),
        "float": lambda: dice.choice((0.5, 2.0, -1.25)),
        "double": lambda: dice.choice((0.1, 2.0, -1.25e-7)),
        "boolean": lambda: dice.random() < 0.5,
        "timestamp": lambda: datetime(2026, 11, dice.randint(1, 28), dice.randint(0, 23), 5, 9, tzinfo=UTC),
        "blob": lambda: dice.randbytes(dice.randint(1, 40)),
    }
    return kinds[shape.type_name]()


def sent(operation: OperationModel, params: dict[str, Any]) -> Request:
    """The request that botocore would send."""
    protocol = operation.service_model.resolved_protocol
    request = create_serializer(protocol, False).serialize_to_request(dict(params), operation)
    prepare_request_dict(request, endpoint_url="http://localhost:4566", context={})
    return request_of(create_request_object(request).prepare())


def read(operation: OperationModel, response: Response) -> dict[str, Any]:
    """What botocore makes of a response, without its metadata."""
    parser = create_parser(operation.service_model.resolved_protocol)
    answer = {"status_code": response.status, "headers": dict(response.headers), "body": response.body}
    parsed = parser.parse(answer, operation.output_shape)
    parsed.pop("ResponseMetadata", None)
    return parsed
