"""Wake-ups: (kind, id) from the bus to whoever can drive it. A wake-up is worth its speed only: the sweep finds the same work."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
import structlog

from controlplane.adapters import event_metrics as metrics
from controlplane.domain.errors import DependencyError
from controlplane.ports.bus import Bus, Queue, Received
from controlplane.ports.trace import continued_span

from .waits import each

log = structlog.get_logger(__name__)

AT_ONCE: Final = 16
BACKOFF_SECONDS: Final = (1.0, 5.0, 15.0, 30.0)

type Nudge = Callable[[str, uuid.UUID], Awaitable[bool]]
"""`Runner.nudge`: True once the lease is held, by us or by somebody else."""


class Wakeups:
    """Takes wake-ups until draining. `events` is called for wake-ups of inbound events, which have no lease."""

    def __init__(self, bus: Bus, nudge: Nudge, *, events: Callable[[], None] | None = None) -> None:
        self._bus = bus
        self._nudge = nudge
        self._events = events

    async def run(self, draining: asyncio.Event) -> None:
        """Take and hand on, some at once: taking a lease waits for the disk."""
        await each(self._bus, Queue.WAKEUPS, draining, self.handle, at_once=AT_ONCE)

    async def handle(self, message: Received) -> None:
        """Hand one wake-up on; acknowledge it once the lease is held or seen held, else let it come again later."""
        try:
            body = orjson.loads(message.body)
            kind, subject = str(body["kind"]), str(body["id"])
            subject_id = uuid.UUID(subject) if kind != "event" else None
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            metrics.WAKEUPS.labels("unreadable").inc()
            log.exception("a wake-up can't be read", subject=message.subject)
            await message.drop()
            return
        with continued_span(f"wake {kind}", message.headers):
            held = await self._hand_on(kind, subject_id)
        metrics.WAKEUPS.labels("held" if held else "later").inc()
        if held:
            await message.ack()
        else:
            await message.later(BACKOFF_SECONDS[min(message.deliveries, len(BACKOFF_SECONDS)) - 1])

    async def _hand_on(self, kind: str, subject_id: uuid.UUID | None) -> bool:
        if subject_id is None:
            if self._events is None:
                return False
            self._events()
            return True
        try:
            return await self._nudge(kind, subject_id)
        except DependencyError as error:
            log.warning("a wake-up could not be followed now", kind=kind, code=error.code)
            return False
