"""`lambdad up`: the server in the foreground, until it is told to stop."""

from __future__ import annotations

import logging

import click

from lambdad import config
from lambdad.cli.console import Console
from lambdad.cli.options import load_settings, settings_options
from lambdad.config import Settings


def _run(**given: str | tuple[str, ...] | None) -> None:
    settings = load_settings(given)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s  %(levelname)s  %(message)s",
        datefmt="%H:%M:%S",
    )
    console = Console(show_invocations=settings.log_level in {"debug", "info"})
    _warn(console, settings)
    try:
        # Only now, so that a wrong option is told without loading the server.
        from lambdad.cli.serve import CannotServe, serve  # noqa: PLC0415

        try:
            serve(settings, console)
        except CannotServe as error:
            raise click.ClickException(str(error)) from None
    finally:
        console.close()


def _warn(console: Console, settings: Settings) -> None:
    for name in config.unknown_variables():
        console.line(f"Warning: {name} is set, but there is no such setting; see `lambdad up --help`.")
    if settings.auth == "dev" and not config.is_loopback(settings.host):
        console.line(
            f"Warning: --auth dev on {settings.host} lets everyone who reaches this address run code here. "
            "Use --auth strict and `lambdad keys create` unless the network is yours alone."
        )


command = click.Command(
    "up",
    params=settings_options(),
    callback=_run,
    help="Start the server and stay in the foreground. Ctrl-C or SIGTERM stops it, a second Ctrl-C at once.\n\n"
    "Every option can also be given by its variable, which the brackets name.",
)
