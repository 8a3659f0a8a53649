from lambdad.domain.log_follow import LogFollower


def an_event(number: int, timestamp_ms: int) -> dict[str, object]:
    return {"eventId": str(number), "timestamp": timestamp_ms, "message": f"{number}\n"}


def test_every_event_is_taken_once_and_little_is_asked_twice() -> None:
    follower = LogFollower(1_000, overlap_ms=100)
    first = [an_event(1, 1_000), an_event(2, 1_500)]
    assert list(follower.take(first)) == first
    follower.end_poll()
    assert follower.start_ms == 1_400
    late = an_event(3, 1_450)
    assert list(follower.take([late, first[1], an_event(4, 1_600)])) == [late, an_event(4, 1_600)]
    follower.end_poll()
    assert follower.start_ms == 1_500
    assert set(follower._seen) == {"2", "4"}


def test_it_never_asks_for_what_was_before_its_start() -> None:
    assert LogFollower(1_000, overlap_ms=5_000).start_ms == 1_000
