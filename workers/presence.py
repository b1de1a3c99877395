"""A worker says that it lives, which plans it understands and which clusters it serves; `doctor` and `/readyz` read it."""

from __future__ import annotations

import asyncio
import contextlib
from importlib.metadata import version

import structlog

from controlplane.adapters.postgres.workers import forget_worker, tell_worker
from controlplane.bootstrap import Container
from controlplane.domain.errors import DependencyError
from controlplane.services.fleet import Fleet

EVERY_SECONDS = 5.0

log = structlog.get_logger(__name__)


async def announce_forever(
    container: Container, fleet: Fleet, holder: str, clusters: frozenset[str] | None, draining: asyncio.Event
) -> None:
    """Write this worker's row every few seconds until it drains, then take it away. So it hears of a failover, whatever it drives."""
    database, schema = container.database, container.settings.plan_schema
    while not draining.is_set():
        try:
            timeline = await tell_worker(database, holder, version("seawall"), schema, sorted(clusters or ()))
            fleet.on_timeline(timeline)
        except DependencyError as error:
            log.warning("could not announce this worker, will try again", code=error.code)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(draining.wait(), EVERY_SECONDS)
    await forget_worker(database, holder)
