"""The terminal of a running server."""

import os
import select
import threading
from collections.abc import Callable

import pytest

from lambdad.cli.console import MAX_WAITING_LINES, Console
from lambdad.domain.functions import FunctionVersion, LoggingConfig
from lambdad.domain.invocations import Ending, Outcome
from lambdad.telemetry import AttemptFinished, AttemptThrottled, Telemetry


def finished(outcome: Outcome, *, qualifier: str = "") -> AttemptFinished:
    version = FunctionVersion(
        account="000000000000",
        region="us-east-1",
        name="hello",
        version="3",
        generation=1,
        role="arn:aws:iam::000000000000:role/r",
        code_sha256="",
        code_size=1,
        logging=LoggingConfig(log_format="Text", log_group="/aws/lambda/hello"),
        revision_id="",
        last_modified="",
    )
    return AttemptFinished(request_id="id-1", version=version, qualifier=qualifier, outcome=outcome)


def printed(
    capsys: pytest.CaptureFixture[str], act: Callable[[Console, Telemetry], None], *, shown: bool = True
) -> str:
    console, telemetry = Console(show_invocations=shown), Telemetry()
    console.watch(telemetry)
    act(console, telemetry)
    console.close()
    return capsys.readouterr().out


def test_an_invocation_is_one_line_with_all_that_matters(capsys):
    outcome = Outcome(payload=b"", duration_ms=12.5, max_memory_used_mb=38, init_duration_ms=21.7)
    text = printed(capsys, lambda _, telemetry: telemetry.attempt_finished[0](finished(outcome, qualifier="live")))
    assert text.count("\n") == 1
    assert text.split()[1:] == ["hello:live", "3", "success", "12.50", "ms", "38", "MB", "cold", "22", "ms", "id-1"]


def test_a_warm_failure_names_its_type(capsys):
    outcome = Outcome(payload=b"", ending=Ending.FAILURE, error_type="Runtime.ExitError")
    text = printed(capsys, lambda _, telemetry: telemetry.attempt_finished[0](finished(outcome)))
    assert "failure Runtime.ExitError" in text
    assert "warm" in text


def test_an_error_is_named_as_the_caller_sees_it(capsys):
    payload = b'{"errorMessage": "no", "errorType": "ValueError"}'
    outcome = Outcome(payload=payload, ending=Ending.ERROR, error_type="Runtime.Unknown")
    assert "error ValueError" in printed(capsys, lambda _, telemetry: telemetry.attempt_finished[0](finished(outcome)))


@pytest.mark.parametrize("payload", [b"no JSON", b"[]", b'{"errorType": 5}', b"[" * 100_000])
def test_an_error_in_a_form_of_its_own_is_named_by_its_declared_type(capsys, payload):
    outcome = Outcome(payload=payload, ending=Ending.ERROR, error_type="Runtime.Unknown")
    text = printed(capsys, lambda _, telemetry: telemetry.attempt_finished[0](finished(outcome)))
    assert "error Runtime.Unknown" in text


def test_a_throttled_call_names_its_reason(capsys):
    event = AttemptThrottled(
        request_id="id-2",
        account="0",
        region="us-east-1",
        function="hello",
        qualifier="",
        reason="ReservedFunctionConcurrentInvocationLimitExceeded",
    )
    text = printed(capsys, lambda _, telemetry: telemetry.attempt_throttled[0](event))
    assert "throttled ReservedFunctionConcurrentInvocationLimitExceeded  id-2" in text


def test_invocations_can_be_left_out(capsys):
    text = printed(capsys, lambda console, telemetry: console.line(f"{len(telemetry.attempt_finished)}"), shown=False)
    assert text == "0\n"


def test_a_reader_that_has_stopped_does_not_hold_up_the_server(monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stuck, os.fdopen(reading):
        monkeypatch.setattr("sys.stdout", stuck)
        console = Console(show_invocations=True)
        finished_printing = threading.Event()

        def print_much() -> None:
            for _ in range(3 * MAX_WAITING_LINES):
                console.line("x" * 100)
            finished_printing.set()

        threading.Thread(target=print_much, daemon=True).start()
        assert finished_printing.wait(10)
        # Reading again frees the thread, so that nothing is left over for other tests.
        closing = threading.Thread(target=console.close)
        closing.start()
        while closing.is_alive():
            if select.select([reading], [], [], 0.05)[0]:
                os.read(reading, 1 << 20)


def test_a_reader_that_is_gone_ends_nothing(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        monkeypatch.setattr("sys.stdout", gone)
        console = Console(show_invocations=True)
        console.line("nobody reads this")
        console.close()
        assert not console._thread.is_alive()
        monkeypatch.undo()
        # What is still buffered cannot be written either.
        with pytest.raises(BrokenPipeError):
            gone.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), gone.fileno())
