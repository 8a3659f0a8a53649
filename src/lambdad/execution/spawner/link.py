"""The spawner's end of the socket to the server."""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from typing import Any

from . import messages


class Link:
    """Never blocks: what the server does not take now is sent later, in order."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._unsent: deque[tuple[bytes, list[int]]] = deque()

    def receive(self) -> tuple[int, list[Any], list[int]] | None:
        """A message and its descriptors; None if there is none now. Raises EOFError when the server is gone."""
        try:
            data, descriptors = messages.receive(self.sock)
            if not data:
                raise EOFError
            kind, values = messages.decode(data)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            raise EOFError from None
        except (OSError, messages.Malformed) as error:
            print(f"spawner: {error!r}", file=sys.stderr, flush=True)
            raise EOFError from None
        return kind, values, descriptors

    def tell(self, kind: int, *values: Any, descriptors: list[int] | None = None) -> None:
        """Sends a message; the descriptors are closed once they are sent."""
        self._unsent.append((messages.encode(kind, *values), descriptors or []))
        self.flush()

    def flush(self) -> None:
        while self._unsent:
            message, descriptors = self._unsent[0]
            try:
                messages.send(self.sock, message, descriptors)
            except BlockingIOError:
                return
            except OSError:
                pass  # the server is gone; the end of its stream is read next
            self._unsent.popleft()
            close_all(descriptors)

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)


def close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
