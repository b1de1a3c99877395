"""The loop that notices tenants which fall ill while no rollout looks at them."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from controlplane.domain.errors import SeawallError
from controlplane.ports.blames import Blames
from controlplane.ports.uow import Transactions
from controlplane.services.illness import Ward, look

EVERY_SECONDS = 5.0

log = structlog.get_logger(__name__)


async def watch_forever(transactions: Transactions, blames: Blames | None, draining: asyncio.Event) -> None:
    """Look every five seconds until draining. Several workers may: the same verdict acts once."""
    ward = Ward()
    while not draining.is_set() and blames is not None:
        try:
            await look(transactions, blames, ward)
        except SeawallError as error:
            log.warning("who is ill could not be weighed, will try again", code=error.code, detail=error.detail)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(draining.wait(), EVERY_SECONDS)
