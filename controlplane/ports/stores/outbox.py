"""What leaves: the outbox to the bus, and deliveries to webhook subscribers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from controlplane.domain.events_out import Change


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One message on its way to the bus."""

    id: int
    subject: str
    msg_id: str
    payload: dict[str, Any]
    headers: Mapping[str, str]
    created_at: datetime


class OutboxStore(Protocol):
    """Messages that were committed with what they tell of."""

    async def claim(self, limit: int, hold: timedelta) -> Sequence[OutboxRow]:
        """Take the oldest free rows; nobody else takes them for `hold`. One claim at a time, so that events leave in order."""
        ...

    async def release(self, ids: Sequence[int]) -> None:
        """They did not arrive: whoever claims next gets them first."""
        ...

    async def peek(self, after: int, limit: int) -> Sequence[OutboxRow]:
        """Rows after a number, in order, free or not; nothing is taken."""
        ...

    async def delete(self, ids: Sequence[int]) -> None:
        """They arrived."""
        ...

    async def depth(self, most: int) -> int:
        """How many rows wait, counted up to `most`."""
        ...

    async def oldest(self) -> timedelta:
        """How long the oldest row has waited; zero if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One event on its way to one subscriber; `attempts` counts this one."""

    id: uuid.UUID
    webhook: str
    change: Change
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeadDelivery:
    """A delivery that ended without success."""

    id: uuid.UUID
    webhook: str
    event: str
    attempts: int
    last_error: str
    ended_at: datetime


class DeliveryStore(Protocol):
    """Deliveries: unique on (webhook, subject, number), in order per webhook and subject."""

    async def add(self, webhook: str, changes: Sequence[Change]) -> int:
        """Plan deliveries, due at once; those that are planned already stay as they are. Returns how many are new."""
        ...

    async def claim(self, limit: int, until: datetime) -> Sequence[DeliveryRow]:
        """Take due deliveries whose predecessors have ended; nobody else takes them before `until`; counts an attempt."""
        ...

    async def delivered(self, row: DeliveryRow) -> None:
        """It arrived."""
        ...

    async def failed(self, row: DeliveryRow, error: str, due_at: datetime | None) -> None:
        """It did not; again at `due_at`, or dead if that is None."""
        ...

    async def dead(self, before: datetime | None, limit: int) -> Sequence[DeadDelivery]:
        """Dead deliveries, newest first."""
        ...

    async def redrive(self, delivery_id: uuid.UUID) -> bool:
        """Make a dead delivery due again; False if it is not dead."""
        ...
