"""The loop that keeps what each tenant runs in files outside, for the day that Seawall is gone."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from controlplane.bootstrap import Container
from controlplane.domain.errors import DependencyError
from controlplane.services.breakglass import Keeper

EVERY_SECONDS = 2.0

log = structlog.get_logger(__name__)


async def keep_forever(container: Container, draining: asyncio.Event) -> None:
    """Write what changed every two seconds until draining, at each place on its own; nothing without a place (`SEAWALL_BREAKGLASS...`)."""
    if not container.blobs:
        await draining.wait()
        return
    async with asyncio.TaskGroup() as places:
        for blobs in container.blobs:
            places.create_task(_keep_at(Keeper(container.database.engine, blobs), draining))


async def _keep_at(keeper: Keeper, draining: asyncio.Event) -> None:
    while not draining.is_set():
        try:
            if changed := await keeper.step():
                log.info("break-glass files are up to date", changed=changed)
        except DependencyError as error:
            log.warning("break-glass files could not be written, will try again", code=error.code, detail=error.detail)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(draining.wait(), EVERY_SECONDS)
