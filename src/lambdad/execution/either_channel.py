"""A runtime of which only its first word tells what it speaks: frames, or HTTP.

AWS_LAMBDA_EXEC_WRAPPER may put any program in the place of our bootstrap, and extensions may take over the Runtime API
for a program that does not know it (AWS Lambda Web Adapter does both). Whoever is ready first is the runtime; the other
side falls silent.
"""

from __future__ import annotations

from lambdad.domain.invocations import Invocation
from lambdad.execution.channel import ChannelEvents, RuntimeChannel


class EitherChannel:
    """Channels of which one comes into use (RuntimeChannel). Give each a `Half` as its events."""

    def __init__(self, events: ChannelEvents) -> None:
        self.events = events
        self.chosen: Half | None = None
        self._channels: dict[Half, RuntimeChannel] = {}
        self._is_silent = False
        self._is_closed = False

    def half(self) -> Half:
        """The events of one of the channels, which is to be added afterwards."""
        return Half(self)

    def add(self, half: Half, channel: RuntimeChannel) -> None:
        self._channels[half] = channel
        if self._is_closed:
            channel.close()
        elif self._is_silent or self.chosen not in (None, half):
            channel.silence()

    def choose(self, chosen: Half) -> None:
        self.chosen = chosen
        for half, channel in self._channels.items():
            if half is not chosen:
                channel.silence()

    @property
    def _channel(self) -> RuntimeChannel:
        if self.chosen is None:
            raise RuntimeError("the runtime has not asked for an invocation yet")
        return self._channels[self.chosen]

    def deliver(self, invocation: Invocation) -> None:
        self._channel.deliver(invocation)

    def keep_turning(self) -> None:
        self._channel.keep_turning()

    def pause(self) -> None:
        self._channel.pause()

    def resume(self) -> None:
        self._channel.resume()

    def silence(self) -> None:
        self._is_silent = True
        for channel in self._channels.values():
            channel.silence()

    def close(self) -> None:
        self._is_closed = True
        for channel in self._channels.values():
            channel.close()


class Half:
    """What one of the channels tells; passed on from the one in use alone (ChannelEvents)."""

    def __init__(self, either: EitherChannel) -> None:
        self._either = either

    @property
    def _is_chosen(self) -> bool:
        return self._either.chosen is self

    def ready(self) -> None:
        if self._either.chosen is None:
            self._either.choose(self)
            self._either.events.ready()

    def init_failed(self, error_type: str, body: bytes) -> None:
        if self._either.chosen is None:
            self._either.events.init_failed(error_type, body)

    def responded(self, body: bytes, content_type: str, peak_kib: int) -> None:
        if self._is_chosen:
            self._either.events.responded(body, content_type, peak_kib)

    def failed(self, error_type: str, body: bytes, peak_kib: int) -> None:
        if self._is_chosen:
            self._either.events.failed(error_type, body, peak_kib)

    def stream_started(self, content_type: str) -> None:
        if self._is_chosen:
            self._either.events.stream_started(content_type)

    def stream_chunk(self, data: bytes) -> None:
        if self._is_chosen:
            self._either.events.stream_chunk(data)

    def stream_ended(self, error_type: str, error_body: bytes, peak_kib: int) -> None:
        if self._is_chosen:
            self._either.events.stream_ended(error_type, error_body, peak_kib)

    def response_too_large(self) -> None:
        if self._is_chosen:
            self._either.events.response_too_large()

    def next_requested(self) -> None:
        if self._is_chosen:
            self._either.events.next_requested()

    def channel_closed(self) -> None:
        # A program that does not speak frames may well close what it does not know.
        if self._is_chosen:
            self._either.events.channel_closed()
