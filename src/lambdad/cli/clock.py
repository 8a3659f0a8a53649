"""`lambdad clock`: the server's time, which tests move forward instead of waiting."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from lambdad.cli.client import call_own, endpoint_option, speaks_to_server

PATH = "/_lambdad/clock"
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group("clock", invoke_without_command=True)
@endpoint_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
@speaks_to_server
def command(context: click.Context, endpoint_url: str | None, as_json: bool) -> None:
    """Show the server's time, or move it forward.

    Retries of asynchronous invocations, ages of events, visibility timeouts and delays follow this time.
    """
    if context.invoked_subcommand is None:
        _show(call_own("GET", PATH, endpoint_url), as_json)


@command.command("advance")
@click.argument("time")
@endpoint_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@speaks_to_server
def advance(time: str, endpoint_url: str | None, as_json: bool) -> None:
    """Move the server's time forward by TIME: 30s, 2m, 6h, 1d. It cannot be moved back."""
    _show(call_own("POST", PATH, endpoint_url, {"advance": _seconds(time)}), as_json)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise click.UsageError(f"{text!r} is no time; write 30s, 2m, 6h or 1d.")
    return float(match[1]) * UNITS_S[match[2]]


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer))
        return
    ahead = answer["advanced_s"]
    click.echo(f"{answer['now']}" + (f"  ({ahead:g} s ahead of this machine)" if ahead else ""))
