"""Segments give back what was packed, event by event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdad.domain.logs import MAX_EVENT_BYTES
from lambdad.storage.log_segments import MAX_SPAN_MS, SEGMENT_BYTES, Chunk, Kind, pack, unpack


def events_of(chunks: list[Chunk]) -> list[tuple[int, bytes]]:
    return [event for segment in pack(chunks) for event in unpack(segment.first_ms, segment.data)]


def test_lines_become_events() -> None:
    chunks = [
        (1000, Kind.LINES, b"START\none\n"),
        (1001, Kind.LINES, b"\n"),
        (1001, Kind.EVENT, b"two\nlines"),
        (1002, Kind.LINES, b"no newline"),
    ]
    assert events_of(chunks) == [
        (1000, b"START\n"),
        (1000, b"one\n"),
        (1001, b"\n"),
        (1001, b"two\nlines"),
        (1002, b"no newline"),
    ]


def test_newlines_inside_a_record_are_restored_and_carriage_returns_kept() -> None:
    assert events_of([(0, Kind.LINES, b"a\xffb\nanother\rline\n")]) == [(0, b"a\nb\n"), (0, b"another\rline\n")]
    assert events_of([(0, Kind.LINES_CR, b"a\rb\nc\rd")]) == [(0, b"a\nb\n"), (0, b"c\nd")]


def test_a_segment_spans_little_time_and_time_may_run_backwards() -> None:
    stamps = [0, MAX_SPAN_MS, MAX_SPAN_MS + 1, 10**6, 5, 6]
    segments = list(pack([(stamp, Kind.LINES, b"x\n") for stamp in stamps]))
    assert [(segment.first_ms, segment.last_ms) for segment in segments] == [
        (0, MAX_SPAN_MS),
        (MAX_SPAN_MS + 1, MAX_SPAN_MS + 1),
        (10**6, 10**6),
        (5, 6),
    ]


@pytest.mark.parametrize("kind", [Kind.LINES, Kind.LINES_CR])
def test_much_text_becomes_segments_of_limited_size(kind: Kind) -> None:
    text = b"".join(b"line %d\n" % number for number in range(200_000))
    segments = list(pack([(0, kind, text)]))
    assert max(segment.size for segment in segments) <= 2 * SEGMENT_BYTES
    assert b"".join(data for segment in segments for _, data in unpack(0, segment.data)) == text


@pytest.mark.parametrize("ending", [b"\n", b"", b"\nrest\n"])
def test_lines_above_the_limit_of_an_event_are_split_between_characters(ending: bytes) -> None:
    line = "ä".encode() * (MAX_EVENT_BYTES + 7)
    events = [data for _, data in events_of([(0, Kind.LINES, b"before\n" + line + ending)])]
    assert b"".join(events) == b"before\n" + line + ending
    assert max(map(len, events)) <= MAX_EVENT_BYTES
    for data in events:
        data.decode()
    assert len(events) == (5 if ending == b"\nrest\n" else 4)


def test_whole_events_above_the_limit_are_split() -> None:
    events = [data for _, data in events_of([(0, Kind.EVENT, b"\n" * (MAX_EVENT_BYTES + 1))])]
    assert [len(data) for data in events] == [MAX_EVENT_BYTES, 1]


def test_a_line_of_almost_a_megabyte_is_one_event() -> None:
    line = b"x" * (MAX_EVENT_BYTES - 1) + b"\n"
    assert events_of([(0, Kind.LINES, b"a\n" + line + b"b\n" * 200_000)])[:2] == [(0, b"a\n"), (0, line)]


CHUNKS = st.tuples(
    st.integers(0, 20_000),
    st.sampled_from([Kind.EVENT, Kind.LINES]),
    st.binary(min_size=1, max_size=300).map(lambda data: data.replace(b"\xff", b"\n").replace(b"0", b"\n")),
)


@given(st.lists(CHUNKS, max_size=30))
def test_nothing_is_lost_or_moved(chunks: list[Chunk]) -> None:
    expected: list[tuple[int, bytes]] = []
    for stamp, kind, data in chunks:
        if kind is Kind.EVENT:
            expected.append((stamp, data))
        else:
            expected += [(stamp, line + b"\n") for line in data.split(b"\n")[:-1]]
            expected += [(stamp, rest) for rest in data.split(b"\n")[-1:] if rest]
    assert events_of(chunks) == expected
