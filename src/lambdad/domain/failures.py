"""Payloads of failures that the service itself puts into words, as recorded from AWS in November 2025."""

from __future__ import annotations

import json
import signal as signals

RESPONSE_LIMIT_BYTES = 6_291_556
"""The largest buffered response: 6 MiB and 100 bytes (AWS: recorded, test_lambda_too_large_response)."""

# How Go, in which AWS's runtime supervisor is written, names signals.
SIGNAL_NAMES: dict[int, str] = {
    signals.SIGHUP: "hangup",
    signals.SIGINT: "interrupt",
    signals.SIGQUIT: "quit",
    signals.SIGILL: "illegal instruction",
    signals.SIGTRAP: "trace/breakpoint trap",
    signals.SIGABRT: "aborted",
    signals.SIGBUS: "bus error",
    signals.SIGFPE: "floating point exception",
    signals.SIGKILL: "killed",
    signals.SIGUSR1: "user defined signal 1",
    signals.SIGSEGV: "segmentation fault",
    signals.SIGUSR2: "user defined signal 2",
    signals.SIGPIPE: "broken pipe",
    signals.SIGALRM: "alarm clock",
    signals.SIGTERM: "terminated",
}


def _payload(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":")).encode()


def timed_out(request_id: str, timeout_s: float) -> bytes:
    """The payload of a call whose function passed its timeout."""
    return _payload("Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds")


def signal_name(signal: int) -> str:
    """Such as `killed`."""
    return SIGNAL_NAMES.get(signal, f"signal {signal}")


def exit_reason(status: int | None, signal: int | None) -> str:
    """The words for how a runtime's process ended; `status` 0 counts as no reason."""
    if signal:
        return f"Runtime exited with error: signal: {signal_name(signal)}"
    if status:
        return f"Runtime exited with error: exit status {status}"
    return "Runtime exited without providing a reason"


def exited(request_id: str, status: int | None, signal: int | None) -> bytes:
    """The payload of a call whose runtime ended without an answer; also for out of memory (signal: killed)."""
    return _payload("Runtime.ExitError", f"RequestId: {request_id} Error: {exit_reason(status, signal)}")


def environment_failed(request_id: str, error_type: str, reason: str) -> bytes:
    """The payload of a call whose environment broke: `Runtime.InvalidEntrypoint` for a missing or unexecutable
    bootstrap, `Runtime.ExitError`, `Extension.Crash` and so on."""
    return _payload(error_type, f"RequestId: {request_id} Error: {reason}")


def response_too_large() -> bytes:
    """The payload in place of a response over the limit. The order of keys is the other one here, as recorded."""
    message = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes)."
    members = {"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}
    return json.dumps(members, separators=(",", ":")).encode()
