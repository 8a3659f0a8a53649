from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lambdad.execution.runtimes.interpreters import Interpreters
from tests.execution.frames_client import ERROR, INIT_ERROR, READY, RESPONSE, Answer, invoke_frame, read_frame

BOOTSTRAP = Path(__file__).parents[3] / "src/lambdad/execution/runtimes/python/bootstrap.py"
ORACLE = Path(__file__).parent / "oracle.py"
CALL = {
    "request_id": "8f5e3ad4-0d0f-4c11-9d39-5f1a0a1b2c3d",
    "deadline_ms": 2_000_000_000_000,
    "arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "trace_id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
    "client_context": "",
    "identity": "",
    "tenant_id": "",
}
ENVIRON = {
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/31/[$LATEST]00000000000000000000000000000000",
    "LANG": "en_US.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "TZ": ":UTC",
    "PATH": "/usr/bin:/bin",
}


@dataclass(frozen=True, slots=True)
class Played:
    """What a runtime answered and printed, and how it ended."""

    answers: list[Answer]
    output: str
    status: int
    kinds: dict[int, str] = field(
        default_factory=lambda: {RESPONSE: "response", ERROR: "error", INIT_ERROR: "init_error"}
    )

    @property
    def posted(self) -> list[tuple[str, str, bytes]]:
        return [(self.kinds[one.kind], one.text, one.body) for one in self.answers if one.kind != READY]


class Scene:
    """A function's code, and the two runtimes to run it on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, source: str, **files: str) -> None:
        (self.directory / "app.py").write_text(source)
        for name, text in files.items():
            (self.directory / name.replace("__", ".")).write_text(text)

    def play(
        self,
        *events: str,
        handler: str = "app.handler",
        python: str = sys.executable,
        environ: dict[str, str] | None = None,
        call: dict[str, Any] | None = None,
    ) -> Played:
        """Runs our bootstrap: the events are JSON texts, one invocation each; then the server hangs up."""
        ours, theirs = socket.socketpair()
        variables = {
            **ENVIRON,
            "_HANDLER": handler,
            "LAMBDA_TASK_ROOT": str(self.directory),
            "_LAMBDAD_FRAMES_FD": str(theirs.fileno()),
            **(environ or {}),
        }
        process = subprocess.Popen(
            [python, str(BOOTSTRAP)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables,
            cwd=self.directory,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        ours.settimeout(20)
        answers = []
        with ours:
            first = read_frame(ours)
            if first is not None:
                answers.append(first)
            for event in events if first is not None and first.kind == READY else ():
                ours.sendall(invoke_frame(event.encode(), **{**CALL, **(call or {})}))
                answer = read_frame(ours)
                if answer is None:
                    break
                answers.append(answer)
        output, _ = process.communicate(timeout=20)
        output = output.replace(b"\xfe", b"")  # the start of a record
        return Played(answers, output.decode("utf-8", "surrogateescape"), process.returncode)

    def ask_awslambdaric(
        self,
        *events: str,
        handler: str = "app.handler",
        environ: dict[str, str] | None = None,
        call: dict[str, Any] | None = None,
    ) -> tuple[list[tuple[str, str, bytes]], str, int]:
        """The same under awslambdaric: what it posted, what was printed, the exit status."""
        spec, result = self.directory.parent / "spec.json", self.directory.parent / "result.json"
        result.write_text("[]")
        invocations = [{**CALL, **(call or {}), "event": event} for event in events]
        spec.write_text(json.dumps({"handler": handler, "invocations": invocations, "task_root": str(self.directory)}))
        done = subprocess.run(
            [sys.executable, str(ORACLE), str(spec), str(result)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**ENVIRON, "_HANDLER": handler, "LAMBDA_TASK_ROOT": str(self.directory), **(environ or {})},
            cwd=self.directory,
            timeout=20,
            check=False,
        )
        posted = [(kind, text, body.encode("latin-1")) for kind, text, body in json.loads(result.read_text())]
        return posted, done.stdout.decode(), done.returncode


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    directory = tmp_path / "task"
    directory.mkdir()
    return Scene(directory)


def _interpreters() -> list[Any]:
    found = []
    interpreters = Interpreters()
    for minor in range(8, 15):
        name = f"python3.{minor}"
        interpreter = interpreters.find(name)
        reason = pytest.mark.skipif(interpreter is None, reason=f"{name} is not installed")
        found.append(pytest.param(interpreter.path if interpreter else "", id=name, marks=reason))
    return found


@pytest.fixture(params=_interpreters())
def any_python(request: pytest.FixtureRequest) -> str:
    """Each Python that functions may run on and that this machine has."""
    return str(request.param)
