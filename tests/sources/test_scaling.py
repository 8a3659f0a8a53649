"""How many batches may run at once."""

from __future__ import annotations

from lambdad.sources.scaling import MOST, Scale


def test_five_at_first_then_five_more_a_second() -> None:
    scale = Scale()
    assert scale.has_room(4, 0.0)
    assert not scale.has_room(5, 0.0)
    assert not scale.has_room(5, 0.1)
    assert scale.has_room(5, 0.2)
    assert scale.limit == 6
    assert not scale.has_room(6, 0.2)
    assert scale.has_room(6, 1.2)
    assert scale.limit == 11


def test_time_without_need_does_not_count() -> None:
    scale = Scale()
    assert not scale.has_room(5, 0.0)
    assert scale.has_room(4, 100.0)
    assert not scale.has_room(5, 101.0)
    assert scale.limit == 5


def test_idleness_begins_anew() -> None:
    scale = Scale()
    scale.has_room(5, 0.0)
    scale.has_room(5, 10.0)
    assert scale.limit == 55
    assert scale.has_room(0, 20.0)
    assert scale.limit == 5


def test_never_beyond_the_mappings_maximum_or_the_services() -> None:
    small, large = Scale(2), Scale()
    for scale, most in ((small, 2), (large, MOST)):
        scale.has_room(most, 0.0)
        scale.has_room(most, 100_000.0)
        assert scale.limit == most
        assert scale.step_s is None
