"""Events: from received to their fate. Woken by the bus, swept once a second."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from controlplane.adapters import event_metrics as metrics
from controlplane.domain.errors import DependencyError
from controlplane.ports.faults import fault_point
from controlplane.ports.stores.events import EventRecord
from controlplane.ports.trace import continued_span
from controlplane.services.events.process import EventTools, bury, claim_due, process

from .waits import first_of

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 1.0
BATCH: Final = 16
AT_ONCE: Final = 4
"""Planning for a large fleet uses much memory; so few are planned at once in one process."""


class Events:
    """Takes due events and carries them on."""

    def __init__(self, tools: EventTools) -> None:
        self._tools = tools
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._hint = asyncio.Event()

    def nudge(self) -> None:
        """Something came in: look at once."""
        self._hint.set()

    async def step(self) -> int:
        """Take what is due and carry it on; returns how many events it took."""
        records = await claim_due(self._tools, BATCH)
        await asyncio.gather(*(self._one(record) for record in records))
        return len(records)

    async def run(self, draining: asyncio.Event) -> None:
        """Until draining."""
        while not draining.is_set():
            self._hint.clear()
            try:
                taken = await self.step()
            except DependencyError as error:
                log.warning("events can't be looked at now, will try again", code=error.code)
                taken = 0
            if not taken:
                await first_of(self._hint, draining, seconds=SWEEP_SECONDS)

    async def _one(self, record: EventRecord) -> None:
        with continued_span("event", record.trace):
            async with self._gate:
                try:
                    await process(self._tools, record)
                except DependencyError as error:
                    log.warning("an event comes again: a part is away", source=record.event.source, code=error.code)
                    return
                except Exception:
                    log.exception("an event could not be carried on", source=record.event.source, id=record.event.id)
                    await bury(self._tools, record)
                    return
        fault_point("events:after-commit")
        metrics.EVENTS_SETTLED.inc()
