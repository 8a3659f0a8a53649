"""How much of an account's concurrency functions may reserve, and have provisioned."""

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


def check_reservation(requested: int, others: int, limit: int = ACCOUNT_LIMIT, *, provisioned: int = 0) -> None:
    """Whether a function may reserve `requested` when the account's other functions have `others` set aside in all,
    and the function itself has `provisioned`.

    Raises InvalidParameterValue in AWS's words, without `Type` in the body (AWS: recorded).
    """
    if requested < provisioned:
        # The blanks are AWS's.
        raise InvalidParameterValue(
            f" ReservedConcurrentExecutions  {requested} should not be lower than function's total provisioned "
            f"concurrency [{provisioned}].",
            typed=False,
        )
    minimum = min(UNRESERVED_MINIMUM, limit)
    if requested and limit - others - requested < minimum:
        raise InvalidParameterValue(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{minimum}].",
            typed=False,
        )


def check_provisioned(
    requested: int, *, others: int, reserved: int | None, elsewhere: int, limit: int = ACCOUNT_LIMIT
) -> None:
    """Whether a qualifier may have `requested` provisioned when the function's other qualifiers have `others`, the
    function reserves `reserved`, and the account's other functions have `elsewhere` set aside.

    Raises InvalidParameterValue in AWS's words (AWS: recorded 2025-11); only the first of them has `Type`.
    """
    if reserved is not None:
        if others + requested > reserved:
            raise InvalidParameterValue(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for "
                "function"
            )
        return
    free = limit - elsewhere - others
    if requested > free:
        raise InvalidParameterValue(
            f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{free}].",
            typed=False,
        )
    minimum = min(UNRESERVED_MINIMUM, limit)
    if free - requested < minimum:
        raise InvalidParameterValue(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
            f"minimum value of [{minimum}].",
            typed=False,
        )
