"""Where the output of environments goes."""

from __future__ import annotations

from lambdad.domain.functions import FunctionVersion
from lambdad.execution.launcher import record_newline
from lambdad.execution.sandbox import LogStream
from lambdad.neighbours.logs.service import LogService


class LogStreams:
    """Opens the log stream of an environment in CloudWatch Logs."""

    def __init__(self, logs: LogService, *, official_python: bool = False) -> None:
        self._writer = logs.writer
        self._official_python = official_python

    def open(self, version: FunctionVersion, stream: str) -> LogStream:
        return self._writer.stream(
            version.account,
            version.region,
            version.logging.log_group,
            stream,
            record_newline=record_newline(version, official_python=self._official_python),
        )
