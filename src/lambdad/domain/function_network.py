"""Whether a function may reach a network: a variable of its configuration, which every AWS client can set.

It is part of a version like all variables, has no effect on AWS, and can only take something away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "LAMBDAD_NETWORK"
SHARED: Final = "shared"
"""The machine's network."""
NONE: Final = "none"
"""A network of the environment's own, in which there is nothing but its own loopback."""


def asked_for(environment: Mapping[str, str] | None) -> str:
    """SHARED or NONE, by the variables of a version. Raises ValueError for any other value: it may have been meant to
    keep the function in."""
    value = (environment or {}).get(VARIABLE, SHARED)
    if value not in (SHARED, NONE):
        raise ValueError(f"the environment variable {VARIABLE} must be {SHARED} or {NONE}, not {value!r}")
    return value
