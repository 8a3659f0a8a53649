"""Settings of the server, read once at the start; nothing else in the package reads the process's environment.

`OPTIONS` is the one table: the options of `lambdad up`, the variables `LAMBDAD_*` and the table in
`docs/configuration.md` are all made from it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

DEFAULT_PORT = 4566
DEFAULT_REGION = "us-east-1"
DEFAULT_ENDPOINT = f"http://127.0.0.1:{DEFAULT_PORT}"
VARIABLE_PREFIX = "LAMBDAD_"
LOG_LEVELS = ("debug", "info", "warning", "error")
TARGET_SERVICES = ("sqs", "sns", "events", "lambda", "s3", "kinesis", "dynamodb")
"""Services that destinations and dead letters can be sent to outside of the server."""
ISOLATION_TIERS = 4
"""T0 to T3."""


class SettingsError(Exception):
    """A setting cannot be used; the message names it and says what to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """How strictly functions are kept apart."""

    highest: str = "auto"
    """`auto`, or the highest tier that is to be used: `T1`, `T2`, `T3`, or `off` for T0: no namespaces, users, cgroups
    or filters even where the machine allows them."""
    required_tier: int = 0
    """The server refuses to start below this tier (0 to 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that `lambdad up` can be told. Durations are seconds."""

    port: int
    """0: the system picks a free one."""
    host: str
    data: Path
    database: str
    """`sqlite`: one file in the data folder."""
    hostnames: tuple[str, ...]
    """Further names under which clients reach the server, lower case."""
    auth: str
    """`dev` or `strict`, already decided."""
    region: str
    isolation: Isolation
    zygote: bool
    python_runtime: str
    pythons: Mapping[str, str]
    """Interpreters given by the user: version (`3.12`) to absolute path."""
    nodes: Mapping[str, str]
    """Major version (`22`) to absolute path."""
    account_concurrency: int
    async_concurrency: int
    retry_delays_s: tuple[float, ...]
    """Before the second attempt of an event, the third, and so on."""
    ledger_age_s: float
    ledger_size_mb: int
    idle_timeout_s: float
    cpu: str
    """`shares`, `quota` or `off`: how CPU time follows the memory size."""
    network: str
    """`shared` or `none`: what functions can reach."""
    freeze_after_s: float | None
    """None: environments are never frozen."""
    targets: Mapping[str, str]
    """Where destinations and dead letters go that leave the server: service or ARN pattern to URL or `aws`."""
    target_profile: str
    """The AWS profile whose keys sign what is sent there; empty for none."""
    log_level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of `lambdad up` and its variable."""

    name: str
    parse: Callable[[str], object]
    """Turns the text into a value; raises ValueError with what was expected."""
    default: str
    """As text, parsed like a given one; for repeatable options the empty text means none."""
    default_shown: str = ""
    """What help and docs show where the default is not plain text."""
    metavar: str
    help: str
    repeatable: bool = False
    """The option may be given again; the variable takes a comma-separated list."""

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        return VARIABLE_PREFIX + self.name.upper().replace("-", "_")

    @property
    def shown_default(self) -> str:
        return self.default_shown or self.default or "none"


# --- parsing of single values ---


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError("a port from 1 to 65535, or 0 for a free one")
    return int(text)


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_%-]+", text):
        raise ValueError("an address or host name of this machine, such as 127.0.0.1 or 0.0.0.0")
    return text


def _hostname(text: str) -> str:
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", text):
        raise ValueError("a host name without scheme and port, such as lambda.example.org or *.lambda.example.org")
    return text.lower()


def _folder(text: str) -> Path:
    if not text.strip():
        raise ValueError("a folder")
    return Path(text).expanduser().absolute()


def _database(text: str) -> str:
    if text == "sqlite":
        return text
    if text.startswith(("postgres://", "postgresql://")):
        raise ValueError("sqlite: PostgreSQL is not supported by this version; leave the option out")
    raise ValueError("sqlite, which is the default")


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(" or ".join(choices))
        return text

    return parse


def _on_off(text: str) -> bool:
    return _choice("on", "off")(text) == "on"


def _auth(text: str) -> str:
    return _choice("auto", "dev", "strict")(text)


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d+", text):
        raise ValueError("a region such as us-east-1")
    return text


def _python_runtime(text: str) -> str:
    if text not in ("own", "awslambdaric"):
        raise ValueError("own or awslambdaric")
    return text


def _isolation(text: str) -> Isolation:
    if text == "auto":
        return Isolation()
    if text == "off":
        return Isolation(highest="off")
    match = re.fullmatch(r"(require=)?T([0-3])", text, re.IGNORECASE)
    if match is None:
        raise ValueError("auto, off, T1, T2, T3, or require=T1, require=T2, require=T3")
    tier = int(match[2])
    if match[1]:
        return Isolation(required_tier=tier)
    return Isolation(highest=f"T{tier}" if tier else "off", required_tier=tier)


def _interpreter(pattern: str, example: str) -> Callable[[str], tuple[str, str]]:
    def parse(text: str) -> tuple[str, str]:
        version, equals, path = text.partition("=")
        if not equals or not re.fullmatch(pattern, version):
            raise ValueError(f"VERSION=PATH, such as {example}")
        found = Path(path).expanduser().absolute()
        if not found.is_file() or not os.access(found, os.X_OK):
            raise ValueError(f"VERSION=PATH with the path of a program; {found} is none")
        return version, str(found)

    return parse


def _positive_int(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError("a whole number from 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise ValueError("a number of seconds above 0")
    return value


def _seconds_or_off(text: str) -> float | None:
    if text == "off":
        return None
    try:
        return _seconds(text)
    except ValueError:
        raise ValueError("a number of seconds above 0, or off") from None


def _delays(text: str) -> tuple[float, ...]:
    try:
        return tuple(_seconds(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("seconds above 0, separated by commas, such as 60,120") from None


def _target(text: str) -> tuple[str, str]:
    pattern, _, endpoint = text.partition("=")
    is_arn = pattern.startswith("arn:") and ("*" in pattern or pattern.count(":") >= 5)
    if not (is_arn or pattern in TARGET_SERVICES) or not (endpoint == "aws" or _is_url(endpoint)):
        services = ", ".join(TARGET_SERVICES)
        raise ValueError(
            f"PATTERN=ENDPOINT: a service ({services}) or an ARN that may contain *, and a URL or the word aws, "
            "such as sqs=http://127.0.0.1:9324"
        )
    return pattern, endpoint


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _profile(text: str) -> str:
    return text.strip()


OPTIONS: tuple[Option, ...] = (
    Option(
        name="port",
        parse=_port,
        default=str(DEFAULT_PORT),
        metavar="PORT",
        help="Port to listen on; 0 picks a free one, which the start message tells.",
    ),
    Option(
        name="host",
        parse=_host,
        default="127.0.0.1",
        metavar="ADDRESS",
        help="Address to listen on. Other machines reach the server only at an address that is not loopback.",
    ),
    Option(
        name="data",
        parse=_folder,
        default="",
        default_shown="`$XDG_DATA_HOME/lambdad`, else `~/.local/share/lambdad`",
        metavar="DIR",
        help="Folder for functions, code and logs; made when missing. One server works on it at a time.",
    ),
    Option(
        name="database",
        parse=_database,
        default="sqlite",
        metavar="URL",
        help="Where records are kept: sqlite is one file in the data folder.",
    ),
    Option(
        name="hostname",
        parse=_hostname,
        default="",
        metavar="NAME",
        help="A further host name under which clients reach the server. Requests for names that are not known are "
        "refused, against DNS rebinding.",
        repeatable=True,
    ),
    Option(
        name="auth",
        parse=_auth,
        default="auto",
        metavar="auto|dev|strict",
        help="Who may call. dev: every request must be signed, unknown keys count as their account's root. strict: "
        "only keys made with `lambdad keys create`. auto: dev on a loopback address, strict on any other.",
    ),
    Option(
        name="region",
        parse=_region,
        default=DEFAULT_REGION,
        metavar="REGION",
        help="Region in the export lines that the start message shows. The server answers in the region of each "
        "request's signature.",
    ),
    Option(
        name="isolation",
        parse=_isolation,
        default="auto",
        metavar="auto|off|Tn|require=Tn",
        help="How functions are kept apart. auto: the highest tier that this machine allows (`lambdad doctor` shows "
        "it). off: none (T0). T1: exactly that tier, though a higher one may work. require=T2: refuse to start below "
        "tier T2.",
    ),
    Option(
        name="cpu",
        parse=_choice("shares", "quota", "off"),
        default="shares",
        metavar="shares|quota|off",
        help="How CPU time follows the memory size. shares: functions that compete get it in proportion, and what is "
        "idle is anybody's. quota: as on AWS a whole CPU for 1,769 MB, always, but not during init. off: not at all.",
    ),
    Option(
        name="network",
        parse=_choice("shared", "none"),
        default="shared",
        metavar="shared|none",
        help="What functions can reach. shared: what the machine reaches. none: nothing but themselves, since each "
        "environment has an empty network (tier T2 or T3). One function alone is kept in by its variable "
        "`LAMBDAD_NETWORK=none`.",
    ),
    Option(
        name="zygote",
        parse=_on_off,
        default="on",
        metavar="on|off",
        help="Fork Python environments from a warmed-up interpreter, four of them ahead of calls, and in tier T3 start "
        "Node.js ahead of its functions. off: start a fresh process for each.",
    ),
    Option(
        name="python-runtime",
        parse=_python_runtime,
        default="own",
        metavar="own|awslambdaric",
        help="What runs Python functions. own: lambdad's bootstrap, which answers as AWS's does and is much faster. "
        "awslambdaric: AWS's own runtime client, from the extra lambdad[ric].",
    ),
    Option(
        name="python",
        parse=_interpreter(r"3\.\d+", "3.12=/usr/bin/python3.12"),
        default="",
        metavar="VERSION=PATH",
        help="Interpreter for a python runtime, before those found on PATH and in the usual folders.",
        repeatable=True,
    ),
    Option(
        name="node",
        parse=_interpreter(r"\d+", "22=/usr/bin/node"),
        default="",
        metavar="VERSION=PATH",
        help="Node.js program for a nodejs runtime, before those found on PATH.",
        repeatable=True,
    ),
    Option(
        name="account-concurrency",
        parse=_positive_int,
        default="1000",
        metavar="NUMBER",
        help="Concurrent executions of each account and region. The next call is throttled with 429.",
    ),
    Option(
        name="async-concurrency",
        parse=_positive_int,
        default="64",
        metavar="NUMBER",
        help="Asynchronous invocations that run at once. Every function may run two, however many others run.",
    ),
    Option(
        name="retry-delays",
        parse=_delays,
        default="60,120",
        metavar="SECONDS,SECONDS",
        help="How long a failed asynchronous invocation waits before its second and its third attempt.",
    ),
    Option(
        name="ledger-age",
        parse=_seconds,
        default="604800",
        metavar="SECONDS",
        help="How long `lambdad events` can show what became of an asynchronous invocation that has ended.",
    ),
    Option(
        name="ledger-size",
        parse=_positive_int,
        default="256",
        metavar="MB",
        help="How much of that is kept on disk; beyond it the oldest is forgotten first.",
    ),
    Option(
        name="idle-timeout",
        parse=_seconds,
        default="300",
        metavar="SECONDS",
        help="An execution environment that had nothing to do for so long is ended.",
    ),
    Option(
        name="freeze-after",
        parse=_seconds_or_off,
        default="0.1",
        metavar="SECONDS|off",
        help="An execution environment that had nothing to do for so long is frozen until it is called again: its "
        "threads, timers and child processes stand still, as on AWS. off: they run on.",
    ),
    Option(
        name="target",
        parse=_target,
        default="",
        metavar="PATTERN=ENDPOINT",
        help="Sends destinations and dead letters out of the server, and reads event sources there. PATTERN: a service "
        "(`sqs`, `sns`, `events`, `lambda`, `s3`, `kinesis`, `dynamodb`) or an ARN that may contain `*`; ENDPOINT: a "
        "URL, or `aws` for AWS itself.",
        repeatable=True,
    ),
    Option(
        name="target-profile",
        parse=_profile,
        default="",
        metavar="NAME",
        help="The AWS profile whose keys sign what `--target` sends. Without one: test/test to URLs, and to `aws` the "
        "keys that AWS's tools find.",
    ),
    Option(
        name="log-level",
        parse=_choice(*LOG_LEVELS),
        default="info",
        metavar="|".join(LOG_LEVELS),
        help="What the server itself writes to its terminal. One line for each invocation from info on.",
    ),
)


def load(given: Mapping[str, str | Sequence[str] | None], environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from options (by option name, as text), else the variables, else the defaults.

    An option left out, None or an empty sequence counts as not given; so does an empty variable.
    Raises SettingsError for the first value that cannot be used.
    """
    environ = os.environ if environ is None else environ
    values = {option.name: _value(option, given.get(option.name), environ) for option in OPTIONS}
    host, auth = str(values["host"]), str(values["auth"])
    return Settings(
        port=_as(int, values["port"]),
        host=host,
        data=_as(Path, values["data"]),
        database=str(values["database"]),
        hostnames=_as(tuple, values["hostname"]),
        auth=auth if auth != "auto" else ("dev" if is_loopback(host) else "strict"),
        region=str(values["region"]),
        isolation=_as(Isolation, values["isolation"]),
        zygote=_as(bool, values["zygote"]),
        python_runtime=_as(str, values["python-runtime"]),
        pythons=dict(_as(tuple, values["python"])),
        nodes=dict(_as(tuple, values["node"])),
        account_concurrency=_as(int, values["account-concurrency"]),
        async_concurrency=_as(int, values["async-concurrency"]),
        retry_delays_s=_as(tuple, values["retry-delays"]),
        ledger_age_s=_as(float, values["ledger-age"]),
        ledger_size_mb=_as(int, values["ledger-size"]),
        idle_timeout_s=_as(float, values["idle-timeout"]),
        cpu=str(values["cpu"]),
        network=str(values["network"]),
        freeze_after_s=None if values["freeze-after"] is None else _as(float, values["freeze-after"]),
        targets=_endpoints(host, _as(int, values["port"]), environ) | dict(_as(tuple, values["target"])),
        target_profile=str(values["target-profile"]),
        log_level=str(values["log-level"]),
    )


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Variables that look like settings and are none, such as misspelt ones; worth a warning.

    Not an error: container platforms put variables of this form into the environment by themselves.
    """
    known = {option.variable for option in OPTIONS}
    environ = os.environ if environ is None else environ
    return sorted(name for name in environ if name.startswith(VARIABLE_PREFIX) and name not in known)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address. A name other than localhost counts as reachable from outside."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def default_data_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The data folder of a server that was given none (XDG base directories)."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_DATA_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(base) if base.startswith("/") else Path(environ.get("HOME") or "~").expanduser() / ".local/share") / (
        "lambdad"
    )


def child_environment() -> dict[str, str]:
    """The environment for programs that lambdad itself starts for the user, such as the demo's aws CLI."""
    return {name: value for name, value in os.environ.items() if not name.startswith(VARIABLE_PREFIX)}


def options_table() -> str:
    """The Markdown table of `docs/configuration.md`."""
    lines = ["| Option | Variable | Default | Meaning |", "| --- | --- | --- | --- |"]
    for option in OPTIONS:
        default = option.default_shown or (f"`{option.default}`" if option.default else "none")
        metavar = option.metavar.replace("|", "\\|")
        text = option.help + (" Repeatable; the variable takes a comma-separated list." if option.repeatable else "")
        lines.append(f"| `{option.flag} {metavar}` | `{option.variable}` | {default} | {text} |")
    return "\n".join(lines) + "\n"


def _value(option: Option, given: str | Sequence[str] | None, environ: Mapping[str, str]) -> object:
    source, texts = _texts(option, given, environ)
    values = tuple(_parsed(option, source, text) for text in texts)
    if option.repeatable:
        return values
    if values:
        return values[-1]
    return default_data_folder(environ) if option.name == "data" else option.parse(option.default)


def _endpoints(host: str, port: int, environ: Mapping[str, str]) -> dict[str, str]:
    """The endpoints of services in the variables that AWS's tools read too, `AWS_ENDPOINT_URL_SQS` and its like.

    Those of this server are left out: they are set for its clients, and its own targets need no way round.
    """
    found: dict[str, str] = {}
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return found
    for service in TARGET_SERVICES:
        name = f"AWS_ENDPOINT_URL_{'EVENTBRIDGE' if service == 'events' else service.upper()}"
        if service == "events" and not environ.get(name):
            name = "AWS_ENDPOINT_URL_EVENTS"  # also the service's name in botocore
        if service == "dynamodb" and environ.get("AWS_ENDPOINT_URL_DYNAMODB_STREAMS"):
            name = "AWS_ENDPOINT_URL_DYNAMODB_STREAMS"  # only streams are read
        if not (url := environ.get(name, "")):
            continue
        if not _is_url(url):
            raise SettingsError(f"{name} is {url!r}, but must be a URL such as http://127.0.0.1:9324.")
        parts = urlsplit(url)
        is_here = parts.hostname == host or is_loopback(parts.hostname or "")
        if not (is_here and (parts.port or {"http": 80, "https": 443}[parts.scheme]) == port):
            found[service] = url
    return found


def _texts(option: Option, given: str | Sequence[str] | None, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Where the value comes from, and its texts: none, one, or several of a repeatable option."""
    if isinstance(given, str):
        return option.flag, [given]
    if given:
        return option.flag, list(given)
    text = environ.get(option.variable, "")
    parts = [part.strip() for part in text.split(",")] if option.repeatable else [text]
    return option.variable, [part for part in parts if part]


def _parsed(option: Option, source: str, text: str) -> object:
    try:
        return option.parse(text)
    except ValueError as error:
        raise SettingsError(f"{source} is {text!r}, but must be {error}.") from None


def _as(kind: type[T], value: object) -> T:
    assert isinstance(value, kind)
    return value
