"""Rules about layers: names, sizes, policies."""

from __future__ import annotations

from typing import Any

import pytest

from lambdad.domain.errors import InvalidParameterValue, PolicyLengthExceeded
from lambdad.domain.functions import AttachedLayer
from lambdad.domain.layer_policies import LayerPolicy, statement
from lambdad.domain.layers import (
    MAX_UNZIPPED_BYTES,
    LayerReference,
    check_unzipped_size,
    merged_sha256,
    parse_layer_version_arn,
    trees_of,
)

ARN = "arn:aws:lambda:us-east-1:111111111111:layer:l"
ACTION = "lambda:GetLayerVersion"


def a_layer(unzipped_size: int = 1, code_sha256: str = "YQ==") -> AttachedLayer:
    return AttachedLayer(arn=f"{ARN}:1", code_sha256=code_sha256, code_size=1, unzipped_size=unzipped_size)


def test_arns_of_versions() -> None:
    assert parse_layer_version_arn(f"{ARN}:12") == (LayerReference("111111111111", "us-east-1", "l"), 12)
    assert parse_layer_version_arn("arn:aws:lambda:::awslayer:AmazonLinux1703") is None


def test_code_and_layers_may_have_250_mb_together() -> None:
    check_unzipped_size(100, [a_layer(MAX_UNZIPPED_BYTES - 101), a_layer(1)])
    with pytest.raises(InvalidParameterValue, match=r"Function code .* 262144001 bytes\."):
        check_unzipped_size(100, [a_layer(MAX_UNZIPPED_BYTES - 100), a_layer(1)])
    with pytest.raises(InvalidParameterValue, match="Layers consume more than the available size of 262144000 bytes"):
        check_unzipped_size(0, [a_layer(MAX_UNZIPPED_BYTES), a_layer(1)])


def test_the_merged_tree_depends_on_the_order() -> None:
    assert merged_sha256(["YQ=="]) == "YQ=="
    assert len({merged_sha256(["YQ==", "Yg=="]), merged_sha256(["Yg==", "YQ=="]), "YQ==", "Yg=="}) == 4
    layers = [a_layer(code_sha256="YQ=="), a_layer(code_sha256="Yg==")]
    assert trees_of(layers) == {"YQ==", "Yg==", merged_sha256(["YQ==", "Yg=="])}
    assert trees_of([]) == frozenset()


@pytest.mark.parametrize(
    ("principal", "organization", "allowed"),
    [
        ("*", None, {"222222222222", "333333333333"}),
        ("222222222222", None, {"222222222222"}),
        ("arn:aws:iam::222222222222:root", None, {"222222222222"}),
        ("*", "o-abcdefghij", set()),
    ],
)
def test_whom_a_statement_allows(principal: str, organization: str | None, allowed: set[str]) -> None:
    made = statement(sid="s", principal=principal, action=ACTION, resource=f"{ARN}:1", organization_id=organization)
    policy = LayerPolicy().added(made, None, "r")
    assert {account for account in ("222222222222", "333333333333") if policy.allows(account)} == allowed


def test_a_statement_as_text() -> None:
    made = statement(
        sid="s", principal="222222222222", action=ACTION, resource=f"{ARN}:1", organization_id="o-abcdefghij"
    )
    assert LayerPolicy().added(made, None, "r").document == (
        '{"Version":"2012-10-17","Id":"default","Statement":[{"Sid":"s","Effect":"Allow","Principal":{"AWS":'
        f'"arn:aws:iam::222222222222:root"}},"Action":"{ACTION}","Resource":"{ARN}:1",'
        '"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-abcdefghij"}}}]}'
    )


def test_a_policy_has_20_kb() -> None:
    def a_statement(number: int) -> dict[str, Any]:
        return statement(sid=f"s{number}", principal="222222222222", action=ACTION, resource=f"{ARN}:1")

    policy = LayerPolicy(statements=tuple(map(a_statement, range(90))))
    assert len(policy.added(a_statement(90), None, "r").document) < 20_480
    policy = LayerPolicy(statements=tuple(map(a_statement, range(120))))
    with pytest.raises(PolicyLengthExceeded):
        policy.added(a_statement(120), None, "r")
