"""Event stream framing, read back by botocore."""

from __future__ import annotations

import json

from botocore.eventstream import EventStreamBuffer

from lambdad.wire.eventstream import invoke_complete, payload_chunk


def test_botocore_reads_what_we_write() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(payload_chunk(b"\x00first") + payload_chunk(b"") + invoke_complete(log_result="dGFpbA=="))
    first, empty, complete = list(buffer)
    assert first.payload == b"\x00first"
    assert first.headers == {
        ":message-type": "event",
        ":event-type": "PayloadChunk",
        ":content-type": "application/octet-stream",
    }
    assert empty.payload == b""
    assert complete.headers[":event-type"] == "InvokeComplete"
    assert json.loads(complete.payload) == {"LogResult": "dGFpbA=="}


def test_members_that_are_empty_are_left_out() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(invoke_complete())
    assert next(iter(buffer)).payload == b"{}"
