"""What one boot of an environment has of extensions: who they are, and the telemetry they may subscribe to."""

from __future__ import annotations

from lambdad.clock import Clock
from lambdad.domain.functions import FunctionVersion
from lambdad.execution.extensions.registry import ExtensionEvents, Registry
from lambdad.execution.telemetry_api.stream import TelemetryStream


class ExtensionSession:
    """Made for each boot; costs next to nothing while no extension registers."""

    def __init__(self, version: FunctionVersion, listener: ExtensionEvents, clock: Clock) -> None:
        self.version = version
        self.registry = Registry(listener)
        self.telemetry = TelemetryStream(clock, is_json_format=version.logging.log_format == "JSON")

    @property
    def is_empty(self) -> bool:
        """No extension has registered."""
        return not self.registry.registered

    def init_over(self) -> None:
        """From now on nobody can register or subscribe."""
        self.registry.is_open = False
        self.telemetry.init_over()

    def end(self) -> None:
        """The boot is about to end: extensions are heard, but the environment is not told of them any more."""
        self.init_over()
        self.registry.silence()

    def close(self) -> None:
        """The boot is over."""
        self.end()
        self.telemetry.close()
