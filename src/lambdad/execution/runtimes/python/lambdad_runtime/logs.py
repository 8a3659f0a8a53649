"""The function's log: the root logger's handler, the formats, the lines about errors (awslambdaric).

Everything goes to one pipe, standard output. A line there is one event, so a newline inside an event is written as a
byte that occurs in no UTF-8 text; the server turns it back. Another such byte stands at the start of each event, so
that it is one of its own whatever was printed before without a newline.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from typing import Any, TextIO

RECORD_NEWLINE = b"\xff"
"""Stands for a newline inside one event; the server knows it."""
RECORD_START = b"\xfe"
_OUTPUT = 1
_JSON_TIME = "%Y-%m-%dT%H:%M:%SZ"
_NO_BREAK_SPACE = "\u00a0"
"""AWS indents the lines of a traceback with it (AWS: recorded 2025-11)."""
UNHANDLED_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. The most likely cause is an issue in the function code. However, in rare "
    "cases, a Lambda runtime update can cause unexpected function behavior. For functions using managed runtimes, "
    "runtime updates can be triggered by a function change, or can be applied automatically. To determine if the "
    "runtime has been updated, check the runtime version in the INIT_START log entry. If this error correlates with "
    "a change in the runtime version, you may be able to mitigate this error by temporarily rolling back to the "
    "previous runtime version. For more information, see "
    "https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)
"""AWS's text, logged with every init that failed."""

# Attributes that every log record has; what is beyond them came by `extra`.
_USUAL_ATTRIBUTES = frozenset(
    [
        "name",
        "msg",
        "args",
        "levelname",
        "levelno",
        "pathname",
        "filename",
        "module",
        "exc_info",
        "exc_text",
        "stack_info",
        "lineno",
        "funcName",
        "created",
        "msecs",
        "relativeCreated",
        "thread",
        "threadName",
        "processName",
        "process",
        "aws_request_id",
        "tenant_id",
        "_frame_type",
    ]
)


class Sink:
    """Where events go: standard output as it was at start, whatever the function makes of sys.stdout."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def event(self, text: str) -> None:
        """Writes one event, whatever lines it has, after what was printed before."""
        data = text.encode("utf-8", "backslashreplace")
        if data.endswith(b"\n"):
            data = data[:-1]
        if not self._stream.closed:
            self._stream.flush()
        data = RECORD_START + data.replace(b"\n", RECORD_NEWLINE) + b"\n"
        sent = os.write(_OUTPUT, data)
        while sent < len(data):
            data = data[sent:]
            sent = os.write(_OUTPUT, data)


class Invocation:
    """The invocation in progress, for the log records made during it."""

    request_id = ""
    tenant_id: str | None = None


current = Invocation()
sink: Sink | None = None


class _Handler(logging.Handler):
    def __init__(self, to: Sink) -> None:
        super().__init__()
        self.log_sink = to

    def emit(self, record: logging.LogRecord) -> None:
        self.log_sink.event(self.format(record))


class _Stamp(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = current.request_id
        record.tenant_id = current.tenant_id
        return True


class _JsonFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(datefmt=_JSON_TIME)
        self._encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

    def format(self, record: logging.LogRecord) -> str:
        # Levels between the usual ones count as the next lower one.
        record.levelno = min(50, max(0, record.levelno)) // 10 * 10
        record.levelname = logging.getLevelName(record.levelno)
        is_object = isinstance(record.msg, dict) and not record.args
        fields: dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if is_object else record.getMessage(),
            "logger": record.name,
            "stackTrace": None,
            "errorType": None,
            "errorMessage": None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": None,
        }
        if record.exc_info:
            kind, value, trace = record.exc_info
            fields["stackTrace"] = traceback.format_tb(trace)
            fields["errorType"] = getattr(kind, "__name__", None)
            fields["errorMessage"] = str(value)
            fields["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        if getattr(record, "tenant_id", None) is not None:
            fields["tenantId"] = getattr(record, "tenant_id", None)
        for name, value in record.__dict__.items():
            if name not in _USUAL_ATTRIBUTES and name not in fields:
                fields[name] = value
        return self._encode({name: value for name, value in fields.items() if value is not None})


def is_json() -> bool:
    """Whether the function logs JSON."""
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def set_up() -> Sink:
    """Gives the root logger its handler; once, before the handler's module is imported."""
    global sink  # noqa: PLW0603 - one process, one log
    sink = Sink(sys.stdout)
    logging.Formatter.converter = time.gmtime
    handler = _Handler(sink)
    if is_json():
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(
            logging.Formatter(
                "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
            )
        )
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = "DEBUG" if level == "TRACE" else level
    root = logging.getLogger()
    if level in ("CRITICAL", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "NOTSET"):
        root.setLevel(level)
    handler.addFilter(_Stamp())
    root.addHandler(handler)
    return sink


def error(result: dict[str, Any], to_json: Any) -> None:
    """Logs an error result: a traceback in text, the payload with time and level in JSON."""
    assert sink is not None
    if is_json():
        stamped = {"timestamp": time.strftime(_JSON_TIME, time.gmtime()), "level": "ERROR"}
        stamped.update(result)
        sink.event(to_json(stamped))
    else:
        sink.event("\n".join(_error_lines(result)))


def _error_lines(result: dict[str, Any]) -> list[str]:
    kind, message = result["errorType"], result["errorMessage"]
    head = "[ERROR]"
    if kind:
        head += " " + kind
    if message:
        head += (":" if kind else "") + " " + message
    lines = [head, "Traceback (most recent call last):"]
    for entry in result["stackTrace"]:
        for line in entry.splitlines() or [""]:
            text = line.lstrip(" ")
            lines.append(_NO_BREAK_SPACE * (len(line) - len(text)) + text)
    return lines
