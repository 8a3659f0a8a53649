"""What the commands of the benchmarks share: their options, and running and keeping sections."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.load import BUILD, CannotMeasure
from benchmarks.server import installed_command

Section = Callable[[Any], dict[str, object]]


def parser_for(module: str, description: str, sections: Mapping[str, Section]) -> argparse.ArgumentParser:
    """The options that all of them have; `only` is a list of names of sections."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    parser.add_argument("--quick", action="store_true", help="short runs, few repetitions: for a first look")
    parser.add_argument(
        "--only",
        type=names(tuple(sections)),
        default=list(sections),
        metavar="SECTION,...",
        help=f"of {', '.join(sections)}",
    )
    parser.add_argument(
        "--lambdad",
        default=installed_command(),
        metavar="COMMAND",
        help="what starts the server (default: the installed `lambdad up`)",
    )
    parser.add_argument("--write-docs", action="store_true", help="render the results into docs/performance.md")
    return parser


def run(sections: Mapping[str, Section], plan: Any, kept: Path) -> dict[str, Any] | None:
    """Runs the sections that `plan.only` names and keeps each result in the file `kept`, beside earlier ones of others.

    Returns all results of the file, or None, with a message, when something could not be measured.
    """
    BUILD.mkdir(exist_ok=True)
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    try:
        for name, section in sections.items():
            if name in plan.only:
                results[name] = {**section(plan), **surroundings(), "quick": plan.quick}
                kept.write_text(json.dumps(results, indent=1))
    except CannotMeasure as problem:
        say(f"benchmarks: {problem}")
        return None
    return results


def surroundings() -> dict[str, object]:
    versions = {"python": platform.python_version()}
    for name in ("lambdad", "awslambdaric", "httptools", "uvloop"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": today, "machine": processes.machine(), "versions": versions}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def names(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    """The type of an option that takes names separated by commas."""

    def parse(text: str) -> list[str]:
        wanted = text.split(",")
        if unknown := set(wanted) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
        return wanted

    return parse
