"""Measures lambdad against the machine's own limits.

    python -m benchmarks.invoke [--quick] [--only warm,start,idle,functions] [--targets echo,lambdad,...]
                                [--write-docs] [--lambdad "lambdad up ..."]

Everything that is compared is measured in one run and interleaved, because the speed of a machine drifts. Results go
to benchmarks/build/invoke.json; --write-docs renders them into docs/performance.md. Sections that are not run keep
their earlier result in the file, with its own date.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks import command, processes, report
from benchmarks.command import names, say
from benchmarks.load import BUILD, CannotMeasure, Load, measure
from benchmarks.server import Lambdad
from benchmarks.targets import Target, limits

RESULTS = BUILD / "invoke.json"
CONNECTIONS = (1, 8, 32)
LAMBDAD_TARGETS = ("lambdad", "lambdad-ric")
SETTLE_SECONDS = 2.0


class Plan(argparse.Namespace):
    """The options, and how much is measured with them."""

    quick: bool
    only: list[str]
    targets: list[str]
    lambdad: str
    write_docs: bool

    @property
    def repetitions(self) -> int:
        return 2 if self.quick else 9

    @property
    def seconds(self) -> float:
        return 0.5 if self.quick else 0.8

    @property
    def warmup(self) -> float:
        return 0.2

    @property
    def starts(self) -> int:
        return 3 if self.quick else 9

    @property
    def function_counts(self) -> tuple[int, ...]:
        return (10, 1_000) if self.quick else (10, 1_000, 5_000)


def warm(plan: Plan) -> dict[str, object]:
    """Warm synchronous invokes of a 1 KB echo, A B C, A B C, ... at each number of connections."""
    with contextlib.ExitStack() as stack:
        targets = list(start_targets(plan, stack))
        for target in targets:
            prime(target)
        runs: dict[str, dict[str, list[object]]] = {
            target.name: {str(number): [] for number in CONNECTIONS} for target in targets
        }
        for repetition in range(plan.repetitions):
            say(f"warm: repetition {repetition + 1} of {plan.repetitions}")
            for number in CONNECTIONS:
                load = Load(connections=number, seconds=plan.seconds, warmup=plan.warmup)
                for target in targets:
                    result = measure(target.pid, target.port, target.prepare, load)
                    runs[target.name][str(number)].append(result)
        return {"runs": runs, "repetitions": plan.repetitions, "seconds": plan.seconds}


def start_targets(plan: Plan, stack: contextlib.ExitStack) -> Iterator[Target]:
    for limit in limits():
        if limit.name in plan.targets:
            stack.callback(limit.stop)
            yield limit.start()
    if wanted := [name for name in LAMBDAD_TARGETS if name in plan.targets]:
        server = start_server(plan, stack)
        if "lambdad" in wanted:
            yield server.create_echo()
        if "lambdad-ric" in wanted:
            yield server.create_echo_with_runtime_client()


def start_server(plan: Plan, stack: contextlib.ExitStack) -> Lambdad:
    server = Lambdad(plan.lambdad)
    stack.callback(server.stop)
    server.start()
    return server


def prime(target: Target) -> None:
    """Starts the environments that the measured runs need, and finds out whether the target works at all."""
    say(f"warm: {target.name} starts up")
    result = measure(target.pid, target.port, target.prepare, Load(connections=max(CONNECTIONS), seconds=2))
    if result["errors"]:
        raise CannotMeasure(f"{target.name} answers wrongly ({result['errors']} times): {result['first_error']}")


def start(plan: Plan) -> dict[str, object]:
    """From the start of the process until health answers 200, on an empty data folder."""
    seconds = []
    for _ in range(plan.starts):
        with contextlib.ExitStack() as stack:
            seconds.append(start_server(plan, stack).start_seconds)
    say("start: " + ", ".join(f"{value * 1000:.0f} ms" for value in seconds))
    return {"seconds": seconds}


def idle(plan: Plan) -> dict[str, object]:
    """Memory of a server that has nothing to do, before and after it has kept its first function warm."""
    with contextlib.ExitStack() as stack:
        server = start_server(plan, stack)
        time.sleep(SETTLE_SECONDS)  # what starts in the background has started
        fresh = memory(server)
        cpu_before = processes.cpu_seconds(server.pid)
        time.sleep(SETTLE_SECONDS)
        cpu = (processes.cpu_seconds(server.pid) - cpu_before) / SETTLE_SECONDS
        server.create_echo()
        time.sleep(SETTLE_SECONDS)
        warm_one = memory(server)
    say(f"idle: {fresh}, with one function kept warm: {warm_one}")
    return {"fresh": fresh, "one_warm_function": warm_one, "idle_cpu_share": cpu}


def memory(server: Lambdad) -> dict[str, object]:
    return {
        "server_pss": processes.pss_bytes(server.pid),
        "tree_pss": processes.tree_pss_bytes(server.pid),
        "processes": len(processes.tree(server.pid)),
    }


def functions(plan: Plan) -> dict[str, object]:
    """What many functions cost: one server per number of functions, measured in turns."""
    result: dict[str, dict[str, object]] = {}
    with contextlib.ExitStack() as stack:
        servers: dict[int, Lambdad] = {}
        targets: dict[int, Target] = {}
        for count in plan.function_counts:
            server = servers[count] = start_server(plan, stack)
            created = server.create_many(0, count - 1)
            if created["errors"]:
                raise CannotMeasure(f"CreateFunction failed: {created['first_error']}")
            say(f"functions: {count} created, {created['requests_per_second']:.0f} a second")
            targets[count] = server.create_echo()
            result[str(count)] = {"created": created, "invoke": [], "list": []}
        for repetition in range(plan.repetitions):
            say(f"functions: repetition {repetition + 1} of {plan.repetitions}")
            load = Load(seconds=plan.seconds, warmup=plan.warmup)
            for count, target in targets.items():
                result[str(count)]["invoke"].append(measure(target.pid, target.port, target.prepare, load))
            for count, server in servers.items():
                listed = measure(server.pid, server.port, server.first_page, load)
                result[str(count)]["list"].append(listed)
        for count, server in servers.items():
            result[str(count)].update(memory(server))
            server.restart()
            result[str(count)]["restart_seconds"] = server.start_seconds
    return {"counts": result}


SECTIONS: dict[str, Callable[[Plan], dict[str, object]]] = {
    "start": start,
    "idle": idle,
    "functions": functions,
    "warm": warm,
}


def read_plan(arguments: list[str] | None = None) -> Plan:
    all_targets = (*(limit.name for limit in limits()), *LAMBDAD_TARGETS)
    parser = command.parser_for("invoke", "Measures lambdad against the machine's own limits.", SECTIONS)
    parser.add_argument(
        "--targets",
        type=names(all_targets),
        default=list(all_targets),
        metavar="TARGET,...",
        help=f"for the section warm: of {', '.join(all_targets)}",
    )
    return parser.parse_args(arguments, namespace=Plan())


def main() -> int:
    plan = read_plan()
    results = command.run(SECTIONS, plan, RESULTS)
    if results is None:
        return 1
    shown = {name: results[name] for name in SECTIONS if name in plan.only}
    print(report.render(shown, markdown=False))
    if errors := report.errors(shown):
        say("benchmarks: not every answer was right, so these figures mean nothing: " + "; ".join(errors))
        return 1
    if plan.write_docs:
        report.write_docs(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
