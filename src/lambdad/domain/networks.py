"""VPC settings of functions. They are checked, kept and shown; there is no network here to put a function into.

There is no EC2 either, so one rule stands for it: an id as EC2 gives it today (17 hexadecimal digits) is taken for one
that exists, in the one VPC that an account has in a region. Every other subnet or security group does not exist.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.functions import VpcConfig

_ID = re.compile(r"(subnet|sg)-[0-9a-f]{17}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcChange:
    """Members of VpcConfig that a request gave; None keeps what is there."""

    subnet_ids: tuple[str, ...] | None = None
    security_group_ids: tuple[str, ...] | None = None
    ipv6_allowed: bool | None = None


def changed_vpc(current: VpcConfig | None, change: VpcChange, *, account: str, region: str) -> VpcConfig:
    """The settings with the change made and checked; empty lists take a function out of its VPC."""
    current = current or VpcConfig()
    subnets = current.subnet_ids if change.subnet_ids is None else change.subnet_ids
    groups = current.security_group_ids if change.security_group_ids is None else change.security_group_ids
    if bool(subnets) != bool(groups):
        raise InvalidParameterValue("SubnetIds and SecurityIds must coexist or be both empty list.")  # (AWS: captured)
    # AWS looks at the groups first (AWS: recorded 2025-11, as are the texts).
    missing = _missing(groups)
    if missing is not None:
        raise InvalidParameterValue(
            "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. "
            f"EC2 Error Message: The security group '{missing}' does not exist"
        )
    missing = _missing(subnets)
    if missing is not None:
        raise InvalidParameterValue(
            "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. "
            f"EC2 Error Message: The subnet ID '{missing}' does not exist"
        )
    return VpcConfig(
        subnet_ids=subnets,
        security_group_ids=groups,
        vpc_id=_vpc_of(account, region) if subnets else "",
        ipv6_allowed=current.ipv6_allowed if change.ipv6_allowed is None else change.ipv6_allowed,
    )


def _missing(ids: Sequence[str]) -> str | None:
    return next((one for one in ids if _ID.fullmatch(one) is None), None)


def _vpc_of(account: str, region: str) -> str:
    return f"vpc-{hashlib.sha256(f'{account} {region}'.encode()).hexdigest()[:17]}"
