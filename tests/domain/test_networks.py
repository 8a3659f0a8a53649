"""VPC settings: what stays, what is refused."""

from __future__ import annotations

import pytest

from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.functions import VpcConfig
from lambdad.domain.networks import VpcChange, changed_vpc

SUBNETS = ("subnet-0123456789abcdef0", "subnet-0123456789abcdef1")
GROUPS = ("sg-0123456789abcdef0",)


def change(current: VpcConfig | None = None, *, account: str = "111111111111", **members: object) -> VpcConfig:
    return changed_vpc(current, VpcChange(**members), account=account, region="us-east-1")  # type: ignore[arg-type]


def test_an_account_has_one_vpc() -> None:
    first = change(subnet_ids=SUBNETS[:1], security_group_ids=GROUPS)
    assert first.vpc_id == change(subnet_ids=SUBNETS[1:], security_group_ids=GROUPS).vpc_id
    assert first.vpc_id != change(account="222222222222", subnet_ids=SUBNETS, security_group_ids=GROUPS).vpc_id


def test_members_that_are_not_given_stay() -> None:
    current = change(subnet_ids=SUBNETS, security_group_ids=GROUPS, ipv6_allowed=True)
    assert change(current) == current
    assert change(current, ipv6_allowed=False).subnet_ids == SUBNETS
    assert change(current, subnet_ids=SUBNETS[:1]).security_group_ids == GROUPS
    cleared = change(current, subnet_ids=(), security_group_ids=())
    assert (cleared.subnet_ids, cleared.security_group_ids, cleared.vpc_id) == ((), (), "")


@pytest.mark.parametrize(
    ("subnets", "groups", "text"),
    [
        (SUBNETS, (), "SubnetIds and SecurityIds must coexist or be both empty list."),
        ((), GROUPS, "SubnetIds and SecurityIds must coexist or be both empty list."),
        (("subnet-1",), ("sg-1",), "The security group 'sg-1' does not exist"),
        ((*SUBNETS, "subnet-0123456789abcdefg"), GROUPS, "The subnet ID 'subnet-0123456789abcdefg' does not exist"),
    ],
)
def test_what_is_refused(subnets: tuple[str, ...], groups: tuple[str, ...], text: str) -> None:
    with pytest.raises(InvalidParameterValue, match=text):
        change(subnet_ids=subnets, security_group_ids=groups)
