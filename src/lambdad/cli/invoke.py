"""`lambdad invoke`: one call of a function, its answer on stdout, everything else on stderr."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import click

from lambdad.cli.client import endpoint_option, make_client, speaks_to_server


@click.command("invoke")
@click.argument("function")
@click.option(
    "-p",
    "--payload",
    default="{}",
    metavar="JSON|@FILE|-",
    help="The event: JSON, the name of a file after @, or - for standard input. [default: {}]",
)
@click.option("-q", "--qualifier", metavar="VERSION|ALIAS", help="Version or alias. [default: $LATEST]")
@click.option("-t", "--tail", is_flag=True, help="Show the end of the log of this call.")
@endpoint_option
@speaks_to_server
def command(function: str, payload: str, qualifier: str | None, tail: bool, endpoint_url: str | None) -> None:
    """Call FUNCTION and print what it returns.

    Exits with 1 when the function failed or could not be called.
    """
    arguments: dict[str, Any] = {"FunctionName": function, "Payload": _read_payload(payload)}
    if qualifier:
        arguments["Qualifier"] = qualifier
    if tail:
        arguments["LogType"] = "Tail"
    answer = make_client("lambda", endpoint_url).invoke(**arguments)

    if tail:
        click.echo(base64.b64decode(answer.get("LogResult", "")).decode("utf-8", "replace"), err=True, nl=False)
    click.echo(_readable(answer["Payload"].read()))
    if "FunctionError" in answer:
        version = answer.get("ExecutedVersion", "$LATEST")
        click.secho(f"The function failed ({answer['FunctionError']}, version {version}).", fg="red", err=True)
        sys.exit(1)


def _read_payload(given: str) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise click.ClickException(f"The payload cannot be read from {given[1:]}: {error.strerror}.") from None


def _readable(payload: bytes) -> str:
    """Indented for people, as it is for pipes and for what is not JSON."""
    text = payload.decode("utf-8", "replace")
    if not sys.stdout.isatty():
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
