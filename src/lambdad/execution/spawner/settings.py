"""What the server tells the spawner at its start."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Passed as JSON on the spawner's command line; there is nothing secret in it."""

    isolation: str = "auto"
    """`auto`: the strongest tier that works here. `T1`, `T2`, `T3`: no higher one than this. `off`: T0."""
    zygotes: bool = True
    forks_per_zygote: int = 500
    """A zygote's children share its hash seed and address layout, so it is replaced after so many."""
    reserve: int = 4
    """How many environments are forked ahead of need, for each kind of zygote that is called for."""
    state_dir: str = ""
    """Where private directories are made; empty for the system's place for temporary files."""
    python_runtime_dir: str = ""
    node_runtime_dir: str = ""
    sdk_paths: tuple[str, ...] = ()
    """Host paths of boto3 and what it needs, shown to Python functions."""
    sdk_python: tuple[int, int] = (3, 10)
    """The first Python that this boto3 runs on."""
    cpu: str = "shares"
    """`shares`, `quota` or `off`: how CPU time follows the memory size."""
    freezers: tuple[int, ...] = (2, 1)
    """Versions of control groups that may freeze environments, best first; signals where none can."""
    open_files: int = 1_024
    tasks: int = 1_024
    """Processes and threads of one environment (AWS Lambda developer guide)."""

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Settings:
        values = json.loads(text)
        values["sdk_paths"] = tuple(values["sdk_paths"])
        values["freezers"] = tuple(values["freezers"])
        values["sdk_python"] = tuple(values["sdk_python"])
        return cls(**values)
