"""The counts in the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

from collections.abc import Mapping

FAMILIES: dict[str, tuple[str, str, float]] = {
    "Invocations": ("lambdad_invocations_total", "Attempts that ran.", 1),
    "Errors": ("lambdad_errors_total", "Attempts that ended with a function error.", 1),
    "Throttles": ("lambdad_throttles_total", "Attempts that were refused for concurrency.", 1),
    "Duration": ("lambdad_duration_seconds_total", "Time that functions ran.", 0.001),
    "AsyncEventsReceived": ("lambdad_async_events_received_total", "Events that were accepted.", 1),
    "AsyncEventsDropped": ("lambdad_async_events_dropped_total", "Events that ended without success.", 1),
    "DeadLetterErrors": ("lambdad_dead_letter_errors_total", "Dead letters that could not be delivered.", 1),
    "DestinationDeliveryFailures": (
        "lambdad_destination_delivery_failures_total",
        "Records that could not be delivered.",
        1,
    ),
    "RecursiveInvocationsDropped": (
        "lambdad_recursive_invocations_dropped_total",
        "Invocations that recursion detection stopped.",
        1,
    ),
}


def text(totals: Mapping[tuple[str, str, str], Mapping[str, float]]) -> str:
    """One sample for each account, region and function; counts since the server was started."""
    lines = []
    for metric, (name, meaning, factor) in FAMILIES.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} counter"]
        for (account, region, function), counts in sorted(totals.items()):
            labels = f'account="{account}",region="{region}",function="{function}"'
            lines.append(f"{name}{{{labels}}} {round(counts.get(metric, 0.0) * factor, 6):.15g}")
    return "\n".join(lines) + "\n"
