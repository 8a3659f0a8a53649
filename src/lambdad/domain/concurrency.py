"""How much of an account's concurrency functions may reserve."""

from __future__ import annotations

from collections.abc import Iterable

from lambdad.domain.errors import InvalidParameterValue

ACCOUNT_LIMIT = 1000
"""Concurrent executions of an account in a region, unless it is set otherwise (AWS Lambda quotas)."""
UNRESERVED_MINIMUM = 100
"""What functions without a reservation always keep between them; all of it in accounts with a smaller limit."""


def unreserved(reservations: Iterable[int], limit: int = ACCOUNT_LIMIT) -> int:
    """Concurrency left for functions without a reservation."""
    return limit - sum(reservations)


def check_reservation(requested: int, others: int, limit: int = ACCOUNT_LIMIT) -> None:
    """Whether a function may reserve `requested` when the account's other functions reserve `others` in all.

    Raises InvalidParameterValue in AWS's words, without `Type` in the body (AWS: recorded).
    """
    minimum = min(UNRESERVED_MINIMUM, limit)
    if requested and limit - others - requested < minimum:
        raise InvalidParameterValue(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{minimum}].",
            typed=False,
        )
