"""The frames channel, spoken to by hand: what it sends, what it tells, what it refuses."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lambdad.domain.failures import RESPONSE_LIMIT_BYTES
from lambdad.domain.invocations import Invocation
from lambdad.execution.frames import NEXT_STATE, FramesChannel, Kind, State, open_pair
from tests.execution.recording import RecordedEvents


def an_invocation(request_id: str = "id-1", event: bytes = b"{}", **values: Any) -> Invocation:
    return Invocation(
        request_id=request_id,
        event=event,
        deadline_ms=1_700_000_000_123,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:f",
        trace_id="Root=1-2-3",
        **values,
    )


def a_text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data


def a_frame(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IB", len(payload) + 1, kind) + payload


READY = a_frame(Kind.READY)


def a_response(body: bytes, content_type: str = "application/json", peak_kib: int = 0) -> bytes:
    return a_frame(Kind.RESPONSE, a_text(content_type) + struct.pack(">I", peak_kib) + body)


class Runtime:
    """The other end: plain reads and writes on the inherited socket, off the loop's thread where they may block."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(10)

    async def send(self, data: bytes) -> None:
        await asyncio.to_thread(self.sock.sendall, data)

    async def invocation(self) -> tuple[int, list[str], bytes]:
        """Deadline, the six texts and the event of the next INVOKE."""
        head = await self._exactly(5)
        length, kind = struct.unpack(">IB", head)
        assert kind == Kind.INVOKE
        payload = await self._exactly(length - 1)
        (deadline,) = struct.unpack_from(">Q", payload)
        position, texts = 8, []
        for _ in range(6):
            (size,) = struct.unpack_from(">I", payload, position)
            texts.append(payload[position + 4 : position + 4 + size].decode())
            position += 4 + size
        return deadline, texts, payload[position:]

    async def _exactly(self, size: int) -> bytes:
        def read() -> bytes:
            data = bytearray()
            while len(data) < size:
                piece = self.sock.recv(size - len(data))
                assert piece
                data += piece
            return bytes(data)

        return await asyncio.to_thread(read)


class Link:
    def __init__(self) -> None:
        ours, theirs = open_pair()
        self.events = RecordedEvents()
        self.channel = FramesChannel(ours, self.events)
        self.runtime = Runtime(theirs)

    async def busy(self, invocation: Invocation | None = None) -> None:
        await self.runtime.send(READY)
        assert await self.events.next() == ("ready",)
        self.channel.deliver(invocation or an_invocation())
        await self.runtime.invocation()


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    link = Link()
    yield link
    link.channel.close()
    link.runtime.sock.close()


async def test_an_invocation_carries_all_its_values(link: Link) -> None:
    await link.runtime.send(READY)
    await link.events.until("ready")
    link.channel.deliver(
        an_invocation(event="{“ü”}".encode(), client_context='{"custom":{"ä":1}}', cognito_identity="{}", tenant_id="t")
    )
    deadline, texts, event = await link.runtime.invocation()
    assert deadline == 1_700_000_000_123
    assert texts == [
        "id-1",
        "arn:aws:lambda:us-east-1:123456789012:function:f",
        "Root=1-2-3",
        '{"custom":{"ä":1}}',
        "{}",
        "t",
    ]
    assert event.decode() == "{“ü”}"


async def test_an_idle_runtime_gets_its_invocation_in_the_same_tick(link: Link) -> None:
    await link.runtime.send(READY)
    await link.events.until("ready")
    link.channel.deliver(an_invocation())
    link.runtime.sock.setblocking(False)
    assert link.runtime.sock.recv(5)  # no await since deliver


async def test_an_invocation_delivered_during_init_waits_for_ready(link: Link) -> None:
    link.channel.deliver(an_invocation("early"))
    link.runtime.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        link.runtime.sock.recv(1)
    link.runtime.sock.settimeout(10)
    await link.runtime.send(READY)
    _, texts, _ = await link.runtime.invocation()
    assert texts[0] == "early"


async def test_a_response_is_told_and_then_that_the_runtime_waits(link: Link) -> None:
    await link.busy()
    await link.runtime.send(a_response(b'"\xc3\xa4"', "text/plain", 4711))
    assert await link.events.until("next_requested") == [
        ("responded", b'"\xc3\xa4"', "text/plain", 4711),
        ("next_requested",),
    ]


async def test_an_error_is_told_with_its_type(link: Link) -> None:
    await link.busy()
    await link.runtime.send(a_frame(Kind.ERROR, a_text("Runtime.Xy") + struct.pack(">I", 5) + b'{"errorType":"X"}'))
    assert await link.events.until("next_requested") == [
        ("failed", "Runtime.Xy", b'{"errorType":"X"}', 5),
        ("next_requested",),
    ]


async def test_an_init_error_is_followed_by_the_end_only(link: Link) -> None:
    await link.runtime.send(a_frame(Kind.INIT_ERROR, a_text("Exception") + struct.pack(">I", 0) + b"{}"))
    link.runtime.sock.close()
    assert await link.events.until("channel_closed") == [("init_failed", "Runtime.Unknown", b"{}"), ("channel_closed",)]


async def test_a_fatal_error_is_told_and_the_runtime_gets_nothing_more(link: Link) -> None:
    await link.busy()
    await link.runtime.send(a_frame(Kind.FATAL, a_text("Error") + struct.pack(">I", 5) + b"{}"))
    link.runtime.sock.close()
    assert await link.events.until("channel_closed") == [("failed", "Runtime.Unknown", b"{}", 5), ("channel_closed",)]


async def test_a_fatal_error_in_mid_stream_ends_the_stream(link: Link) -> None:
    await link.busy()
    await link.runtime.send(a_frame(Kind.STREAM_START, a_text("text/html")))
    await link.runtime.send(a_frame(Kind.FATAL, a_text("Error") + struct.pack(">I", 5) + b"{}"))
    link.runtime.sock.close()
    assert (await link.events.until("channel_closed"))[1:] == [
        ("stream_ended", "Runtime.Unknown", b"{}", 5),
        ("channel_closed",),
    ]


async def test_a_stream_is_passed_on_piece_by_piece(link: Link) -> None:
    await link.busy()
    await link.runtime.send(a_frame(Kind.STREAM_START, a_text("text/html")))
    assert await link.events.next() == ("stream_started", "text/html")
    large = bytes(range(256)) * 2000
    half_a_frame = a_frame(Kind.STREAM_CHUNK, large)
    await link.runtime.send(half_a_frame[:1000])
    assert (await link.events.next())[1] == large[:995]  # not held back until the frame is whole
    await link.runtime.send(half_a_frame[1000:] + a_frame(Kind.STREAM_CHUNK))
    await link.runtime.send(a_frame(Kind.STREAM_END, a_text("Function.Bad") + struct.pack(">I", 9) + b"{}"))
    rest = await link.events.until("next_requested")
    assert b"".join(told[1] for told in rest[:-2]) == large[995:]
    assert rest[-2:] == [("stream_ended", "Function.Bad", b"{}", 9), ("next_requested",)]


@pytest.mark.parametrize("size", [65_530, 65_536, 70_000, RESPONSE_LIMIT_BYTES])
async def test_large_payloads_pass_both_ways(link: Link, size: int) -> None:
    payload = random.Random(size).randbytes(size)
    await link.runtime.send(READY)
    await link.events.until("ready")
    link.channel.deliver(an_invocation(event=payload))
    _, _, event = await link.runtime.invocation()
    assert event == payload
    await link.runtime.send(a_response(event))
    assert (await link.events.next())[1] == payload
    assert await link.events.next() == ("next_requested",)


@pytest.mark.parametrize("excess", [1, 5000, 10_000_000])
async def test_a_response_over_the_limit_is_dropped_and_the_runtime_stays_usable(link: Link, excess: int) -> None:
    await link.busy()
    await link.runtime.send(a_response(b"x" * (RESPONSE_LIMIT_BYTES + excess)))
    assert await link.events.until("next_requested") == [("response_too_large",), ("next_requested",)]
    link.channel.deliver(an_invocation("second"))
    _, texts, _ = await link.runtime.invocation()
    assert texts[0] == "second"
    await link.runtime.send(a_response(b"1"))
    assert (await link.events.next())[:2] == ("responded", b"1")


async def test_frames_may_arrive_byte_by_byte(link: Link) -> None:
    stream = READY + a_response(b"abc")
    for index, byte in enumerate(stream):
        if index == len(READY):
            await link.events.until("ready")
            link.channel.deliver(an_invocation())
        await link.runtime.send(bytes([byte]))
    assert await link.events.until("next_requested") == [
        ("responded", b"abc", "application/json", 0),
        ("next_requested",),
    ]


async def test_the_next_invocation_may_be_delivered_from_within_the_answer(link: Link) -> None:
    await link.busy()
    link.events.hooks["responded"] = lambda: link.channel.deliver(an_invocation("second"))
    await link.runtime.send(a_response(b"1"))
    await link.events.until("next_requested")
    _, texts, _ = await link.runtime.invocation()
    assert texts[0] == "second"


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(a_response(b"unasked"), id="response-before-ready"),
        pytest.param(a_frame(0x7F), id="unknown-kind"),
        pytest.param(struct.pack(">I", 0) + b"zzzz", id="length-zero"),
        pytest.param(a_frame(Kind.INIT_ERROR, struct.pack(">I", 1000)), id="text-longer-than-frame"),
        pytest.param(struct.pack(">IB", 1 << 31, Kind.INIT_ERROR), id="absurd-length"),
        pytest.param(a_frame(Kind.READY, b"payload"), id="ready-with-payload"),
        pytest.param(READY + READY, id="ready-twice"),
    ],
)
async def test_what_breaks_the_protocol_ends_the_channel(link: Link, bad: bytes) -> None:
    await link.runtime.send(bad)
    assert (await link.events.until("channel_closed"))[-1] == ("channel_closed",)
    assert link.channel.state is State.CLOSED


async def test_a_second_answer_ends_the_channel(link: Link) -> None:
    await link.busy()
    await link.runtime.send(a_response(b"1") + a_response(b"2"))
    told = await link.events.until("channel_closed")
    assert [what[0] for what in told] == ["responded", "next_requested", "channel_closed"]


async def test_a_runtime_that_ends_closes_the_channel_once(link: Link) -> None:
    await link.busy()
    link.runtime.sock.close()
    await link.events.until("channel_closed")
    link.channel.deliver(an_invocation())  # too late, and harmless
    assert link.events.told.count(("channel_closed",)) == 1


async def test_delivering_to_a_runtime_that_is_gone_tells_its_end(link: Link) -> None:
    await link.runtime.send(READY)
    await link.events.until("ready")
    link.runtime.sock.close()
    link.channel.deliver(an_invocation(event=b"x" * 3_000_000))
    await link.events.until("channel_closed")


async def test_close_is_silent_and_may_happen_inside_an_event(link: Link) -> None:
    await link.busy()
    link.events.hooks["responded"] = link.channel.close
    await link.runtime.send(a_response(b"1"))
    await link.events.until("responded")
    assert [told[0] for told in link.events.told] == ["ready", "responded"]


async def test_a_busy_runtime_takes_no_second_invocation(link: Link) -> None:
    await link.busy()
    with pytest.raises(RuntimeError, match="busy"):
        link.channel.deliver(an_invocation())


async def test_random_bytes_never_raise_into_the_loop() -> None:
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context))
    source = random.Random(7)
    makers: list[Callable[[], bytes]] = [
        lambda: source.randbytes(source.randrange(1, 60)),
        lambda: a_frame(source.choice(list(Kind)), source.randbytes(source.randrange(30))),
        lambda: READY,
        lambda: a_response(b"x"),
    ]
    for _ in range(300):
        link = Link()
        link.events.hooks["ready"] = lambda channel=link.channel: channel.deliver(an_invocation())  # type: ignore[misc]
        link.runtime.sock.sendall(b"".join(source.choice(makers)() for _ in range(source.randrange(1, 5))))
        link.runtime.sock.close()
        await link.events.until("channel_closed")
    assert raised == []


def test_every_state_has_a_row_in_the_table() -> None:
    assert set(NEXT_STATE) == set(State)
