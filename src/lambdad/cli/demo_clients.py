"""The two ways in which the demo makes its calls: the aws CLI, or boto3 where there is none."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol

import click

from lambdad import config
from lambdad.config import DEFAULT_REGION

CLI_TIMEOUT_S = 30


class CallFailed(Exception):
    """A call came back with an error; the text is the client's."""


class Client(Protocol):
    """Makes calls and shows them as the user would have typed them."""

    name: str
    folder: Path
    """Where its files are looked up."""

    def call(self, service: str, operation: str, *, shown: bool = True, **params: Any) -> dict[str, Any]:
        """Any operation but Invoke. Raises CallFailed."""

    def show(self, service: str, operation: str, **params: Any) -> None:
        """Prints the call without making it."""

    def wait(self, service: str, waiter: str, **params: Any) -> None:
        """Waits with the client's own waiter. Raises CallFailed."""

    def invoke(self, *, shown: bool = True, **params: Any) -> dict[str, Any]:
        """The answer's members, with the parsed `payload` and the decoded `log`. Raises CallFailed."""


def choose_client(endpoint: str, folder: Path) -> Client:
    """The aws CLI if one works, else boto3."""
    program = shutil.which("aws")
    if program is not None:
        version = subprocess.run(  # noqa: S603 - found on PATH, as a shell would
            [program, "--version"], capture_output=True, text=True, check=False
        )
        match = re.match(r"aws-cli/(\d+)\.\S+", version.stdout or version.stderr)
        if version.returncode == 0 and match:
            return AwsCli(program, match[0], int(match[1]), endpoint, folder)
    return Boto3(endpoint, folder)


class AwsCli:
    """The real aws CLI, version 1 or 2."""

    def __init__(self, program: str, name: str, major: int, endpoint: str, folder: Path) -> None:
        self.name = f"the aws CLI ({name})"
        self._program = program
        self._endpoint = endpoint
        self._binary = ["--cli-binary-format", "raw-in-base64-out"] if major >= 2 else []
        self.folder = folder
        nothing = str(folder / "none")  # the user's own profiles stay out of it
        self._environment = {
            **{name: value for name, value in config.child_environment().items() if not name.startswith("AWS_")},
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": DEFAULT_REGION,
            "AWS_CONFIG_FILE": nothing,
            "AWS_SHARED_CREDENTIALS_FILE": nothing,
            "AWS_PAGER": "",
        }

    def call(self, service: str, operation: str, *, shown: bool = True, **params: Any) -> dict[str, Any]:
        output = self._run(self._arguments(service, operation, params), shown)
        return json.loads(output) if output.strip() else {}

    def show(self, service: str, operation: str, **params: Any) -> None:
        _show("aws " + shlex.join(self._arguments(service, operation, params)))

    def wait(self, service: str, waiter: str, **params: Any) -> None:
        self._run([service, "wait", waiter.replace("_", "-"), *_options(params)], shown=True)

    def invoke(self, *, shown: bool = True, **params: Any) -> dict[str, Any]:
        outfile = self.folder / "response.json"
        outfile.unlink(missing_ok=True)
        arguments = ["lambda", "invoke", *_options(params), *self._binary, outfile.name]
        answer: dict[str, Any] = json.loads(self._run(arguments, shown))
        text = outfile.read_text("utf-8")
        answer["payload"] = json.loads(text) if text else None
        answer["log"] = base64.b64decode(answer.get("LogResult", "")).decode()
        if shown and text:
            click.echo(f"    {outfile.name}: {_short(text)}")
        return answer

    def _arguments(self, service: str, operation: str, params: dict[str, Any]) -> list[str]:
        # Version 1 of the CLI does not look at AWS_ENDPOINT_URL for this one service.
        endpoint = ["--endpoint-url", self._endpoint] if service == "sqs" else []
        return [service, _kebab(operation), *_options(params), *endpoint]

    def _run(self, arguments: list[str], shown: bool) -> str:
        if shown:
            _show("aws " + shlex.join(arguments))
        try:
            done = subprocess.run(  # noqa: S603 - the aws CLI with arguments of the demo
                [self._program, *arguments, "--output", "json"],
                cwd=self.folder,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=CLI_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CallFailed(f"no answer within {CLI_TIMEOUT_S} s") from None
        if done.returncode != 0:
            message = done.stderr.strip()
            if shown:
                click.echo(f"    {message}")
            raise CallFailed(message)
        return done.stdout


class Boto3:
    """boto3, with keys and region of its own."""

    name = "boto3, because there is no aws CLI on PATH"

    def __init__(self, endpoint: str, folder: Path) -> None:
        import boto3  # noqa: PLC0415 - slow to import, and not needed beside the aws CLI

        self.folder = folder
        session = boto3.session.Session("test", "test", region_name=DEFAULT_REGION)
        self._clients: dict[str, Any] = {
            "lambda": session.client("lambda", endpoint_url=endpoint),
            "logs": session.client("logs", endpoint_url=endpoint),
            "sqs": session.client("sqs", endpoint_url=endpoint),
        }

    def call(self, service: str, operation: str, *, shown: bool = True, **params: Any) -> dict[str, Any]:
        if shown:
            self.show(service, operation, **params)
        if "ZipFile" in params:
            archive = (self.folder / params.pop("ZipFile")).read_bytes()
            params |= {"Code": {"ZipFile": archive}} if operation == "CreateFunction" else {"ZipFile": archive}
        return self._call(service, _kebab(operation).replace("-", "_"), params)

    def show(self, service: str, operation: str, **params: Any) -> None:
        arguments = ", ".join(f"{name}={str(v) if isinstance(v, Path) else v!r}" for name, v in params.items())
        _show(f"{service}.{_kebab(operation).replace('-', '_')}({arguments})")

    def wait(self, service: str, waiter: str, **params: Any) -> None:
        from botocore.exceptions import WaiterError  # noqa: PLC0415

        try:
            self._clients[service].get_waiter(waiter).wait(**params)
        except WaiterError as error:
            raise CallFailed(str(error)) from None

    def invoke(self, *, shown: bool = True, **params: Any) -> dict[str, Any]:
        if shown:
            self.show("lambda", "Invoke", **params)
        answer = self._call("lambda", "invoke", params)
        text = answer["Payload"].read()
        if shown and text:
            click.echo(f"    {_short(text.decode())}")
        return {
            **answer,
            "payload": json.loads(text) if text else None,
            "log": base64.b64decode(answer.get("LogResult", "")).decode(),
        }

    def _call(self, service: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            answer: dict[str, Any] = getattr(self._clients[service], method)(**params)
        except (BotoCoreError, ClientError) as error:
            click.echo(f"    {error}")
            raise CallFailed(str(error)) from None
        return answer


def _options(params: dict[str, Any]) -> list[str]:
    """`FunctionName="hello"` as `--function-name hello`."""
    options: list[str] = []
    for name, value in params.items():
        match value:
            case Path():
                text = f"fileb://{value}"
            case str():
                text = value
            case _:
                text = json.dumps(value)
        options += [f"--{_kebab(name)}", text]
    return options


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _show(command: str) -> None:
    click.secho(f"  $ {command}", fg="cyan")


def _short(text: str) -> str:
    return text if len(text) <= 160 else text[:157] + "…"
