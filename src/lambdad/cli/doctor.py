"""`lambdad doctor`: what this machine offers, what is missing, and how to get it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click

from lambdad import __version__, config
from lambdad.cli.interpreters import is_deprecated, needed_interpreters
from lambdad.cli.options import load_settings, settings_options
from lambdad.cli.spawning import start_spawner
from lambdad.config import Settings
from lambdad.execution.runtimes.interpreters import Interpreters
from lambdad.execution.spawner.client import SpawnerGone
from lambdad.execution.spawner.isolation.landlock import SIGNALS_ABI

LOW_DISK_BYTES = 1 << 30
BEST_TIER = "T3"
TIERS = {
    "T3": "own mounts, processes and user for each environment, filtered system calls",
    "T2": "own mounts, processes and user namespace for each environment, filtered system calls",
    "T1": "Landlock shows each environment its own files alone; filtered system calls; /tmp is where TMPDIR says",
    "T0": "processes with the server's rights; for code that you trust",
}
STOPS = {
    "T3": "reading or changing anything of the server, the host and other functions, all processes but the function's "
    "own, privileges, more {limits} than configured",
    "T2": "reading or changing anything of the server, the host and other functions, all processes but the function's "
    "own, privileges, more {limits} than configured",
    "T1": "reading or changing files of the server, the host and other functions, tracing other processes, privileges",
    "T0": "nothing on purpose; only memory and time are limited, and variables and descriptors kept private",
}
"""What each tier means for the function, in a line; docs/isolation.md has the whole."""
PROVIDED = ("provided.al2", "provided.al2023")
COLOURS = {"ok": "green", "note": "yellow", "missing": "red"}
MARKS = {"ok": "✓", "note": "!", "missing": "✗"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    name: str
    status: str
    """`ok`; `note`: something works less well or not at all, but the server does; `missing`: the server needs it."""
    detail: str
    remedy: str = ""
    """What to do about it; empty when there is nothing to do."""


def _run(as_json: bool, **given: str | tuple[str, ...] | None) -> None:
    settings = load_settings(given)
    findings = [finding for examine in EXAMINATIONS for finding in examine(settings)]
    complete = all(finding.status != "missing" for finding in findings)
    if as_json:
        click.echo(json.dumps({"complete": complete, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _print(findings)
    sys.exit(0 if complete else 1)


def _print(findings: list[Finding]) -> None:
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            click.secho(f"\n{topic}" if finding is not findings[0] else topic, bold=True)
        click.secho(f"  {MARKS[finding.status]} ", fg=COLOURS[finding.status], nl=False)
        click.echo(f"{finding.name:<16} {finding.detail}")
        if finding.remedy:
            click.echo(f"{'':<21}→ {finding.remedy}")
    missing = [finding.name for finding in findings if finding.status == "missing"]
    click.echo()
    if missing:
        click.secho(f"Needed and missing: {', '.join(missing)}.", fg="red")
    else:
        click.secho("Everything that lambdad needs is there.", fg="green")


# --- the examinations ---


def _program(_: Settings) -> Iterator[Finding]:
    topic = "lambdad"
    python = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    yield Finding(topic=topic, name="version", status="ok", detail=f"{__version__}, {python}")
    for name, why in (
        ("httptools", "the HTTP server"),
        ("botocore", "the service models"),
        ("boto3", "what Python functions import"),
    ):
        version = _version_of(name)
        yield Finding(
            topic=topic,
            name=name,
            status="ok" if version else "missing",
            detail=version or f"not installed: {why}",
            remedy="" if version else f"pip install {name}",
        )
    for name, without, extra in (
        ("uvloop", "the server works without it, at some cost in speed", "fast"),
        ("moto", "S3, DynamoDB and AWS's other services are not offered", "aws"),
    ):
        version = _version_of(name)
        yield Finding(
            topic=topic,
            name=name,
            status="ok" if version else "note",
            detail=version or f"not installed: {without}",
            remedy="" if version else f"pip install 'lambdad[{extra}]'",
        )


def _server(settings: Settings) -> Iterator[Finding]:
    topic = "Server"
    yield _port(settings, topic)
    yield from _data_folder(settings, topic)
    access = {
        "dev": "dev: signed calls, unknown keys count as their account's root",
        "strict": "strict: only keys made with `lambdad keys create`",
    }[settings.auth]
    yield Finding(topic=topic, name="access", status="ok", detail=access)
    yield _names_of_urls(settings, topic)
    for name in config.unknown_variables():
        yield Finding(
            topic=topic,
            name="variable",
            status="note",
            detail=f"{name} is set, but there is no such setting",
            remedy="unset it; `lambdad up --help` lists every variable",
        )


def _names_of_urls(settings: Settings, topic: str) -> Finding:
    """Whether the names of function URLs are resolved here; browsers and curl resolve those below localhost alone."""
    served = settings.hostnames[0].removeprefix("*.") if settings.hostnames else "localhost"
    try:
        socket.getaddrinfo(f"id.lambda-url.{settings.region}.{served}", None)
    except OSError:
        return Finding(
            topic=topic,
            name="function URLs",
            status="note",
            detail=f"this machine does not resolve names below {served}; curl and browsers do that for localhost",
            remedy="call function URLs by their path, /_lambdad/urls/ID/, where a client cannot find the name",
        )
    return Finding(topic=topic, name="function URLs", status="ok", detail=f"names below {served} are resolved")


def _isolation(settings: Settings) -> Iterator[Finding]:
    topic = "Isolation"
    try:
        report = asyncio.run(_spawner_report(settings))
    except (SpawnerGone, OSError) as error:
        yield Finding(topic=topic, name="spawner", status="missing", detail=f"cannot be started: {error}")
        return
    tier = str(report["tier"])
    enough = int(tier[1:]) >= settings.isolation.required_tier
    best = tier == BEST_TIER
    yield Finding(
        topic=topic,
        name="tier",
        status="missing" if not enough else "ok" if best else "note",
        detail=f"{tier}: {TIERS[tier]}",
        remedy="" if enough else f"--isolation asks for T{settings.isolation.required_tier}, which needs what follows",
    )
    yield Finding(topic=topic, name="means", status="ok", detail=_stopped(tier, report))
    for obstacle in report["obstacles"]:
        yield Finding(
            topic=topic,
            name=f"not {obstacle['tier']}",
            status="note",
            detail=obstacle["reason"],
            remedy=obstacle["remedy"],
        )
    for sentence in report["missing"][len(report["obstacles"]) :]:
        yield Finding(topic=topic, name="less", status="note", detail=sentence)
    yield _users(tier, report)
    yield _landlock(tier, report)
    yield _groups(report)
    yield _freezing(settings, report)
    yield _cpu_time(settings, report)


def _stopped(tier: str, report: dict[str, Any]) -> str:
    limits = "memory, tasks or /tmp" if report["limits_memory"] else "tasks or /tmp"
    return f"stopped: {STOPS[tier].format(limits=limits)}"


def _groups(report: dict[str, Any]) -> Finding:
    if report["cgroups"]:
        limits = [what for what in ("memory", "tasks") if report[f"limits_{what}"]]
        detail = f"version {report['cgroups']}, exact limits of {' and '.join(limits)}"
    else:
        detail = "none that can be used"
    return Finding(
        topic="Isolation",
        name="cgroups",
        status="ok" if report["limits_memory"] else "note",
        detail=detail,
        remedy=""
        if report["limits_memory"]
        else "start lambdad as root, from a systemd unit (also one of your user) with Delegate=yes, or, where systemd "
        "and D-Bus run, from a login shell, for exact limits of memory and processes",
    )


def _freezing(settings: Settings, report: dict[str, Any]) -> Finding:
    if settings.freeze_after_s is None:
        detail = "switched off: what functions leave behind runs on between calls"
    elif report["freezer"]:
        detail = f"between calls, by control groups of version {report['freezer']}"
    else:
        detail = "between calls, by signals, which functions can notice"
    return Finding(
        topic="Isolation",
        name="freezing",
        status="ok" if report["freezer"] and settings.freeze_after_s is not None else "note",
        detail=detail,
    )


def _cpu_time(settings: Settings, report: dict[str, Any]) -> Finding:
    detail = {
        "shares": "in proportion to memory sizes while functions compete",
        "quota": "as on AWS, a whole CPU for 1,769 MB",
        "off": "does not follow the memory size",
    }[report["cpu"]]
    is_as_wanted = report["cpu"] == settings.cpu
    return Finding(
        topic="Isolation",
        name="CPU time",
        status="ok" if is_as_wanted else "missing" if settings.cpu == "quota" else "note",
        detail=detail,
        remedy="" if is_as_wanted else f"--cpu {settings.cpu} needs control groups for CPU time",
    )


def _users(tier: str, report: dict[str, Any]) -> Finding:
    name, topic = "users", "Isolation"
    if report["users"]:
        return Finding(topic=topic, name=name, status="ok", detail="one for each environment")
    if tier == "T2":
        return Finding(topic=topic, name=name, status="ok", detail="one for each environment, in its user namespace")
    return Finding(
        topic=topic,
        name=name,
        status="note",
        detail="functions have the server's user"
        + (", a control group limits their processes" if report["limits_tasks"] else ": a fork bomb can use it up"),
        remedy="start lambdad as root, in a container too: functions then get users of their own",
    )


def _landlock(tier: str, report: dict[str, Any]) -> Finding:
    name, topic, abi = "Landlock", "Isolation", int(report["landlock"])
    if tier == "T0":
        return Finding(topic=topic, name=name, status="note", detail="not used")
    if abi >= SIGNALS_ABI:
        return Finding(topic=topic, name=name, status="ok", detail=f"ABI {abi}")
    less = "abstract sockets of other programs can be reached" + (
        ", and processes of the same user be sent signals" if tier == "T1" and not report["users"] else ""
    )
    return Finding(
        topic=topic,
        name=name,
        status="note",
        detail=f"{f'ABI {abi}' if abi else 'not there'}: {less}",
        remedy="Linux 6.12 or newer refuses that",
    )


async def _spawner_report(settings: Settings) -> dict[str, Any]:
    client = start_spawner(settings)
    try:
        await client.attach()
        return await client.report()
    finally:
        await client.stop()


def _runtimes(settings: Settings) -> Iterator[Finding]:
    """Each interpreter that a runtime of the catalog needs. One is enough for the server to be of use."""
    interpreters = Interpreters(
        {f"python{version}": path for version, path in settings.pythons.items()}
        | {f"node{version}": path for version, path in settings.nodes.items()}
    )
    findings = [_interpreter(interpreters, identifier, name) for identifier, name in needed_interpreters()]
    findings = [finding for finding in findings if finding.status == "ok" or not is_deprecated(finding.name)]
    if all(finding.status != "ok" for finding in findings if finding.name not in PROVIDED):
        yield Finding(
            topic="Runtimes",
            name="interpreters",
            status="missing",
            detail="there is neither a Python nor a Node.js that functions could run on",
            remedy="install Python 3.8 or newer, or name one with --python 3.12=PATH",
        )
    yield from findings


def _interpreter(interpreters: Interpreters, identifier: str, name: str) -> Finding:
    topic = "Runtimes"
    if not name:
        return Finding(topic=topic, name=identifier, status="ok", detail="needs nothing but the function's bootstrap")
    found = interpreters.find(name)
    if found is None:
        reason, _, advice = interpreters.why_missing(name).partition(": ")
        return Finding(topic=topic, name=identifier, status="note", detail=reason, remedy=advice)
    notes = [found.why_no_sdk] if found.why_no_sdk else []
    detail = f"{'.'.join(map(str, found.version))}, {found.path}"
    return Finding(topic=topic, name=identifier, status="ok", detail="; ".join([detail, *notes]))


def _tools(_: Settings) -> Iterator[Finding]:
    path = shutil.which("aws")
    version = _output([path, "--version"]).partition(" ")[0] if path else ""
    yield Finding(
        topic="Tools",
        name="aws CLI",
        status="ok" if version else "note",
        detail=f"{version}, {path}" if version else "not found on PATH: the demo uses boto3 instead",
        remedy=""
        if version
        else "your package manager's awscli, or `pip install awscli` into an environment of its own",
    )


def _port(settings: Settings, topic: str) -> Finding:
    where = f"{settings.host} port {settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if _is_lambdad(settings):
            return Finding(topic=topic, name="port", status="ok", detail=f"{where}: a lambdad server answers there")
        return Finding(
            topic=topic,
            name="port",
            status="missing",
            detail=f"{where} cannot be used: {error.strerror or error}",
            remedy="stop what listens there, or choose another with --port (LAMBDAD_PORT)",
        )
    return Finding(topic=topic, name="port", status="ok", detail=f"{where} is free")


def _is_lambdad(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        connection.request("GET", "/_lambdad/health")
        answer = connection.getresponse()
        return answer.status == 200 and isinstance(json.loads(answer.read()), dict)
    return False


def _data_folder(settings: Settings, topic: str) -> Iterator[Finding]:
    existing = settings.data
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(
            topic=topic,
            name="data folder",
            status="missing",
            detail=f"{settings.data} cannot be written to",
            remedy="give one that you may write to with --data (LAMBDAD_DATA)",
        )
        return
    state = "exists" if existing == settings.data else "will be made"
    free = shutil.disk_usage(existing).free
    yield Finding(topic=topic, name="data folder", status="ok", detail=f"{settings.data} ({state})")
    yield Finding(
        topic=topic,
        name="disk space",
        status="ok" if free >= LOW_DISK_BYTES else "note",
        detail=f"{free / (1 << 30):.1f} GiB free",
        remedy="" if free >= LOW_DISK_BYTES else "free some, or put the data folder elsewhere with --data",
    )


def _version_of(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _output(arguments: list[str]) -> str:
    """What a program prints on either stream; empty when it fails or hangs."""
    try:
        done = subprocess.run(  # noqa: S603 - programs found on this machine, asked for their version
            arguments, capture_output=True, text=True, timeout=10, check=False, env=config.child_environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""


EXAMINATIONS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _program,
    _server,
    _isolation,
    _runtimes,
    _tools,
)

command = click.Command(
    "doctor",
    params=[
        click.Option(["--json", "as_json"], is_flag=True, help="Print the findings as JSON."),
        *settings_options(),
    ],
    callback=_run,
    help="Show what this machine can do for lambdad, what is missing and how to get it.\n\n"
    "Takes the options of `lambdad up` and looks at what that would use. Exits with 1 when something needed is "
    "missing.",
)
