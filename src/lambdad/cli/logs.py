"""`lambdad logs`: the log of a function, once or as it grows."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import click

from lambdad.cli.client import endpoint_option, make_client, speaks_to_server

POLL_S = 0.5
OVERLAP_MS = 2_000
"""How far each look goes back behind the newest event: events of several environments arrive out of order."""
REMEMBERED_EVENTS = 20_000

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@click.command("logs")
@click.argument("function")
@click.option("-f", "--follow", is_flag=True, help="Go on showing new lines until Ctrl-C.")
@click.option(
    "-s",
    "--since",
    default="1h",
    metavar="TIME",
    help="Where to begin: 30s, 10m, 2h, 7d or all. [default: 1h]",
)
@click.option("--filter", "pattern", metavar="PATTERN", help="Only events that match this CloudWatch Logs pattern.")
@endpoint_option
@speaks_to_server
def command(function: str, follow: bool, since: str, pattern: str | None, endpoint_url: str | None) -> None:
    """Show the log of FUNCTION: what it printed, with START, END and REPORT of each call."""
    start_ms = _start_ms(since)
    group = _log_group(function, endpoint_url)
    client = make_client("logs", endpoint_url)
    arguments: dict[str, Any] = {"logGroupName": group}
    if pattern:
        arguments["filterPattern"] = pattern

    try:
        _show_events(client, arguments, start_ms, follow=follow)
    except KeyboardInterrupt:
        if not follow:  # following has no other end than Ctrl-C
            raise


def _show_events(client: Any, arguments: dict[str, Any], start_ms: int, *, follow: bool) -> None:
    seen: deque[str] = deque(maxlen=REMEMBERED_EVENTS)
    shown: set[str] = set()
    while True:
        for event in _events(client, arguments, start_ms):
            if event["eventId"] in shown:
                continue
            if len(seen) == seen.maxlen:
                shown.discard(seen[0])
            seen.append(event["eventId"])
            shown.add(event["eventId"])
            start_ms = max(start_ms, event["timestamp"] - OVERLAP_MS)
            _show(event)
        if not follow:
            return
        sys.stdout.flush()
        time.sleep(POLL_S)


def _log_group(function: str, endpoint_url: str | None) -> str:
    """The group where the function logs; asking the function also tells whether it exists."""
    configuration = make_client("lambda", endpoint_url).get_function_configuration(FunctionName=function)
    name = configuration["FunctionName"]
    return str(configuration.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}")


def _events(client: Any, arguments: dict[str, Any], start_ms: int) -> Iterator[dict[str, Any]]:
    """All events from `start_ms` (Unix time in milliseconds) on; none while the group does not exist yet."""
    try:
        for page in client.get_paginator("filter_log_events").paginate(**arguments, startTime=start_ms):
            yield from page["events"]
    except client.exceptions.ResourceNotFoundException:
        return  # the first call of the function makes the group


def _show(event: dict[str, Any]) -> None:
    moment = time.strftime("%H:%M:%S", time.localtime(event["timestamp"] / 1000))
    text = event["message"].rstrip("\n").replace("\n", "\n" + " " * 14)
    click.echo(f"{moment}.{event['timestamp'] % 1000:03d}  {text}")


def _start_ms(since: str) -> int:
    if since == "all":
        return 0
    match = re.fullmatch(r"(\d+)([smhdw])", since)
    if match is None:
        raise click.BadParameter(
            "use a number and a unit, such as 30s, 10m, 2h or 7d, or the word all", param_hint="--since"
        )
    return max(0, int((time.time() - int(match[1]) * UNITS_S[match[2]]) * 1000))
