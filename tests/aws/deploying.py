"""Functions for tests, deployed through boto3 as a user would."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import stat
import zipfile
from collections.abc import Mapping
from typing import Any

ROLE = "arn:aws:iam::000000000000:role/lambda-role"
_numbers = itertools.count(1)


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """A deployment package; `bootstrap` and scripts come out executable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            executable = name == "bootstrap" or name.endswith((".sh", "wrapper"))
            info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


class Deployer:
    """Creates functions and removes them after the test."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._names: list[str] = []

    def __call__(
        self, code: str | Mapping[str, str | bytes], *, runtime: str = "python3.11", wait: bool = True, **settings: Any
    ) -> str:
        """Deploys `code` (a module `app`, or files by name) and returns the function's name once it is Active."""
        name = settings.pop("FunctionName", f"fn-{next(_numbers)}")
        if isinstance(code, str):
            code = {"app.mjs" if runtime.startswith("nodejs") else "app.py": code}
        settings.setdefault("Handler", "app.handler")
        settings.setdefault("Role", ROLE)
        self.client.create_function(FunctionName=name, Runtime=runtime, Code={"ZipFile": zipped(code)}, **settings)
        self._names.append(name)
        if wait:
            self.client.get_waiter("function_active_v2").wait(
                FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
            )
        return name

    def wait_updated(self, name: str) -> None:
        self.client.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
        )

    def invoke(self, name: str, event: object = None, **settings: Any) -> dict[str, Any]:
        """Invokes and returns the response with `Payload` read as bytes."""
        if event is not None:
            settings["Payload"] = event if isinstance(event, bytes) else json.dumps(event).encode()
        response = self.client.invoke(FunctionName=name, **settings)
        response["Payload"] = response["Payload"].read()
        return response  # type: ignore[no-any-return]

    def remove_all(self) -> None:
        for name in self._names:
            with contextlib.suppress(self.client.exceptions.ResourceNotFoundException):
                self.client.delete_function(FunctionName=name)


def tail_of(response: Mapping[str, Any]) -> str:
    """The log tail of an invocation, decoded."""
    return base64.b64decode(response["LogResult"]).decode()
