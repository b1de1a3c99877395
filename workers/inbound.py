"""Events in from the bus: stored, then acknowledged. Repetitions are fine; what is no event is a dead letter of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog

from controlplane.adapters import event_metrics as metrics
from controlplane.domain.errors import DependencyError, SeawallError
from controlplane.domain.events import CloudEvent, read_events
from controlplane.domain.names import digest_of
from controlplane.ports.bus import INBOUND_PREFIX, TRACE_HEADERS, Bus, Queue, Received
from controlplane.ports.stores.events import NewEvent
from controlplane.ports.uow import UnitOfWork
from controlplane.services.backpressure import OverloadedError
from controlplane.services.events.receive import check_sources, receive

from .waits import each

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 2.0
UNREADABLE_TYPE: Final = "dev.seawall.unreadable"

type Open = Callable[[], AbstractAsyncContextManager[UnitOfWork]]


class Inbound:
    """Takes `sw.in.>` and stores it."""

    def __init__(self, transactions: Open, bus: Bus) -> None:
        self._open = transactions
        self._bus = bus

    async def run(self, draining: asyncio.Event) -> None:
        """Take messages until draining."""
        await each(self._bus, Queue.INBOUND, draining, self.store)

    async def store(self, message: Received) -> None:
        """Store one message, then acknowledge it; while PostgreSQL is away it comes again."""
        headers = {k.lower(): v for k, v in message.headers.items()}
        subject = message.subject.removeprefix(INBOUND_PREFIX)
        try:
            await self._store(message, headers, subject)
        except (DependencyError, OverloadedError) as error:
            metrics.EVENTS_IN.labels("later").inc()
            log.warning("an event from the bus can't be stored now; it comes again", code=error.code)
            await message.later(RETRY_SECONDS)
            return
        except SeawallError as error:
            metrics.EVENTS_IN.labels("unreadable").inc()
            await self._keep_unreadable(message, subject, error)
        else:
            metrics.EVENTS_IN.labels("stored").inc()
        await message.ack()

    async def _store(self, message: Received, headers: Mapping[str, str], subject: str) -> None:
        events = read_events(headers.get("content-type", ""), headers, message.body)
        trace = {k: headers[k] for k in TRACE_HEADERS if k in headers}
        async with self._open() as uow:
            await check_sources(uow, events)
            await receive(uow, [NewEvent(event, f"bus:{subject}", trace=trace) for event in events])

    async def _keep_unreadable(self, message: Received, subject: str, error: SeawallError) -> None:
        """Keep what can't be understood as a dead letter: nobody waits for an answer who could be told."""
        text = message.body[:4096].decode(errors="replace").replace("\x00", "\ufffd")
        event = CloudEvent(
            id=digest_of(message.body),
            source=f"bus:{subject}",
            type=UNREADABLE_TYPE,
            data={"begins": text, "bytes": len(message.body)},
        )
        async with self._open() as uow:
            if await uow.events.insert(NewEvent(event, f"bus:{subject}"), uow.now):
                stored = await uow.events.get(event.source, event.id, lock=True)
                if stored is not None:
                    fate = [{"trigger": "", "outcome": "refused", "code": error.code, "reason": error.detail}]
                    await uow.events.settle(stored, "dead", fate, None)
