"""How much of an account's concurrency functions may reserve."""

from __future__ import annotations

from collections.abc import Iterable

from lambdad.domain.errors import InvalidParameterValue

ACCOUNT_LIMIT = 1000
"""Concurrent executions of an account in a region (AWS Lambda quotas)."""
UNRESERVED_MINIMUM = 100
"""What functions without a reservation always keep between them."""


def unreserved(reservations: Iterable[int]) -> int:
    """Concurrency left for functions without a reservation."""
    return ACCOUNT_LIMIT - sum(reservations)


def check_reservation(requested: int, others: int) -> None:
    """Whether a function may reserve `requested` when the account's other functions reserve `others` in all.

    Raises InvalidParameterValue in AWS's words, without `Type` in the body (AWS: recorded).
    """
    if ACCOUNT_LIMIT - others - requested < UNRESERVED_MINIMUM:
        raise InvalidParameterValue(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{UNRESERVED_MINIMUM}].",
            typed=False,
        )
