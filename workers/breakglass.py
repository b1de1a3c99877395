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
    """Write what changed every two seconds until draining; nothing without a folder (`SEAWALL_BREAKGLASS`)."""
    if container.blobs is None:
        await draining.wait()
        return
    keeper = Keeper(container.database.engine, container.blobs)
    while not draining.is_set():
        try:
            if changed := await keeper.step():
                log.info("break-glass files are up to date", changed=changed)
        except DependencyError as error:
            log.warning("break-glass files could not be written, will try again", code=error.code, detail=error.detail)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(draining.wait(), EVERY_SECONDS)
