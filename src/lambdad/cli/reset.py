"""`lambdad reset`: an empty server, for tests."""

from __future__ import annotations

import click

from lambdad.cli.client import call_own, endpoint_option, speaks_to_server

PATH = "/_lambdad/reset"


@click.command("reset")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@endpoint_option
@speaks_to_server
def command(yes: bool, endpoint_url: str | None) -> None:
    """Remove all functions, events, queues, logs, metrics and roles, and set the clock back. Access keys stay."""
    if not yes:
        click.confirm("This removes everything on the server but access keys. Go on?", abort=True)
    call_own("POST", PATH, endpoint_url)
    click.echo("The server is empty.")
