"""An environment's own network: empty, but for a loopback interface and the listener of the Runtime API on it.

A listener belongs to the network in which it was made, whoever serves it; so the supervisor makes it inside, and the
server, which stays outside, gets it by descriptor. Runs on Python 3.8 and newer.
"""

from __future__ import annotations

import fcntl
import socket
import struct

ADDRESS = ("127.0.0.1", 9001)
"""Where AWS's emulator has the Runtime API (RIE); in a network of its own every environment can have it there."""
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_INTERFACE = struct.Struct("=16sH22x")


class NoNetwork(OSError):
    """A function must not be started, because it would have the machine's network."""

    def __str__(self) -> str:
        return str(self.strerror)


def make_listener() -> socket.socket:
    """Brings the loopback interface up and listens on it. Called inside a new network namespace."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    _, flags = _INTERFACE.unpack(fcntl.ioctl(sock, _SIOCGIFFLAGS, _INTERFACE.pack(b"lo", 0)))
    fcntl.ioctl(sock, _SIOCSIFFLAGS, _INTERFACE.pack(b"lo", flags | _IFF_UP))
    sock.bind(ADDRESS)
    sock.listen(128)
    return sock
