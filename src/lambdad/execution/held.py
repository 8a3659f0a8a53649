"""An invocation whose caller has the answer while extensions still work on it."""

from __future__ import annotations

from dataclasses import dataclass

from lambdad.domain.invocations import Outcome
from lambdad.execution.calls import PendingCall


@dataclass(slots=True)
class HeldCall:
    """What is left to do of it."""

    call: PendingCall
    outcome: Outcome
    answered: float
    """Monotonic seconds."""
    runtime_is_done: bool = False
    """The runtime has asked for the next invocation."""
