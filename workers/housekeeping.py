"""What nobody asks for: opening the fleet when a freeze of everything has ended by time, looking after breakers and
emergencies that nobody looked at, letting caps that are a percent follow the fleet, sealing the audit trail.
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
from controlplane.services.limits import follow_fleet

from .sealing import Sealer

EVERY_SECONDS = 1.0
LOOKS_PER_COUNT = 10
"""The fleet is counted at every tenth look."""

log = structlog.get_logger(__name__)


async def keep_forever(container: Container, draining: asyncio.Event) -> None:
    """Look once a second until draining. Several workers may: the row's lock orders them."""
    sealer, look = Sealer(container), 0
    while not draining.is_set():
        try:
            await keep(container, sealer)
            if look % LOOKS_PER_COUNT == 0:
                await keep_caps(container)
            look += 1
        except DependencyError as error:
            log.warning("housekeeping failed, will try again", code=error.code, detail=error.detail)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(draining.wait(), EVERY_SECONDS)


async def keep_caps(container: Container) -> None:
    """Caps that are a percent of the fleet follow it."""
    async with container.database.engine() as uow:
        if await follow_fleet(uow):
            log.info("the fleet has another size; caps that are a percent of it follow")


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
