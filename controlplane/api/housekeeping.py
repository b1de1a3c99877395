"""What the API clears up by itself: answers to idempotency keys older than 24 hours, and logins that are over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from controlplane.bootstrap import Container
from controlplane.domain.errors import DependencyError

EVERY_SECONDS = 600.0
BATCH = 1000

log = structlog.get_logger("seawall.api")


@contextlib.asynccontextmanager
async def housekeeping(container: Container) -> AsyncIterator[None]:
    """Clear up now and then while the context lasts."""
    task = asyncio.create_task(_forever(container))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _forever(container: Container) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await forget_intents(container)
            await forget_sessions(container)
        except DependencyError as error:
            log.warning("old intents and logins not deleted, will try again", code=error.code)


async def forget_intents(container: Container) -> int:
    """Delete expired intents, batch by batch, each in a transaction of its own. Returns how many."""
    total = 0
    while True:
        async with container.database.platform() as uow:
            deleted = await uow.intents.forget_expired(BATCH)
        total += deleted
        if deleted < BATCH:
            return total


async def forget_sessions(container: Container) -> int:
    """Delete logins that are over, at most `BATCH`. Returns how many."""
    async with container.database.platform() as uow:
        return await uow.sessions.forget_expired(BATCH)
