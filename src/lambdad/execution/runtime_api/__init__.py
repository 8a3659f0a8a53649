"""The HTTP Runtime API of execution environments, version 2018-06-01, as a RuntimeChannel.

`session` holds what one runtime has done so far and what it may do next, each route is a file of its own, `routes` is
their table, `server` serves them on a listener per environment. The Extensions and Telemetry APIs belong beside them:
more rows in the table, more files.
"""

from lambdad.execution.runtime_api.server import RuntimeApi

__all__ = ["RuntimeApi"]
