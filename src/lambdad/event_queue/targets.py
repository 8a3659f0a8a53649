"""Where records and dead letters go: into this server's own services, or out of it.

An embedded target takes the message inside the transaction in which the event ends: both happen or neither. A message
to a remote target waits in the outbox in that transaction, and is sent after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from lambdad.domain.destinations import OutgoingMessage
from lambdad.domain.errors import LambdadError
from lambdad.storage.engine import Transaction

Delivered = Callable[[], None]
"""Called on the event loop once the transaction is committed: wakes whoever waits for the message."""


class TargetRefused(LambdadError):
    """The target cannot take the message: it is not there, or the message does not fit."""


class EmbeddedTarget(Protocol):
    """A service of this server: queues, topics, buses, functions."""

    def put_in(self, tx: Transaction, arn: str, message: OutgoingMessage) -> Delivered:
        """Stores the message in a transaction of the caller's, on the writer's thread.

        Raises a LambdadError, before it has written anything, when the target cannot take it.
        """


class RemoteSender(Protocol):
    """Sends to targets outside of this server."""

    def sends_to(self, arn: str) -> bool:
        """Whether messages to this target leave the server."""

    async def send(self, arn: str, message: OutgoingMessage) -> None:
        """Raises TargetRefused when trying again is of no use; any other exception means: try again later."""


class NoRemoteTargets:
    """Everything stays in this server."""

    def sends_to(self, arn: str) -> bool:  # noqa: ARG002 - the Protocol's signature
        return False

    async def send(self, arn: str, message: OutgoingMessage) -> None:  # noqa: ARG002 - as above
        raise TargetRefused(f"{arn} is not a target outside of this server.")


class EmbeddedTargets:
    """The embedded targets by the service in their ARNs: `sqs`, `lambda`…"""

    def __init__(self, targets: Mapping[str, EmbeddedTarget]) -> None:
        self._targets = dict(targets)

    def add(self, service: str, target: EmbeddedTarget) -> None:
        self._targets[service] = target

    def put_in(self, tx: Transaction, arn: str, message: OutgoingMessage) -> Delivered:
        """Raises TargetRefused for services that this server does not have."""
        parts = arn.split(":", 3)
        service = parts[2] if len(parts) > 2 else ""
        target = self._targets.get(service)
        if target is None:
            raise TargetRefused(
                f"lambdad has no service {service!r} that takes messages. `--target {service}=URL` names one that does."
            )
        return target.put_in(tx, arn, message)
