"""What nobody asks for: opening the fleet when a freeze of everything has ended by time, looking after breakers and
emergencies that nobody looked at, sealing the audit trail.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from controlplane.bootstrap import Container
from controlplane.domain.errors import DependencyError
from controlplane.services.breakers import keep_breakers
from controlplane.services.emergencies import tell_overdue
from controlplane.services.freezes import open_after_expiry

from .sealing import Sealer

EVERY_SECONDS = 1.0

log = structlog.get_logger(__name__)


async def keep_forever(container: Container, draining: asyncio.Event) -> None:
    """Look once a second until draining. Several workers may: the row's lock orders them."""
    sealer = Sealer(container)
    while not draining.is_set():
        try:
            await keep(container, sealer)
        except DependencyError as error:
            log.warning("housekeeping failed, will try again", code=error.code, detail=error.detail)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(draining.wait(), EVERY_SECONDS)


async def keep(container: Container, sealer: Sealer | None = None) -> None:
    """One look."""
    async with container.database.engine() as uow:
        if await open_after_expiry(uow):
            log.info("a freeze of everything has ended by time; the fleet is open again")
    async with container.database.engine() as uow:
        container.meters.breakers(await keep_breakers(uow))
    async with container.database.engine() as uow:
        for late in await tell_overdue(uow):
            log.warning(
                "nobody has looked at an emergency in time", rollout=str(late.rollout_id), criterion=late.criterion
            )
    await (sealer or Sealer(container)).step()
