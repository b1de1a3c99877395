"""Storing events: from the commit on, each ends in a fate that somebody can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain.errors import ForbiddenError
from controlplane.domain.events import CloudEvent, EventReusedError
from controlplane.domain.sources import Source
from controlplane.ports.stores.events import NewEvent
from controlplane.ports.uow import UnitOfWork
from controlplane.services.backpressure import check_room


@dataclass(frozen=True)
class Receipt:
    """An event that is stored. `duplicate`: it was there before."""

    source: str
    id: str
    duplicate: bool


async def receive(uow: UnitOfWork, events: Sequence[NewEvent]) -> list[Receipt]:
    """Store events, all or none, and wake the workers.

    An event that came before is answered with its first receipt. Raises EventReusedError if its content is another one,
    OverloadedError under backpressure.
    """
    await check_room(uow)
    receipts = [await _store(uow, new) for new in events]
    fresh = [r for r in receipts if not r.duplicate]
    if fresh:
        await uow.wake("event", fresh[0].id)
    return receipts


async def _store(uow: UnitOfWork, new: NewEvent) -> Receipt:
    event = new.event
    if await uow.events.insert(new, uow.now):
        return Receipt(event.source, event.id, duplicate=False)
    stored = await uow.events.get(event.source, event.id)
    if stored is not None and stored.digest != event.digest:
        raise EventReusedError(
            f"The source {event.source} sent another event under the id {event.id} before. That one stands; nothing of this"
            " request was stored. Give a new event a new id.",
        )
    return Receipt(event.source, event.id, duplicate=True)


async def receive_signed(
    uow: UnitOfWork, name: str, source: Source, events: Sequence[CloudEvent], trace: Mapping[str, str]
) -> list[Receipt]:
    """Store events of a signed source. The signature covers the body, not the id: the same content under another id is a replay."""
    since = uow.now - source.replay_window
    receipts: list[Receipt] = []
    fresh: list[NewEvent] = []
    for event in sorted(events, key=lambda e: e.digest):
        await uow.events.lock_window(f"hooks/{name}", event.digest)
        first = await uow.events.with_content(event.source, event.digest, since)
        if first is not None and first.event.id != event.id:
            receipts.append(Receipt(event.source, first.event.id, duplicate=True))
        else:
            fresh.append(NewEvent(event, f"hooks/{name}", trace=trace))
    return [*receipts, *await receive(uow, fresh)]


async def check_sources(uow: UnitOfWork, events: Sequence[CloudEvent]) -> None:
    """Raise ForbiddenError if an event names a signed source as its own: only its hook speaks for it."""
    for name in sorted({event.source for event in events}):
        if await uow.configuration.current("sources", name) is not None:
            raise ForbiddenError(
                f"{name} is a signed source: its events come through /v1/hooks/{name}. Use another `source`.",
                code="source-reserved",
            )
