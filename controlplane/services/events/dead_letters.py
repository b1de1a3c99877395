"""Dead letters: inbound events that can't be understood or carried out, outbound deliveries that can't be made."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from controlplane.domain.fates import DEAD
from controlplane.ports.stores.events import EventRecord
from controlplane.ports.stores.outbox import DeadDelivery
from controlplane.ports.uow import UnitOfWork

type Kind = Literal["event", "delivery"]


@dataclass(frozen=True)
class Letter:
    """One dead letter of either kind."""

    kind: Kind
    id: str
    attempts: int
    reason: str
    since: datetime
    source: str = ""
    webhook: str = ""
    event: str = ""


async def newest(uow: UnitOfWork, before: datetime | None, limit: int) -> Sequence[Letter]:
    """Dead letters of both kinds, newest first."""
    events = [_of_event(record) for record in await uow.events.dead(before, limit)]
    deliveries = [_of_delivery(row) for row in await uow.deliveries.dead(before, limit)]
    return sorted([*events, *deliveries], key=lambda letter: letter.since, reverse=True)[:limit]


async def redrive(uow: UnitOfWork, kind: Kind, source: str, letter_id: str, *, actor: str) -> bool:
    """Make one due again; False if it is no dead letter."""
    if kind == "event":
        done = await uow.events.redrive(source, letter_id)
        if done:
            await uow.wake("event", letter_id)
    else:
        delivery = _uuid(letter_id)
        done = delivery is not None and await uow.deliveries.redrive(delivery)
    if done:
        await uow.audit(
            actor, "dead-letter.redrive", f"{kind}/{letter_id}", detail={"source": source} if source else {}
        )
    return done


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _of_event(record: EventRecord) -> Letter:
    reasons = [
        f"{e['trigger']}: {e['reason']}" if e["trigger"] else e["reason"] for e in record.fate if e["outcome"] in DEAD
    ]
    since = record.ended_at or record.received_at
    return Letter("event", record.event.id, record.attempts, " ".join(reasons), since, source=record.event.source)


def _of_delivery(row: DeadDelivery) -> Letter:
    return Letter(
        "delivery", str(row.id), row.attempts, row.last_error, row.ended_at, webhook=row.webhook, event=row.event
    )
