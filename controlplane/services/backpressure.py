"""Backpressure by the depth of the outbox: rather refuse than accept what can't be told. Ways back, pauses and aborts are never refused."""

from __future__ import annotations

from typing import Final

from controlplane.domain.errors import SeawallError
from controlplane.ports.uow import UnitOfWork

OUTBOX_LIMIT: Final = 50_000
"""Above so many waiting messages no further work is taken in: the relay is behind, or NATS is away."""


class OverloadedError(SeawallError):
    """The outbox is too deep; come again."""

    status = 429
    code = "overloaded"
    title = "Too much is waiting already"


async def check_room(uow: UnitOfWork) -> None:
    """Raise OverloadedError while the outbox is too deep."""
    if await uow.outbox.depth(OUTBOX_LIMIT) >= OUTBOX_LIMIT:
        raise OverloadedError(
            f"More than {OUTBOX_LIMIT} messages wait to be published. Nothing was stored; send it again later.",
            retry_after=5,
        )
