"""The fixed-form messages between server, spawner and zygotes, one a datagram on a SOCK_SEQPACKET socket.

A message is a kind (u8) and the values that its form lists: `i` a u64, `s` a text (u32 length, UTF-8), `l` a list of
texts (u32 count, then all of them as one text, with NUL between: no variable, path or name holds one). Descriptors
travel beside it (SCM_RIGHTS), in the order that the form's comment tells. Anything else raises Malformed. Also loaded
by zygotes: runs on Python 3.8 and newer.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

MAXIMUM_SIZE = 192 * 1024
"""Bytes of one message; below Linux's usual limit of 208 KiB for a socket's buffer."""
MAXIMUM_DESCRIPTORS = 24

# Server to spawner.
LAUNCH = 1
KILL = 2
RELEASE = 3
PREPARE = 4
REPORT = 5
FREEZE = 6
THAW = 7
TERMINATE = 8
BIND = 9
INIT_OVER = 10
# Spawner to server.
LAUNCHED = 16
LAUNCH_FAILED = 17
EXITED = 18
PREPARED = 19
REPORTED = 20
PART_ENDED = 21
BOUND = 22
# Spawner to zygote.
FORK = 32
REAP = 33
# Zygote to spawner.
STARTED = 48
FORKED = 49
FORK_FAILED = 50
# An environment's supervisor to the spawner.
RUNNING = 64
NOT_RUNNING = 65
ENDED = 66
EXTENSION_ENDED = 67
ATTACHED = 68
LISTENING = 69
# The spawner to an environment's supervisor.
ATTACH = 80
ORDER = 81
# The spawner to the runtime that the supervisor has forked.
START = 82

# Flags of FORK, ORDER, START and ATTACH.
NAMESPACES = 1
OWN_NETWORK = 2
USER_NAMESPACE = 4
LANDLOCK = 8
INTO_GROUP = 16
"""Begins in its control group; else it joins its groups itself."""
HAS_FREEZER = 32
HAS_EXTENSIONS = 64
HAS_TASK = 128
HAS_LAYERS = 256
HAS_TMP = 512
HAS_HOSTS = 1024
HAS_FRAMES = 2048
WRAPPED = 4096
UNBOUND = 8192
"""The runtime waits for its function, whose code comes later; until then nothing of a user's runs."""

FORMS = {
    # An empty task dir leaves the environment without code until it is bound.
    # sequence, environment id, kind, interpreter, argv, environ (NAME=value), task dir, directory of the layers,
    # memory MB, tmp MB, extensions (programs as seen inside), their environ, address of
    # sandbox.localdomain (empty: 127.0.0.1), what else is shown in /var/runtime, whether it has its own network;
    # descriptors: output, frames if there are any, output of extensions if there are any
    LAUNCH: "isssllssiillsli",
    KILL: "s",  # environment id
    RELEASE: "s",  # environment id
    PREPARE: "issi",  # sequence, kind, interpreter, whether with boto3
    REPORT: "i",  # sequence
    TERMINATE: "si",  # environment id; 0: SIGTERM to its runtime, 1: SIGKILL to its runtime. Extensions live on
    FREEZE: "s",  # environment id; only where LAUNCHED told of no freezer
    THAW: "s",  # environment id
    INIT_OVER: "s",  # environment id; only where CPU time is limited by a quota
    BIND: "issss",  # sequence, environment id, its id from now on, task dir, directory of the layers
    # sequence, pid, environment id, uid as the server sees it (0: none of its own), version of the freezer (0: none),
    # whether it has its own network; descriptors: the memory high-water mark, the listener in that network, the
    # freezer's control file, the latter two if there are any
    LAUNCHED: "iisiii",
    LAUNCH_FAILED: "iiss",  # sequence, errno, path, text
    EXITED: "siiiiii",  # environment id, launch sequence, has status, status, signal, killed for memory, peak KiB
    PREPARED: "is",  # sequence, text (empty: fine)
    REPORTED: "is",  # sequence, JSON
    # environment id, launch sequence, extension (empty: the runtime), has status, status, signal, killed for memory;
    # only where there are extensions, which outlive the runtime for a while
    PART_ENDED: "sisiiii",
    BOUND: "is",  # sequence, text (empty: fine)
    # number of the fork, flags, uid; descriptors: the supervisor's socket, the runtime's socket, then as the flags say:
    # the freezer's member file; then the group's directory or the groups' member files
    FORK: "iii",
    REAP: "i",  # pid
    STARTED: "isl",  # pid, Python's version, names of the modules loaded
    FORKED: "ii",  # number of the fork, pid
    FORK_FAILED: "iis",  # number of the fork, errno, text
    RUNNING: "i",  # pid as the environment sees it
    NOT_RUNNING: "iss",  # errno, path, text
    ENDED: "i",  # wait status of the runtime
    EXTENSION_ENDED: "si",  # program, wait status
    LISTENING: "",  # descriptor: the listener of the Runtime API in the environment's own network
    ATTACHED: "s",  # text (empty: fine)
    ATTACH: "i",  # flags; descriptors as they say: task, layers
    # flags, uid, open files, tasks (0: no limit of its own), bytes of one file (0: no limit), with Landlock: paths that
    # may be read, paths that may be written; mode, argv, environ, working directory;
    # descriptors as the flags say: output, frames, what is to be attached: task, layers, tmp, hosts
    START: "iiiiillslls",
    # only with extensions: flags to restrictions as above; extensions, their environ;
    # descriptors as the flags say: output of extensions, what is to be attached
    ORDER: "iiiiillll",
}


class Malformed(ValueError):
    """The bytes are not a message of a known form."""


_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


def encode(kind: int, *values: Any) -> bytes:
    """The bytes of one message; `values` must fit the form."""
    form = FORMS[kind]
    if len(values) != len(form):
        raise Malformed(f"message {kind} takes {len(form)} values, not {len(values)}")
    parts = [bytes((kind,))]
    for code, value in zip(form, values):  # noqa: B905 - not before Python 3.10
        if code == "i":
            parts.append(_U64.pack(value))
        elif code == "s":
            _append_text(parts, value)
        else:
            parts.append(_U32.pack(len(value)))
            text = "\0".join(value)
            if value and text.count("\0") != len(value) - 1:
                raise Malformed("a variable, an argument or a path holds NUL, which no program can be given")
            _append_text(parts, text)
    data = b"".join(parts)
    if len(data) > MAXIMUM_SIZE:
        raise Malformed(f"message of {len(data)} bytes is too large")
    return data


def _append_text(parts: list[bytes], text: str) -> None:
    raw = text.encode("utf-8", "surrogateescape")
    parts.append(_U32.pack(len(raw)))
    parts.append(raw)


def decode(data: bytes) -> tuple[int, list[Any]]:
    """The kind and the values of a message."""
    if not data or data[0] not in FORMS:
        raise Malformed("unknown kind of message")
    kind = data[0]
    values: list[Any] = []
    position = 1
    try:
        for code in FORMS[kind]:
            if code == "i":
                values.append(_U64.unpack_from(data, position)[0])
                position += 8
            elif code == "s":
                text, position = _take_text(data, position)
                values.append(text)
            else:
                (count,) = _U32.unpack_from(data, position)
                text, position = _take_text(data, position + 4)
                texts = text.split("\0") if count else []
                if len(texts) != count:
                    raise Malformed(f"{len(texts)} texts instead of {count}")
                values.append(texts)
    except (struct.error, UnicodeError) as error:
        raise Malformed(str(error)) from None
    if position != len(data):
        raise Malformed(f"message {kind} has {len(data) - position} bytes too many")
    return kind, values


def _take_text(data: bytes, position: int) -> tuple[str, int]:
    (length,) = _U32.unpack_from(data, position)
    start = position + 4
    stop = start + length
    if stop > len(data):
        raise Malformed("a text is cut off")
    return data[start:stop].decode("utf-8", "surrogateescape"), stop


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected message sockets; their descriptors are not inherited."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return ends


def send(sock: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """Sends one message. Raises BlockingIOError when the socket is non-blocking and full."""
    if descriptors:
        rights = array.array("i", descriptors)
        sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    else:
        sock.send(data)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One message and its descriptors, which the caller owns; `(b"", [])` at the end of the stream."""
    rights = array.array("i")
    data, ancillary, flags, _ = sock.recvmsg(
        MAXIMUM_SIZE, socket.CMSG_SPACE(MAXIMUM_DESCRIPTORS * rights.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            rights.frombytes(content[: len(content) - len(content) % rights.itemsize])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for descriptor in rights:
            os.close(descriptor)
        raise Malformed("a message was cut off")
    return data, list(rights)
