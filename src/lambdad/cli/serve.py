"""Runs the server behind `lambdad up`: starts it, tells where it is, waits for the signal to stop."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from lambdad import __version__
from lambdad.cli.console import Console
from lambdad.cli.spawning import start_spawner
from lambdad.config import Settings
from lambdad.domain.errors import LambdadError
from lambdad.execution.spawner.client import SpawnerClient, SpawnerGone

if TYPE_CHECKING:
    from lambdad.app import Application

EXIT_HARD = 130
"""The status of a process that Ctrl-C has ended (128 and the number of SIGINT)."""


class CannotServe(Exception):
    """The server could not be started, or cannot go on; the text says why and what to do."""


def serve(settings: Settings, console: Console) -> None:
    """Starts the server and returns when it has been told to stop and has stopped. Raises CannotServe."""
    gc.disable()  # what is imported now stays anyway; `Application.start` switches collections on again
    spawner = start_spawner(settings)
    with console.step("Loading the server"):
        from lambdad.app import Application  # noqa: PLC0415 - while the spawner starts

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(Application(settings, spawner), spawner, settings, console))
    except LambdadError as error:
        raise CannotServe(error.message) from None
    except SpawnerGone:
        raise CannotServe("The spawner, which starts functions, has ended. `lambdad doctor` may tell why.") from None


async def _serve(application: Application, spawner: SpawnerClient, settings: Settings, console: Console) -> None:
    stopping = _stop_on_signals()
    try:
        with console.step("Opening the data folder and preparing isolation"):
            await application.start()
    except OSError as error:
        raise CannotServe(_explained(error, settings)) from None
    finally:
        gc.enable()
    spawner.gone.add_done_callback(lambda _: stopping.set())
    try:
        _greet(application, settings, console)
        console.watch(application.telemetry)
        telling = asyncio.create_task(_tell_runtimes(application, console))
        await stopping.wait()
        if spawner.gone.done():
            raise SpawnerGone
        console.line("Stopping. Ctrl-C again stops at once.")
    finally:
        await application.stop()
    await telling
    console.line("Stopped.")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - the extra `fast`
    except ImportError:
        return None
    return uvloop.new_event_loop


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    interrupts = 0

    def stop(number: signal.Signals) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            os._exit(EXIT_HARD)  # the spawner ends every function when it sees that the server is gone
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return stopping


def _explained(error: OSError, settings: Settings) -> str:
    address = f"port {settings.port} of {settings.host}"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Something else listens on {address}, perhaps another lambdad. "
                "Stop it, or choose another port with --port (LAMBDAD_PORT)."
            )
        case errno.EADDRNOTAVAIL:
            return f"This machine has no address {settings.host}. Give one that it has with --host (LAMBDAD_HOST)."
        case errno.EACCES | errno.EPERM if error.filename is None:
            return f"No permission to listen on {address}. Choose a port above 1023 with --port (LAMBDAD_PORT)."
        case _ if error.filename is not None:
            return (
                f"The data folder cannot be used: {error.filename}: {error.strerror}. "
                "Give one that you may write to with --data (LAMBDAD_DATA)."
            )
        case _:
            return f"The server cannot listen on {address}: {error.strerror or error}."


def _greet(application: Application, settings: Settings, console: Console) -> None:
    keys = (
        "AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test"
        if settings.auth == "dev"
        else "AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…    # from `lambdad keys create`"
    )
    facts = {**application.facts(), "data": settings.data, "access": settings.auth}
    # In one piece: who waits for the first line finds the others too.
    console.line(
        "\n".join(
            (
                f"lambdad {__version__} is ready at {application.endpoint}",
                "",
                "  Point your AWS tools at it by pasting this into their shell:",
                f"    export AWS_ENDPOINT_URL={application.endpoint}",
                f"    export {keys}",
                f"    export AWS_DEFAULT_REGION={settings.region}",
                "",
                *(f"  {name:<11} {text}" for name, text in facts.items()),
            )
        )
    )


async def _tell_runtimes(application: Application, console: Console) -> None:
    """Some tenths of a second later than the rest: looking for interpreters runs them."""
    from lambdad.cli.interpreters import runnable_runtimes  # noqa: PLC0415 - not needed before the server is ready

    found = await asyncio.to_thread(runnable_runtimes, application.interpreters)
    console.line(f"  {'runtimes':<11} {', '.join(found)}")
    console.line()
