"""The service's own lines, byte for byte, and the tail of a log."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdad.execution.log_lines import (
    TAIL_LIMIT,
    ApplicationFilter,
    LineBuffer,
    LogTail,
    SystemLines,
    Tracing,
    cut_tail,
    environment_failed,
    iso_time,
    system_lines,
    timed_out,
)

ID = "0d9f7b44-5f0d-4e16-9c3c-5b6a4d1e1f00"
NOW = 1_769_860_800_123
TRACING = Tracing(trace_id="1-5759e988-bd862e3fe1be46a994272793", segment_id="53995c3f42cd8ad8")


def lines_of(log_format: str = "Text", level: str | None = None) -> SystemLines:
    return system_lines(log_format, function_name="fn", version="$LATEST", memory_mb=128, system_level=level)


def test_text_lines_of_a_cold_start() -> None:
    lines = lines_of()
    assert lines.init_start(NOW, "python:3.13.v7", "arn:aws:lambda:us-east-1::runtime:ab") == (
        b"INIT_START Runtime Version: python:3.13.v7\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:ab\n"
    )
    assert lines.init_report(NOW, 12.3, phase="init", status="success", error_type=None) == b""
    assert lines.start(NOW, ID) == f"START RequestId: {ID} Version: $LATEST\n".encode()
    assert lines.end(NOW, ID, 2.37, "success", None) == f"END RequestId: {ID}\n".encode()
    # The numbers of a recorded answer (AWS, 2025-11).
    assert (
        lines.report(NOW, ID, 2.37, 427, 95, init_duration_ms=423.98)
        == (
            f"REPORT RequestId: {ID}\tDuration: 2.37 ms\tBilled Duration: 427 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 95 MB\tInit Duration: 423.98 ms\t\n"
        ).encode()
    )


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
@pytest.mark.parametrize("level", ["DEBUG", "WARN"])
@pytest.mark.parametrize("init_duration_ms", [None, 423.98])
@pytest.mark.parametrize(
    ("status", "error_type"), [("success", None), ("timeout", None), ("error", None), ("error", "Runtime.ExitError")]
)
def test_end_and_report_in_one(
    log_format: str, level: str, init_duration_ms: float | None, status: str, error_type: str | None
) -> None:
    lines = lines_of(log_format, level)
    for tracing in (None, TRACING):
        assert lines.end_and_report(NOW, ID, 2.3751, 427, 95, init_duration_ms, status, error_type, tracing) == (
            lines.end(NOW, ID, 2.3751, status, error_type)
            + lines.report(
                NOW,
                ID,
                2.3751,
                427,
                95,
                init_duration_ms=init_duration_ms,
                status=status,
                error_type=error_type,
                tracing=tracing,
            )
        )


START_OF_REPORT = f"REPORT RequestId: {ID}\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB"


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        ({}, "\tMax Memory Used: 35 MB\t\n"),
        ({"status": "timeout"}, "\tMax Memory Used: 35 MB\tStatus: timeout\n"),
        ({"status": "timeout", "init_duration_ms": 67.486},
         "\tMax Memory Used: 35 MB\tInit Duration: 67.49 ms\tStatus: timeout\n"),
        ({"status": "error", "error_type": "Runtime.OutOfMemory"},
         "\tMax Memory Used: 35 MB\tStatus: error\tError Type: Runtime.OutOfMemory\n"),
        ({"tracing": TRACING},
         "\tMax Memory Used: 35 MB\t\nXRAY TraceId: 1-5759e988-bd862e3fe1be46a994272793"
         "\tSegmentId: 53995c3f42cd8ad8\tSampled: true\t\n"),
    ],
)  # fmt: skip
def test_text_reports(options: dict[str, object], ending: str) -> None:
    assert lines_of().report(NOW, ID, 3000, 3000, 35, **options).decode() == START_OF_REPORT + ending  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "error_type", "ending"),
    [
        ("error", "Runtime.ImportModuleError", "Status: error\tError Type: Runtime.ImportModuleError\n"),
        ("timeout", None, "Status: timeout\n"),
    ],
)
def test_text_reports_of_failed_inits(status: str, error_type: str | None, ending: str) -> None:
    line = lines_of().init_report(NOW, 137.69, phase="invoke", status=status, error_type=error_type)
    assert line.decode() == "INIT_REPORT Init Duration: 137.69 ms\tPhase: invoke\t" + ending


def test_lines_of_broken_environments() -> None:
    assert environment_failed(ID, "Runtime exited with error: exit status 1") == (
        f"RequestId: {ID} Error: Runtime exited with error: exit status 1\nRuntime.ExitError\n".encode()
    )
    assert timed_out(NOW, ID, 3) == f"2026-01-31T12:00:00.123Z {ID} Task timed out after 3.00 seconds\n\n".encode()


def test_lines_of_extensions() -> None:
    text, quiet, detailed = lines_of(), lines_of("JSON"), lines_of("JSON", "DEBUG")
    ready = (NOW, "watcher", "Ready", ["INVOKE", "SHUTDOWN"], "")
    failed = (NOW, "watcher", "LaunchError", [], "UnknownError")
    assert text.extension(*ready) == b"EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n"
    assert text.extension(*failed) == (
        b"EXTENSION\tName: watcher\tState: LaunchError\tEvents: []\tError Type: UnknownError\n"
    )
    assert quiet.extension(*ready) == b""
    assert json.loads(detailed.extension(*ready)) == {
        "time": "2026-01-31T12:00:00.123Z",
        "type": "platform.extension",
        "record": {"name": "watcher", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]},
    }
    assert json.loads(quiet.extension(*failed))["record"]["errorType"] == "UnknownError"


def test_json_lines_are_records_of_the_telemetry_api() -> None:
    lines = lines_of("JSON", "DEBUG")
    assert lines.start(NOW, ID) == (
        b'{"time":"2026-01-31T12:00:00.123Z","type":"platform.start","record":{"requestId":"%s","version":"$LATEST"}}\n'
        % ID.encode()
    )
    report = json.loads(lines.report(NOW, ID, 2.3712, 427, 95, init_duration_ms=423.98, tracing=TRACING))
    assert report == {
        "time": "2026-01-31T12:00:00.123Z",
        "type": "platform.report",
        "record": {
            "requestId": ID,
            "status": "success",
            "metrics": {
                "durationMs": 2.371,
                "billedDurationMs": 427,
                "memorySizeMB": 128,
                "maxMemoryUsedMB": 95,
                "initDurationMs": 423.98,
            },
            "tracing": {
                "spanId": "53995c3f42cd8ad8",
                "type": "X-Amzn-Trace-Id",
                "value": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            },
        },
    }
    done = json.loads(lines.end(NOW, ID, 1.5, "error", "Runtime.ExitError"))
    assert (done["type"], done["record"]["errorType"]) == ("platform.runtimeDone", "Runtime.ExitError")
    init = json.loads(lines.init_start(NOW, "python:3.13.v7", "arn"))
    assert init["type"] == "platform.initStart"
    assert init["record"]["runtimeVersion"] == "python:3.13.v7"
    ready = json.loads(lines.init_runtime_done(NOW, phase="init", status="success", error_type=None))
    assert ready["record"] == {"initializationType": "on-demand", "phase": "init", "status": "success"}
    failed = json.loads(lines.init_report(NOW, 5.25, phase="init", status="error", error_type="Runtime.Unknown"))
    assert failed["record"]["metrics"] == {"durationMs": 5.25}


@pytest.mark.parametrize(
    ("level", "usual", "failed"),
    [
        ("DEBUG", {"initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"}, None),
        (None, {"initStart", "start", "report"}, None),
        ("INFO", {"initStart", "start", "report"}, {"initStart", "initRuntimeDone", "initReport", "start",
                                                    "runtimeDone", "report"}),
        ("WARN", set(), {"initRuntimeDone", "initReport", "runtimeDone", "report"}),
    ],
)  # fmt: skip
def test_the_system_level_filters_json_lines(level: str | None, usual: set[str], failed: set[str] | None) -> None:
    def written(status: str) -> set[str]:
        lines = lines_of("JSON", level)
        text = b"".join(
            [
                lines.init_start(NOW, "python:3.13.v7", "arn"),
                lines.init_runtime_done(NOW, phase="init", status=status, error_type=None),
                lines.init_report(NOW, 5, phase="init", status=status, error_type=None),
                lines.start(NOW, ID),
                lines.end(NOW, ID, 5, status, None),
                lines.report(NOW, ID, 5, 5, 35, status=status),
            ]
        )
        return set(re.findall(r'"type":"platform\.(\w+)"', text.decode()))

    assert written("success") == usual
    if failed is not None:
        assert written("error") == failed


def test_times_are_in_utc_with_milliseconds() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00.000Z"
    assert iso_time(1_769_860_800_007) == "2026-01-31T12:00:00.007Z"


def test_the_application_level_filters_json_records_and_keeps_the_rest() -> None:
    lines = (
        b'{"level":"DEBUG","message":"d"}\n'
        b'{"level":"INFO"}\n'
        b'{"level":"warn"}\n'
        b'{"level":"CRITICAL"}\n'
        b'{"level":"OWN"}\n'
        b'{"level":5}\n'
        b'plain "level"\n'
        b'{"level":"DEBUG"\n'
        b'["level"]\n'
    )
    assert ApplicationFilter("WARN").keep(lines) == lines[lines.index(b'{"level":"warn"}') :]
    assert ApplicationFilter("TRACE").keep(lines) == lines
    assert ApplicationFilter("FATAL").keep(b"plain\n") == b"plain\n"


def test_the_tail_is_cut_by_bytes_and_repaired() -> None:
    assert cut_tail(b"x" * 5000) == b"x" * TAIL_LIMIT
    assert cut_tail(b"short\n") == b"short\n"
    # Four-byte characters: up to three bytes of a broken one become three each (AWS: captured 2026).
    for broken in (1, 2, 3):
        tail = cut_tail("😀".encode() * 2000 + b"z" * (4 - broken))
        assert len(tail) == TAIL_LIMIT + 2 * broken
        assert tail.decode().startswith("\ufffd" * broken + "😀")


def test_in_json_format_the_tail_has_whole_records() -> None:
    record = b'{"n":1}\n'
    assert cut_tail(record * 1000, whole_records=True) == record * (TAIL_LIMIT // len(record))
    assert cut_tail(b"x" * 5000 + b"\n" + record, whole_records=True) == record
    assert cut_tail(b"x" * 5000 + b"\n", whole_records=True) == b""
    exact = record * (TAIL_LIMIT // len(record))
    assert cut_tail(b"first\n" + exact, whole_records=True) == exact


@given(st.lists(st.binary(max_size=9000), max_size=30), st.booleans())
def test_adding_in_pieces_gives_the_same_tail(pieces: list[bytes], whole_records: bool) -> None:
    tail = LogTail(whole_records=whole_records)
    for piece in pieces:
        tail.add(piece)
    assert tail._size <= 16 * TAIL_LIMIT + 9000
    assert tail.result() == cut_tail(b"".join(pieces), whole_records=whole_records)
    tail.result().decode()


def test_newlines_of_a_record_are_shown_in_the_tail() -> None:
    tail = LogTail()
    tail.add(b"[ERROR] Exception: x\xffTraceback\xff  File\n")
    assert tail.result(record_newline=b"\xff") == b"[ERROR] Exception: x\nTraceback\n  File\n"


@given(st.lists(st.binary(max_size=50).map(lambda data: data.replace(b"0", b"\n")), max_size=20))
def test_lines_come_out_of_the_buffer_whole(pieces: list[bytes]) -> None:
    buffer = LineBuffer()
    text = b""
    for piece in pieces:
        lines = buffer.feed(piece)
        assert not lines or lines.endswith(b"\n")
        text += lines
    assert text + buffer.take_rest() == b"".join(pieces)
    assert buffer.take_rest() == b""


def test_a_record_is_an_event_of_its_own_whatever_was_printed_before() -> None:
    buffer = LineBuffer(record_start=b"\xfe")
    assert buffer.feed(b"\xfeone\n\xfetwo\nthree\n") == b"one\ntwo\nthree\n"
    assert buffer.feed(b"..") == b""
    assert buffer.feed(b"\xfe[INFO] re") == b""
    assert buffer.feed(b"cord\n") == b"[INFO] record\n"
    assert buffer.feed(b".\xfe[INFO] other\n\xfethird\n") == b"[INFO] other\nthird\n"
    assert buffer.feed(b"!\nnext\n") == b"...!\nnext\n"
    assert buffer.feed(b"no end\xfebroken re") == b""
    assert buffer.take_rest() == b"no end\nbroken re"
    assert buffer.feed(b"\xfebroken") == b""
    assert buffer.take_rest() == b"broken"


@given(st.lists(st.sampled_from([b"\xfea", b"b", b"\n", b"c\n", b"\xfed\n"]), max_size=12), st.data())
def test_records_come_out_the_same_however_they_are_read(pieces: list[bytes], data: st.DataObject) -> None:
    text = b"".join(pieces)
    whole, split = LineBuffer(record_start=b"\xfe"), LineBuffer(record_start=b"\xfe")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    read = b"".join(split.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if a < b)
    assert read + split.take_rest() == whole.feed(text) + whole.take_rest()


def test_a_line_without_end_is_cut_between_characters() -> None:
    buffer = LineBuffer(limit=10)
    assert buffer.feed(b"12345") == b""
    assert buffer.feed("6789äöü".encode()) == b"123456789\n"
    assert buffer.take_rest() == "äöü".encode()
    assert buffer.feed(b"x" * 25) == b"x" * 10 + b"\n" + b"x" * 10 + b"\n"
