"""From the raw results of `benchmarks.cold` to tables and aims."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.report import Aim, Row, Spread, conditions, markdown_table, plain_table, write_between

BEGIN, END = "<!-- cold: begin -->", "<!-- cold: end -->"
Table = tuple[str, tuple[Row, list[Row]]]


def first_table(section: dict) -> Table:
    rows = [
        (name, Spread.of([seconds * 1000 for seconds in times]).show(".1f"))
        for name, times in section["seconds"].items()
    ]
    return "First call of a function", (("", "ms"), rows)


def first_aims(section: dict) -> Iterator[Aim]:
    """Against the limits of the same round; only what was measured with isolation is held against an aim."""
    times = section["seconds"]

    def ratio(name: str, limit: str) -> float:
        pairs = zip(times[name], times[limit], strict=True)
        return statistics.median(ours / bare for ours, bare in pairs)

    for name in ("python, auto", "import boto3, auto"):
        if name in times:
            yield Aim(f"{name}: of `python3 -c pass`", ratio(name, "python3 -c pass"), 0.7)
            yield Aim(name, statistics.median(times[name]) * 1000, 10, " ms")
    if "boto3 client, auto" in times:
        yield Aim("boto3 client, auto", statistics.median(times["boto3 client, auto"]) * 1000, 100, " ms")
    if "node, auto" in times:
        yield Aim("node, auto: of `node -e 0`", ratio("node, auto", "node -e 0"), 0.3)
    if "python, auto" in times and "python, off" in times:
        pairs = zip(times["python, auto"], times["python, off"], strict=True)
        more = statistics.median(isolated - plain for isolated, plain in pairs) * 1000
        yield Aim("what isolation adds to the first call of a Python function", more, 4, " ms")


def bundle_table(section: dict) -> Table:
    rows = [
        (name, Spread.of([seconds * 1000 for seconds in times]).show(".1f"))
        for name, times in section["seconds"].items()
    ]
    return f"First call of a bundle of {section['bytes'] / 1e6:.1f} MB, {section['runtime']}", (("", "ms"), rows)


def bundle_aims(section: dict) -> Iterator[Aim]:
    """What was compiled ahead must be worth its while; against the call without it of the same round."""
    ahead, without = (section["seconds"].get(f"{kind}, auto") for kind in ("compiled when deployed", "without"))
    if ahead and without:
        ratio = statistics.median(one / other for one, other in zip(ahead, without, strict=True))
        yield Aim("Node.js bundle compiled when deployed, auto: of that without", ratio, 0.8)


def burst_table(section: dict) -> Table:
    rows = [
        (isolation, Spread.of([seconds * 1000 for seconds in times]).show())
        for isolation, times in section["seconds"].items()
    ]
    title = f"{section['calls']} calls at once of a function that sleeps {section['sleep_s'] * 1000:.0f} ms, from zero"
    return title, (("isolation", "ms until all are answered"), rows)


def burst_aims(section: dict) -> Iterator[Aim]:
    for times in [section["seconds"][name] for name in ("auto",) if name in section["seconds"]]:
        yield Aim("burst from zero, auto", statistics.median(times) * 1000, 400, " ms")


def memory_table(section: dict) -> Table:
    rows = [(isolation, f"{size / 1e6:.2f}") for isolation, size in section["bytes"].items()]
    return "Private memory of a Python environment", (("isolation", "MB"), rows)


def memory_aims(section: dict) -> Iterator[Aim]:
    for size in [section["bytes"][name] for name in ("auto",) if name in section["bytes"]]:
        yield Aim("private memory of a Python environment in MB, auto", size / 1e6, 3)


TABLES = {"first": first_table, "bundle": bundle_table, "burst": burst_table, "memory": memory_table}
AIMS = {"first": first_aims, "bundle": bundle_aims, "burst": burst_aims, "memory": memory_aims}


def render(results: dict[str, dict], *, markdown: bool) -> str:
    """All tables of the sections given, the aims first."""
    layout = markdown_table if markdown else plain_table
    heading = "### {}" if markdown else "== {}"
    parts: list[str] = []
    if aims := [aim for name, of in AIMS.items() if name in results for aim in of(results[name])]:
        head = ("aim", "bound", "measured", "")
        parts += [heading.format("Aims of cold starts"), layout(head, [aim.row() for aim in aims])]
    for name, section in results.items():
        title, (head, rows) = TABLES[name](section)
        parts += [heading.format(title), layout(head, rows)]
    measured = {conditions(section): None for section in results.values()}
    parts += ["\n\n".join(f"Measured on {one}" for one in measured)]
    return "\n\n".join(parts) + "\n"


def write_docs(results: dict[str, dict]) -> None:
    """Replaces what is between the markers in docs/performance.md."""
    write_between(BEGIN, END, render(results, markdown=True))
