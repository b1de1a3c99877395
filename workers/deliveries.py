"""Deliveries: events to webhook subscribers, in order per subject, signed, until they arrive or are dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from controlplane.adapters import event_metrics as metrics
from controlplane.adapters.webhooks import request_of
from controlplane.domain.errors import DependencyError
from controlplane.domain.webhooks import Webhook, retry_after
from controlplane.ports.secrets import Secrets
from controlplane.ports.stores.outbox import DeliveryRow
from controlplane.ports.uow import UnitOfWork
from controlplane.ports.webhooks import Reply, WebhookSender
from controlplane.services.deliveries import webhooks

from .waits import first_of

log = structlog.get_logger(__name__)

BATCH: Final = 32
HOLD: Final = timedelta(seconds=60)
POLL_SECONDS: Final = 1.0

type Open = Callable[[], AbstractAsyncContextManager[UnitOfWork]]


@dataclass(frozen=True)
class DeliveryTools:
    """What delivering needs."""

    open: Open
    sender: WebhookSender
    secrets: Secrets


class Deliveries:
    """Takes due deliveries and sends them."""

    def __init__(self, tools: DeliveryTools) -> None:
        self._tools = tools

    async def step(self) -> int:
        """Send what is due, one of each subject at a time; returns how many were tried."""
        async with self._tools.open() as uow:
            rows = await uow.deliveries.claim(BATCH, uow.now + HOLD)
            hooks = await webhooks(uow) if rows else {}
        await asyncio.gather(*(self._one(row, hooks.get(row.webhook)) for row in rows))
        return len(rows)

    async def run(self, draining: asyncio.Event) -> None:
        """Until draining."""
        while not draining.is_set():
            try:
                sent = await self.step()
            except DependencyError as error:
                log.warning("deliveries can't be looked at now, will try again", code=error.code)
                sent = 0
            if not sent:
                await first_of(draining, seconds=POLL_SECONDS)

    async def _one(self, row: DeliveryRow, webhook: Webhook | None) -> None:
        reply = Reply("the webhook was deleted", gone=True) if webhook is None else await self._send(row, webhook)
        async with self._tools.open() as uow:
            if not reply.error:
                await uow.deliveries.delivered(row)
                metrics.DELIVERIES.labels("delivered").inc()
                return
            wait = None if reply.gone else retry_after(row.attempts)
            await uow.deliveries.failed(row, reply.error, uow.now + wait if wait is not None else None)
        metrics.DELIVERIES.labels("dead" if wait is None else "retried").inc()
        log.warning("a webhook did not take an event", webhook=row.webhook, error=reply.error, dead=wait is None)

    async def _send(self, row: DeliveryRow, webhook: Webhook) -> Reply:
        try:
            body, headers = request_of(webhook, self._tools.secrets, row.change, datetime.now(UTC))
        except DependencyError as error:
            return Reply(f"can't be signed: {error.detail}")
        return await self._tools.sender.send(webhook.url, body, headers, allow_private=webhook.allow_private)
