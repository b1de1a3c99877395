"""The bus: at-least-once messages that wake, never decide. Losing all of them costs one sweep."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from controlplane.domain.errors import DependencyError

INTENT_PREFIX: Final = "sw.intent."
EVENT_PREFIX: Final = "sw.event."
INBOUND_PREFIX: Final = "sw.in."
MAX_MESSAGE_BYTES: Final = 64 * 1024
TRACE_HEADERS: Final = ("traceparent", "tracestate")


class Queue(StrEnum):
    """What a process may take messages from."""

    WAKEUPS = "wakeups"
    INBOUND = "inbound"


class BusUnavailableError(DependencyError):
    """NATS does not answer, or has lost its streams; publish the same messages again, with the same ids."""

    code = "nats-unavailable"


@dataclass(frozen=True, slots=True)
class Message:
    """One message to publish. `msg_id` makes a repetition within ten minutes one message."""

    subject: str
    msg_id: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Received(Protocol):
    """A message taken from a queue; comes again unless it is acknowledged."""

    @property
    def subject(self) -> str:
        """Where it was published."""
        ...

    @property
    def body(self) -> bytes:
        """Its content."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, names as the sender wrote them."""
        ...

    @property
    def deliveries(self) -> int:
        """How often it was handed out, this time included."""
        ...

    async def ack(self) -> None:
        """Done: it does not come again."""
        ...

    async def later(self, seconds: float) -> None:
        """Not now: it comes again after this time."""
        ...

    async def drop(self) -> None:
        """It can never be handled: it does not come again."""
        ...


class Bus(Protocol):
    """One process's connection, under the rights of its role."""

    async def ensure(self) -> None:
        """Create the streams and queues, or bring them to this version's form (the relay's right). Raises BusUnavailableError."""
        ...

    async def publish(self, messages: Sequence[Message]) -> Mapping[str, str]:
        """Publish in order; returns msg_id -> reason for messages that no repetition would get through.

        Raises BusUnavailableError when it is not known whether all others arrived: publish all of them again.
        """
        ...

    def take(self, queue: Queue) -> AsyncGenerator[Received]:
        """Messages of a queue as they come; survives lost connections and lost streams. Ends when the bus is closed.

        Whoever stops taking closes it, or else messages go on to come to nobody until their time to be acknowledged is over.
        """
        ...

    async def check(self) -> None:
        """Raise BusUnavailableError unless the server answers now."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...
