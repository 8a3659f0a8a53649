"""`lambdad events`: what became of asynchronous calls."""

from __future__ import annotations

import json
import sys
import time
from collections import OrderedDict
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import click

from lambdad.cli.client import call_own, endpoint_option, speaks_to_server

PATH = "/_lambdad/events"
POLL_S = 0.5
FOLLOWED = 200
"""Newest events that each look of --follow compares."""
REMEMBERED_EVENTS = 20_000


class _Events(click.Group):
    """`events FUNCTION` lists; `events show` and `events redrive` are commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = ["list", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("events", cls=_Events)
def command() -> None:
    """Show what became of asynchronous calls, and run dropped ones again.

    `lambdad events [FUNCTION]` lists the newest; `lambdad events list --help` tells its options.
    """


@command.command("list")
@click.argument("function", required=False)
@click.option("--failed", is_flag=True, help="Only events that were dropped.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing events as they change until Ctrl-C.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one event a line.")
@endpoint_option
@speaks_to_server
def list_events(
    function: str | None, failed: bool, follow: bool, limit: int, as_json: bool, endpoint_url: str | None
) -> None:
    """List the newest events, of FUNCTION or of all."""
    query: dict[str, str] = {"function": function} if function else {}
    if failed:
        query["state"] = "dropped"
    shown: OrderedDict[str, str] = OrderedDict()
    try:
        while True:
            for event in _newest(query, FOLLOWED if follow and shown else limit, endpoint_url):
                if shown.get(event["id"]) != event["state"]:
                    _list_line(event, as_json)
                    shown[event["id"]] = event["state"]
                shown.move_to_end(event["id"])
            while len(shown) > REMEMBERED_EVENTS:
                shown.popitem(last=False)
            if not follow:
                return
            sys.stdout.flush()
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        if not follow:  # following has no other end than Ctrl-C
            raise


@command.command("show")
@click.argument("event_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@endpoint_option
@speaks_to_server
def show(event_id: str, as_json: bool, endpoint_url: str | None) -> None:
    """Show the life of one event. ID is the request id that the call was answered with."""
    event = call_own("GET", f"{PATH}/{quote(event_id, safe='')}", endpoint_url)
    if as_json:
        click.echo(json.dumps(event))
        return
    name = event["function"] + (f":{event['qualifier']}" if event["qualifier"] else "")
    click.echo(f"{event['id']}  {name}  {_end(event)}")
    click.echo(_timeline_line(event["accepted"], "accepted"))
    for step in event["steps"]:
        click.echo(_timeline_line(step["at"], _words(step)))
    if event["state"] == "waiting":
        click.echo(_timeline_line(event["held_until"] or event["due"], "next attempt"))
    if "payload" in event:
        click.echo(f"event: {json.dumps(event['payload'], ensure_ascii=False)}")


@command.command("redrive")
@click.argument("event_id", metavar="ID")
@endpoint_option
@speaks_to_server
def redrive(event_id: str, endpoint_url: str | None) -> None:
    """Run a dropped event again, as a new event with all its attempts."""
    answer = call_own("POST", f"{PATH}/{quote(event_id, safe='')}/redrive", endpoint_url)
    click.echo(f"Runs again as {answer['id']}")


def _newest(query: dict[str, str], limit: int, endpoint_url: str | None) -> list[dict[str, Any]]:
    """The newest events, the oldest of them first."""
    answer = call_own("GET", f"{PATH}?{urlencode(query | {'limit': str(limit)})}", endpoint_url)
    return list(reversed(answer["events"]))


def _list_line(event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(event))
        return
    click.echo(f"{_clock(event['accepted'])}  {event['id']}  {event['function']:<24}  {_end(event)}")


def _end(event: dict[str, Any]) -> str:
    state = event["state"]
    attempts = f"{event['attempts']} attempt{'' if event['attempts'] == 1 else 's'}"
    if state == "dropped":
        return f"dropped: {event['condition']} after {attempts}"
    if state == "waiting":
        return f"waiting until {_clock(event['held_until'] or event['due'])} after {attempts}"
    return str(state)


def _words(step: dict[str, Any]) -> str:  # noqa: PLR0911 - a line for each kind of step
    kind = step["kind"]
    if kind == "attempt":
        text = f"attempt {step['number']} of version {step['version']}: {step['outcome']}"
        if "duration_ms" in step:
            text += f" after {step['duration_ms']:g} ms"
        if step.get("error_type"):
            text += f", {step['error_type']}" + (f": {step['error_message']}" if step.get("error_message") else "")
        if step.get("log_stream"):
            text += f"\n{' ' * 16}log: {step['log_group']} {step['log_stream']}"
        return text
    if kind == "wait":
        return f"waits until {_clock(step['until'])} ({step['reason']})"
    if kind == "refused":
        return f"not run: {step['reason']}"
    if kind == "delivery":
        reason = f": {step['reason']}" if step.get("reason") else ""
        return f"{step['what']} to {step['target']} {step['result']}{reason}"
    if kind == "end":
        return f"end: {step['condition']}"
    if kind == "left out":
        return f"… {step['steps']} more steps"
    return f"{kind} {step['event']}"


def _timeline_line(moment: str, text: str) -> str:
    return f"  {_clock(moment)}  {text}"


def _clock(moment: str) -> str:
    """Local time of day; the server's clock may be ahead of this machine's."""
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S.%f")[:-3]
