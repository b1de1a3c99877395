"""A worker says that it lives, which plans it understands and which clusters it serves; `doctor` and `/readyz` read it."""

from __future__ import annotations

import asyncio
import contextlib
from importlib.metadata import version

import structlog

from controlplane.adapters.postgres.guard import Guard
from controlplane.adapters.postgres.workers import forget_worker, tell_worker
from controlplane.bootstrap import Container
from controlplane.domain.errors import DependencyError
from controlplane.services.fleet import Fleet

from .waits import first_of

EVERY_SECONDS = 5.0

log = structlog.get_logger(__name__)


async def announce_forever(
    container: Container, fleet: Fleet, holder: str, clusters: frozenset[str] | None, draining: asyncio.Event
) -> None:
    """Write this worker's row every few seconds until it drains, then take it away. So it hears of a failover, whatever it drives.

    Meanwhile a session of its own holds the lock that tells others when this process dies.
    """
    database, settings = container.database, container.settings
    guard = Guard(settings.database_url_engine, holder)
    guarding = asyncio.create_task(guard.hold_forever(), name="guard")
    known = (database, holder, version("seawall"), settings.plan_schema, sorted(clusters or ()))
    try:
        while not draining.is_set():
            guard.changed.clear()
            try:
                fleet.on_timeline(await tell_worker(*known, guarded=guard.held))
            except DependencyError as error:
                log.warning("could not announce this worker, will try again", code=error.code)
            await first_of(draining, guard.changed, seconds=EVERY_SECONDS)
        await forget_worker(database, holder)
    finally:
        guarding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await guarding
