"""The relay: the only process that talks to the bus for everybody. Out: the outbox, in its order. In: events that others publish.

Claim, commit, publish, delete. A kill between any two of them repeats the publishing under the same message ids, which the bus knows
for ten minutes and every reader can tell by (source, id).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
import structlog

from controlplane.adapters import event_metrics as metrics
from controlplane.adapters.machine_server import machine_server
from controlplane.adapters.nats import NatsRole
from controlplane.adapters.postgres.listen import OUTBOX_CHANNEL, listen
from controlplane.adapters.webhooks import HttpWebhooks
from controlplane.bootstrap import Container
from controlplane.domain.errors import DependencyError
from controlplane.domain.events_out import Change, header_text
from controlplane.ports.bus import EVENT_PREFIX, Bus, BusUnavailableError, Message
from controlplane.ports.expressions import Expressions
from controlplane.ports.faults import fault_point
from controlplane.ports.stores.outbox import OutboxRow
from controlplane.ports.uow import UnitOfWork
from controlplane.services.backpressure import OUTBOX_LIMIT
from controlplane.services.deliveries import plan_deliveries
from controlplane.settings import Settings

from .deliveries import Deliveries, DeliveryTools
from .inbound import Inbound
from .waits import first_of

log = structlog.get_logger(__name__)

BATCH: Final = 500
HOLD: Final = timedelta(seconds=10)
POLL_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 0.5
ENSURE_SECONDS: Final = 30.0

type Open = Callable[[], AbstractAsyncContextManager[UnitOfWork]]


class Relay:
    """Moves what is committed to the bus. Several may run; each row is taken by one at a time."""

    def __init__(
        self,
        transactions: Open,
        bus: Bus,
        expressions: Expressions,
        draining: asyncio.Event | None = None,
        *,
        batch: int = BATCH,
    ) -> None:
        self._open = transactions
        self._bus = bus
        self._expressions = expressions
        self._ensured = 0.0
        self._planned = 0
        self._batch = batch
        self.hint = asyncio.Event()
        self.draining = draining or asyncio.Event()

    async def step(self) -> int:
        """Move one batch; returns how many rows it had. Raises DependencyError; rows that did not arrive come first next time."""
        rows = await self._claim()
        if rows:
            try:
                await self._publish(rows)
            except BusUnavailableError:
                async with self._open() as uow:
                    await uow.outbox.release([row.id for row in rows])
                raise
        return len(rows)

    async def plan_ahead(self) -> None:
        """While the bus is away: plan the deliveries of everything that waits, so that subscribers hear of it all the same."""
        while not self.draining.is_set():
            async with self._open() as uow:
                rows = await uow.outbox.peek(self._planned, self._batch)
                await plan_deliveries(uow, self._expressions, rows)
            if not rows:
                return
            self._planned = rows[-1].id

    async def run(self) -> None:
        """Move batches until draining: at once when there is a hint, else twice a second."""
        while not self.draining.is_set():
            self.hint.clear()
            try:
                await self._keep_streams()
                moved = await self.step()
            except DependencyError as error:
                metrics.RELAY_FAILURES.labels(error.code).inc()
                log.warning("the relay could not go on, will try again", code=error.code, detail=error.detail)
                if isinstance(error, BusUnavailableError):
                    await self._without_bus()
                await self._pause(RETRY_SECONDS)
                continue
            if moved < self._batch:
                await self._pause(POLL_SECONDS)

    async def _without_bus(self) -> None:
        self._ensured = 0.0
        try:
            await self.plan_ahead()
        except DependencyError as error:
            log.warning("deliveries could not be planned either", code=error.code)

    async def _claim(self) -> Sequence[OutboxRow]:
        async with self._open() as uow:
            rows = await uow.outbox.claim(self._batch, HOLD)
            await plan_deliveries(uow, self._expressions, rows)
        if rows:
            fault_point("relay:after-claim")
        return rows

    async def _publish(self, rows: Sequence[OutboxRow]) -> None:
        refused = await self._bus.publish([message_of(row) for row in rows])
        fault_point("relay:after-publish")
        for msg_id, reason in refused.items():
            metrics.RELAY_REFUSED.inc()
            log.error(
                "the bus refused a message for good; PostgreSQL still has what it told of", msg_id=msg_id, reason=reason
            )
        async with self._open() as uow:
            await uow.outbox.delete([row.id for row in rows])
        fault_point("relay:after-delete")
        now = datetime.now(UTC)
        for row in rows:
            metrics.RELAY_PUBLISHED.labels("event" if row.subject.startswith(EVENT_PREFIX) else "intent").inc()
            metrics.RELAY_LAG.observe(max(0.0, (now - row.created_at).total_seconds()))
        metrics.mark(Change.of(row.payload) for row in rows if row.subject.startswith(EVENT_PREFIX))

    async def _keep_streams(self) -> None:
        """Make the streams at start, after every failure and now and then: somebody may have wiped the store."""
        now = asyncio.get_running_loop().time()
        if self._ensured and now - self._ensured < ENSURE_SECONDS:
            return
        await self._bus.ensure()
        self._ensured = now
        async with self._open() as uow:
            metrics.RELAY_DEPTH.set(await uow.outbox.depth(OUTBOX_LIMIT))
            metrics.RELAY_OLDEST.set((await uow.outbox.oldest()).total_seconds())

    async def _pause(self, seconds: float) -> None:
        await first_of(self.hint, self.draining, seconds=seconds)


def message_of(row: OutboxRow) -> Message:
    """A wake-up as it is; a change as a CloudEvent in binary mode (NATS protocol binding: `ce-` headers), its id the message id."""
    if not row.subject.startswith(EVENT_PREFIX):
        return Message(row.subject, row.msg_id, orjson.dumps(row.payload), row.headers)
    change = Change.of(row.payload)
    attributes = change.attributes()
    headers = {f"ce-{k}": header_text(v) for k, v in attributes.items() if k != "datacontenttype"}
    headers["content-type"] = attributes["datacontenttype"]
    return Message(row.subject, row.msg_id, orjson.dumps(change.payload()), {**row.headers, **headers})


async def run(settings: Settings, draining: asyncio.Event | None = None) -> None:
    """Everything a relay process does, until `draining` is set: outbox, events from the bus, webhook deliveries."""
    container = Container(settings)
    ending = container.draining = draining or container.draining
    bus = container.bus(NatsRole.RELAY)
    relay = Relay(container.database.engine, bus, container.expressions, ending)
    tools = DeliveryTools(container.database.engine, HttpWebhooks(), container.secrets)
    metrics.begin_marks()
    try:
        async with machine_server(settings.metrics_listen, container.parts), asyncio.TaskGroup() as tasks:
            tasks.create_task(relay.run(), name="outbox")
            tasks.create_task(
                listen(settings.database_url_engine, OUTBOX_CHANNEL, relay.hint.set, ending), name="hints"
            )
            tasks.create_task(Inbound(container.database.engine, bus).run(ending), name="inbound")
            tasks.create_task(Deliveries(tools).run(ending), name="deliveries")
    finally:
        await bus.close()
        await container.close()
