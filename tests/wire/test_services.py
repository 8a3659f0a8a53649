"""Which service a request is for, without compiling the models of others."""

from __future__ import annotations

from lambdad.wire.protocols import model
from lambdad.wire.service import Answer, ApiCall, Service
from lambdad.wire.services import Services

NAMES = {"sqs": "sqs", "events": "events", "logs": "logs", "cloudwatch": "monitoring", "sns": "sns"}


async def nothing(_: ApiCall) -> Answer:
    return Answer()


def services() -> Services:
    made = [Service(name=name, signing_names=(signed,), handlers={"X": nothing}) for name, signed in NAMES.items()]
    return Services(made, at_once=())


def test_every_json_service_is_found_by_its_target():
    found = services()
    for name in NAMES:
        prefix = model.load(name, ()).target_prefix
        if prefix:
            offered = found.by_target(f"{prefix}.Anything")
            assert offered is not None
            assert offered.service.name == name


def test_targets_of_other_services_compile_nothing():
    found = services()
    assert found.by_target("DynamoDB_20120810.ListTables") is None
    assert found.by_target("") is None
    assert found._offered == {}
