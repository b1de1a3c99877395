"""The loop that notes when a cluster's nodes begin and end to be replaced."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from controlplane.domain.errors import DependencyError
from controlplane.ports.uow import Transactions
from controlplane.services.fleet import Fleet
from controlplane.services.upgrades import note_upgrades, seen_upgrades

EVERY_SECONDS = 5.0

log = structlog.get_logger(__name__)


async def watch_forever(transactions: Transactions, fleet: Fleet, draining: asyncio.Event) -> None:
    """Look every five seconds until draining."""
    while not draining.is_set():
        try:
            for name in await watch(transactions, fleet):
                log.info("an upgrade of a cluster began or ended", cluster=name)
        except DependencyError as error:
            log.warning("upgrades could not be noted, will try again", code=error.code, detail=error.detail)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(draining.wait(), EVERY_SECONDS)


async def watch(transactions: Transactions, fleet: Fleet) -> list[str]:
    """One look."""
    async with transactions.engine() as uow:
        names = await uow.tenants.placed_on()
    seen = seen_upgrades(fleet, names)
    async with transactions.engine() as uow:
        return await note_upgrades(uow, seen)
