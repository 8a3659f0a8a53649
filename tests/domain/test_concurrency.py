"""How much concurrency functions may reserve."""

from __future__ import annotations

import pytest

from lambdad.domain.concurrency import check_reservation, unreserved
from lambdad.domain.errors import InvalidParameterValue


def test_reservations_leave_a_hundred() -> None:
    check_reservation(900, 0)
    check_reservation(0, 900)
    for requested, others in ((901, 0), (1, 900)):
        with pytest.raises(InvalidParameterValue, match=r"below its minimum value of \[100\]") as error:
            check_reservation(requested, others)
        assert not error.value.typed
    assert unreserved([100, 50]) == 850


def test_small_accounts_keep_everything_unreserved() -> None:
    assert unreserved([], 10) == 10
    check_reservation(0, 0, 10)
    with pytest.raises(InvalidParameterValue, match=r"below its minimum value of \[10\]"):
        check_reservation(1, 0, 10)
