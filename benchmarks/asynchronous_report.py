"""From the raw results of `benchmarks.asynchronous` to tables and aims."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.report import (
    Aim,
    Row,
    Spread,
    conditions,
    markdown_table,
    megabytes,
    plain_table,
    quiet,
    write_between,
)

BEGIN, END = "<!-- asynchronous: begin -->", "<!-- asynchronous: end -->"
LIMIT, HELD = "limit-commit", "lambdad, events wait"
Table = tuple[str, tuple[Row, list[Row]]]


def rates(section: dict, name: str, connections: int) -> list[float]:
    return [run["requests_per_second"] for run in section["runs"][name][str(connections)]]


def accept_table(section: dict) -> Table:
    numbers = [int(number) for number in section["runs"][LIMIT]]
    rows = []
    for name, runs in section["runs"].items():
        cells = [Spread.of(rates(section, name, number)).show() for number in numbers]
        tail = Spread.of([run["p99"] / 1e6 for run in runs[str(numbers[-1])]]).show(".1f")
        rows.append((name, *cells, tail))
    shares = [Spread.of(share(section, number)).show(".2f") for number in numbers]
    rows.append((f"{HELD} / {LIMIT}", *shares, ""))
    head = ("events a second, 1 KB each", *(f"{number} conn" for number in numbers), f"p99 ms at {numbers[-1]}")
    return "Accepting", (head, rows)


def share(section: dict, connections: int) -> list[float]:
    """lambdad's rate to the limit's, of each repetition."""
    pairs = zip(rates(section, HELD, connections), rates(section, LIMIT, connections), strict=True)
    return [ours / bare for ours, bare in pairs]


def accept_aims(section: dict) -> Iterator[Aim]:
    eight = statistics.median(rates(section, HELD, 8))
    yield Aim("durable accepts a second at 8 connections", eight, 3000, "/s", at_most=False)
    bare = statistics.median(share(section, 64))
    yield Aim(f"accepts at 64 connections, of {LIMIT}", bare, 0.5, at_most=False)


def drain_table(section: dict) -> Table:
    count, seconds = section["events"], section["seconds"]
    row = (
        f"{count:,} events of a function that does nothing",
        Spread.of(seconds).show(".2f"),
        Spread.of([count / one for one in seconds]).show(),
    )
    return "Working off", (("", "seconds", "events a second"), [row])


def backlog_table(section: dict) -> Table:
    counts = section["counts"]
    rows: list[Row] = []
    for name in next(iter(counts.values()))["times"]:
        cells = []
        for found in counts.values():
            times = sorted(found["times"][name])
            cells.append(f"{statistics.median(times) * 1000:.2f} ms (p99 {times[int(len(times) * 0.99)] * 1000:.2f})")
        rows.append((name, *cells))
    for clients in ("1", "16", "64"):
        rows.append(
            (f"stored a second, {clients} at once", *(f"{one['accepts'][clients]:,.0f}" for one in counts.values()))
        )
    rows.append(
        (
            "claimed by 64 and finished one by one, a second",
            *("" if one["worked_off"] is None else f"{one['worked_off']:,.0f}" for one in counts.values()),
        )
    )
    rows.append(("memory of the server, PSS MB", *(megabytes(one["server_pss"]) for one in counts.values())))
    rows.append(("start of the server, ms", *(f"{one['start_seconds'] * 1000:.0f}" for one in counts.values())))
    return "Behind a backlog", (("events queued", *(f"{int(count):,}" for count in counts)), rows)


def backlog_aims(section: dict) -> Iterator[Aim]:
    counts = section["counts"]
    empty, *_, largest = counts.values()
    last = f"{int(list(counts)[-1]):,}"

    def grown(name: str) -> float:
        return statistics.median(largest["times"][name]) / statistics.median(empty["times"][name])

    yield Aim(f"claim with {last} events queued, of that with none", grown("claim of one event"), 3)
    yield Aim(f"empty poll with {last} events queued, of that with none", grown("empty poll of one function"), 3)
    yield Aim(
        f"memory of the server with {last} events, of that with none", largest["server_pss"] / empty["server_pss"], 1.2
    )


def fairness_table(section: dict) -> Table:
    rows = []
    for name, text in (
        ("empty", "empty queue"),
        ("throttled", f"another function has {section['throttled']:,} throttled events"),
    ):
        times = sorted(section["seconds"][name])
        rows.append((text, f"{statistics.median(times) * 1000:.2f}", f"{times[int(len(times) * 0.9)] * 1000:.2f}"))
    return "From the call until the function runs", (("", "p50 ms", "p90 ms"), rows)


def fairness_aims(section: dict) -> Iterator[Aim]:
    found = {name: statistics.median(times) for name, times in section["seconds"].items()}
    yield Aim("latency beside a throttled backlog, of an empty queue", found["throttled"] / found["empty"], 2)


def messages_table(section: dict) -> Table:
    rows = [
        (
            row["name"],
            f"{row['queued']:,}",
            str(row["connections"]),
            f"{row['messages_per_second']:,.0f}",
            f"{row['p50'] / 1e6:.2f}",
            f"{row['p99'] / 1e6:.2f}",
        )
        for row in section["rows"]
    ]
    return "SQS, bodies of 256 bytes", (("request", "queued", "conn", "messages a second", "p50 ms", "p99 ms"), rows)


TABLES = {
    "accept": accept_table,
    "drain": drain_table,
    "backlog": backlog_table,
    "fairness": fairness_table,
    "messages": messages_table,
}
AIMS = {"accept": accept_aims, "backlog": backlog_aims, "fairness": fairness_aims}


def render(results: dict[str, dict], *, markdown: bool) -> str:
    """All tables of the sections given, the aims first."""
    layout = markdown_table if markdown else plain_table
    heading = "### {}" if markdown else "== {}"
    parts: list[str] = []
    aims: Sequence[Aim] = [aim for name, of in AIMS.items() if name in results for aim in of(results[name])]
    if aims:
        parts += [
            heading.format("Aims of asynchronous invocation"),
            layout(("aim", "bound", "measured", ""), [a.row() for a in aims]),
        ]
    for name, section in results.items():
        title, (head, rows) = TABLES[name](section)
        parts += [heading.format(title), layout(head, rows)]
        if note := quiet(section) if name == "accept" else "":
            parts.append(note)
    measured = {conditions(section): None for section in results.values()}
    parts += ["\n\n".join(f"Measured on {one}" for one in measured)]
    return "\n\n".join(parts) + "\n"


def write_docs(results: dict[str, dict]) -> None:
    """Replaces what is between the markers in docs/performance.md."""
    write_between(BEGIN, END, render(results, markdown=True))
