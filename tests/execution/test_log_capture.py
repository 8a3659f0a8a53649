"""What a function prints on its way from the pipe to its log stream."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from lambdad.clock import SystemClock
from lambdad.domain.functions import LoggingConfig
from lambdad.execution import log_capture
from lambdad.execution.log_capture import LogCapture
from tests.execution.scripted import RecordedStream


class Printing:
    def __init__(self) -> None:
        self.text = bytearray()
        self.capture = LogCapture(
            RecordedStream(self.text), SystemClock(), LoggingConfig(log_format="Text", log_group="/aws/lambda/f")
        )
        reader, self._writer = os.pipe()
        os.set_blocking(reader, False)
        self.capture.attach(reader)

    def prints(self, data: bytes) -> None:
        os.write(self._writer, data)
        self.capture.drain()

    def close(self) -> None:
        os.close(self._writer)
        self.capture.close()


@pytest.fixture
async def printing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Printing]:
    monkeypatch.setattr(log_capture, "INVOCATION_LIMIT_BYTES", 100)
    printing = Printing()
    printing.capture.begin(tail=True)
    yield printing
    printing.close()


def notice(size: int) -> bytes:
    return b"lambdad: %d bytes of log output were dropped; one invocation may print 100 bytes\n" % size


async def test_output_above_the_limit_is_dropped_with_a_notice(printing: Printing) -> None:
    for number in range(50):
        printing.prints(b"line %4d\n" % number)
    kept = b"".join(b"line %4d\n" % number for number in range(10))
    assert bytes(printing.text) == kept
    printing.capture.end()
    assert bytes(printing.text) == kept + notice(400)


async def test_a_piece_that_passes_the_limit_is_cut_at_a_line(printing: Printing) -> None:
    printing.prints(b"".join(b"line %4d\n" % number for number in range(50)))
    printing.capture.end()
    kept = b"".join(b"line %4d\n" % number for number in range(10))
    assert bytes(printing.text) == kept + notice(400)


async def test_a_line_without_end_is_dropped_too(printing: Printing) -> None:
    printing.prints(b"x" * 299)
    printing.capture.end()
    assert bytes(printing.text) == notice(200)


async def test_the_next_invocation_may_print_again(printing: Printing) -> None:
    printing.prints(b"x\n" * 100)
    printing.capture.begin(tail=False)
    printing.text.clear()
    printing.prints(b"again\n")
    printing.capture.end()
    assert bytes(printing.text) == b"again\n"


async def test_the_tail_shows_the_end_all_the_same(printing: Printing) -> None:
    printing.prints(b"x\n" * 100)
    printing.prints(b"the last words\n")
    printing.capture.end()
    assert printing.capture.tail().endswith(b"the last words\n" + notice(115))
