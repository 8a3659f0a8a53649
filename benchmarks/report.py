"""From the raw results of `benchmarks.invoke` to tables, ratios and the aims they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.load import HERE

DOCS = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
LIMITS = ("limit-pipe", "limit-json", "limit-ric")
DISTURBED_CORES = 0.1
"""CPUs that others keep busy during a run, from which on it counts as disturbed."""

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the lowest and highest of the repetitions."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def show(self, form: str = ",.0f") -> str:
        return f"{self.median:{form}} [{self.low:{form}}-{self.high:{form}}]"


@dataclass(frozen=True, slots=True)
class Aim:
    """One stated aim: what was measured, and the bound it has to keep (`at_most` or at least)."""

    text: str
    value: float
    bound: float
    unit: str = ""
    at_most: bool = True

    @property
    def met(self) -> bool:
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def row(self) -> Row:
        form = ".0f" if self.unit else ".2f"
        bound = f"{'at most' if self.at_most else 'at least'} {self.bound:g}{self.unit}"
        return self.text, bound, f"{self.value:{form}}{self.unit}", "met" if self.met else "MISSED"


class Warm:
    """The section *warm*, with what is derived from it."""

    def __init__(self, section: dict) -> None:
        self._runs = section["runs"]

    @property
    def targets(self) -> list[str]:
        return list(self._runs)

    def values(self, target: str, connections: int, key: str) -> list[float]:
        return [run[key] for run in self._runs[target][str(connections)]]

    def spread(self, target: str, connections: int, key: str, scale: float = 1) -> Spread:
        return Spread.of([value * scale for value in self.values(target, connections, key)])

    def ratio(self, target: str, limit: str, connections: int, key: str) -> Spread:
        """Of each repetition's own pair, since those were measured within seconds of each other."""
        pairs = zip(self.values(target, connections, key), self.values(limit, connections, key), strict=True)
        return Spread.of([mine / its for mine, its in pairs])

    def tail(self, target: str) -> Spread:
        """p99 as a multiple of p50, at one connection."""
        pairs = zip(self.values(target, 1, "p99"), self.values(target, 1, "p50"), strict=True)
        return Spread.of([p99 / p50 for p99, p50 in pairs])


def warm_table(warm: Warm) -> tuple[Row, list[Row]]:
    head = ("target", "1: p50 us", "1: p99 us", "8: req/s", "32: req/s", "32: p99 us", "CPU us/req at 1 / 8 / 32")
    rows = []
    for name in warm.targets:
        cpu = " / ".join(f"{warm.spread(name, number, 'cpu_us_per_request').median:.0f}" for number in (1, 8, 32))
        rows.append(
            (
                name,
                warm.spread(name, 1, "p50", 1e-3).show(),
                warm.spread(name, 1, "p99", 1e-3).show(),
                warm.spread(name, 8, "requests_per_second").show(),
                warm.spread(name, 32, "requests_per_second").show(),
                warm.spread(name, 32, "p99", 1e-3).show(),
                cpu,
            )
        )
    return head, rows


def ratio_table(warm: Warm) -> tuple[Row, list[Row]]:
    head = ("of the same run", "1: p50 (less is better)", "8: req/s (more is better)", "32: req/s (more is better)")
    rows = []
    for name in warm.targets:
        if name in LIMITS or name == "echo":
            continue
        for limit in LIMITS:
            if limit in warm.targets:
                rows.append(
                    (
                        f"{name} / {limit}",
                        warm.ratio(name, limit, 1, "p50").show(".2f"),
                        warm.ratio(name, limit, 8, "requests_per_second").show(".2f"),
                        warm.ratio(name, limit, 32, "requests_per_second").show(".2f"),
                    )
                )
    return head, rows


def warm_aims(warm: Warm) -> Iterator[Aim]:
    have = set(warm.targets)
    if {"lambdad", "limit-pipe"} <= have:
        p50 = warm.ratio("lambdad", "limit-pipe", 1, "p50").median
        yield Aim("p50 at 1 connection, of limit-pipe", p50, 1.5)
        yield Aim("p99 at 1 connection, of its own p50", warm.tail("lambdad").median, 2.0)
        for number in (8, 32):
            rate = warm.ratio("lambdad", "limit-pipe", number, "requests_per_second").median
            yield Aim(f"requests/s at {number} connections, of limit-pipe", rate, 0.6, at_most=False)
    if {"lambdad-ric", "limit-ric"} <= have:
        rate = warm.ratio("lambdad-ric", "limit-ric", 8, "requests_per_second").median
        yield Aim("awslambdaric as the client: requests/s at 8 connections, of limit-ric", rate, 0.8, at_most=False)


def functions_table(section: dict) -> tuple[Row, list[Row]]:
    head = (
        "functions",
        "invoke p50 us",
        "invoke p99 us",
        "ListFunctions, first page, p50 ms",
        "creates/s (4 conn)",
        "server PSS MB",
        "restart until ready ms",
    )
    rows = []
    for count, result in section["counts"].items():
        invoke, listed = result["invoke"], result["list"]
        rows.append(
            (
                f"{int(count):,}",
                Spread.of([run["p50"] / 1e3 for run in invoke]).show(),
                Spread.of([run["p99"] / 1e3 for run in invoke]).show(),
                Spread.of([run["p50"] / 1e6 for run in listed]).show(".2f"),
                f"{result['created']['requests_per_second']:,.0f}",
                megabytes(result["server_pss"]),
                f"{result['restart_seconds'] * 1000:.0f}",
            )
        )
    return head, rows


def functions_aims(section: dict) -> Iterator[Aim]:
    counts = section["counts"]
    fewest = min(counts, key=int)
    for count in sorted(set(counts) - {fewest}, key=int):
        pairs = zip(counts[count]["invoke"], counts[fewest]["invoke"], strict=True)
        ratio = statistics.median(many["p50"] / few["p50"] for many, few in pairs)
        yield Aim(f"invoke p50 with {int(count):,} functions, of that with {fewest}", ratio, 1.1)


def idle_table(section: dict) -> tuple[Row, list[Row]]:
    rows = [
        (
            text,
            megabytes(section[key]["server_pss"]),
            megabytes(section[key]["tree_pss"]),
            str(section[key]["processes"]),
        )
        for key, text in (("fresh", "started, nothing done yet"), ("one_warm_function", "one function kept warm"))
    ]
    return ("idle server", "server PSS MB", "whole tree PSS MB", "processes"), rows


def idle_aims(section: dict) -> Iterator[Aim]:
    if size := section["fresh"]["server_pss"]:
        yield Aim("idle server, PSS of its process", size / 1e6, 60, " MB")


def start_table(section: dict) -> tuple[Row, list[Row]]:
    return ("start until health answers 200", "ms"), [
        (
            f"{len(section['seconds'])} starts, each on an empty data folder",
            Spread.of([seconds * 1000 for seconds in section["seconds"]]).show(),
        )
    ]


def start_aims(section: dict) -> Iterator[Aim]:
    yield Aim("start until health answers 200, median", statistics.median(section["seconds"]) * 1000, 300, " ms")


def megabytes(size: int | None) -> str:
    return "not readable" if size is None else f"{size / 1e6:.1f}"


def tables(name: str, section: dict) -> list[tuple[str, tuple[Row, list[Row]]]]:
    """Title, head and rows of every table of a section."""
    if name == "warm":
        warm = Warm(section)
        found = [
            ("Warm synchronous invoke, 1 KB echo, at 1, 8 and 32 connections", warm_table(warm)),
            ("Ratios to the limits", ratio_table(warm)),
        ]
    else:
        title, make = {
            "functions": ("Many functions", functions_table),
            "idle": ("Memory", idle_table),
            "start": ("Start", start_table),
        }[name]
        found = [(title, make(section))]
    return [(title, table) for title, table in found if table[1]]


AIMS: dict[str, Callable[[dict], Iterator[Aim]]] = {
    "warm": lambda section: warm_aims(Warm(section)),
    "start": start_aims,
    "idle": idle_aims,
    "functions": functions_aims,
}


def aims(results: dict[str, dict]) -> list[Aim]:
    return [aim for name, section_aims in AIMS.items() if name in results for aim in section_aims(results[name])]


def client_runs(section: dict) -> Iterator[tuple[str, dict]]:
    """Every run of the load client in a section, named for messages."""
    for target, by_connections in section.get("runs", {}).items():
        for number, runs in by_connections.items():
            yield from ((f"{target} at {number}", run) for run in runs)
    for count, result in section.get("counts", {}).items():
        yield f"creating {count} functions", result["created"]
        for kind in ("invoke", "list"):
            yield from ((f"{kind} with {count} functions", run) for run in result[kind])


def errors(results: dict[str, dict]) -> list[str]:
    return [
        f"{name}: {run['errors']} errors ({run['first_error']})"
        for section in results.values()
        for name, run in client_runs(section)
        if run["errors"]
    ]


def quiet(section: dict) -> str:
    """One sentence on how much others disturbed the section's runs."""
    foreign = [run["foreign_cores"] for _, run in client_runs(section)]
    if not foreign:
        return ""
    disturbed = sum(cores > DISTURBED_CORES for cores in foreign)
    return (
        f"Other processes kept {statistics.median(foreign):.2f} cores busy (median of {len(foreign)} runs); "
        f"{disturbed} runs were disturbed (more than {DISTURBED_CORES} cores)."
    )


def conditions(section: dict) -> str:
    machine, versions = section["machine"], section["versions"]
    return (
        f"{section['date']}; {machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ("; a --quick run: indicative only" if section["quick"] else "")
        + "."
    )


def render(results: dict[str, dict], *, markdown: bool) -> str:
    """All tables of the sections given, the aims first."""
    layout = markdown_table if markdown else plain_table
    heading = "### {}" if markdown else "== {}"
    parts = []
    if found := aims(results):
        rows = [aim.row() for aim in found]
        parts += [heading.format("Aims"), layout(("aim", "bound", "measured", ""), rows)]
    for name, section in results.items():
        for title, (head, rows) in tables(name, section):
            parts += [heading.format(title), layout(head, rows)]
        if note := quiet(section):
            parts.append(note)
    measured = {conditions(section): None for section in results.values()}
    parts += [heading.format("Measured on"), "\n\n".join(measured)]
    return "\n\n".join(parts) + "\n"


def markdown_table(head: Row, rows: list[Row]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def plain_table(head: Row, rows: list[Row]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )


def write_docs(results: dict[str, dict]) -> None:
    """Replaces what is between the markers in docs/performance.md."""
    write_between(BEGIN, END, render(results, markdown=True))


def write_between(begin: str, end: str, content: str) -> None:
    """Replaces what is between two markers in docs/performance.md."""
    text = DOCS.read_text()
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise SystemExit(f"{DOCS.name} lacks the markers {begin} and {end}")
    DOCS.write_text(f"{before}{begin}\n\n{content}\n{end}{after}")
