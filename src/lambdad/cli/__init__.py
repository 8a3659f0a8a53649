"""The lambdad command, one module per command.

A command's module is imported only when it is called: `lambdad up` is ready sooner that way.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

from lambdad import __version__

COMMANDS: Final = {
    "up": "Start the server.",
    "invoke": "Call a function.",
    "logs": "Show a function's log.",
    "events": "Show what became of asynchronous calls, and run dropped ones again.",
    "clock": "Show the server's time, or move it forward.",
    "reset": "Empty the server: functions, events, queues, logs, roles.",
    "keys": "Make, list and revoke access keys.",
    "doctor": "Show what this machine can do and what is missing.",
    "demo": "Show what lambdad does, with real calls.",
}
"""Every command and its line in the help, so that the help needs no module of a command."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"lambdad.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lambdad", message="%(prog)s %(version)s")
def main() -> None:
    """AWS Lambda's invocation service on your own machine, without Docker.

    Start it with `lambdad up` and point any AWS client at the endpoint that it prints.
    """
