"""Freezes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class FreezeRecord:
    """Nothing forward starts on what `selector` matches (empty: everything) until it is lifted, or `until`."""

    id: uuid.UUID
    selector: str
    reason: str
    until: datetime | None
    created_at: datetime
    created_by: str
    lifted_at: datetime | None = None
    lifted_by: str = ""

    def in_force(self, now: datetime) -> bool:
        """Whether it stops anything."""
        return self.lifted_at is None and (self.until is None or self.until > now)


class FreezeStore(Protocol):
    """The stop button's rows."""

    async def add(self, record: FreezeRecord) -> None:
        """Store a freeze."""
        ...

    async def get(self, freeze_id: uuid.UUID) -> FreezeRecord | None:
        """One freeze."""
        ...

    async def page(self, after: uuid.UUID | None, limit: int, *, ended: bool) -> list[FreezeRecord]:
        """Freezes, newest first: those in force, with `ended` all."""
        ...

    async def lift(self, freeze_id: uuid.UUID, by: str) -> bool:
        """End a freeze. False if it was lifted before."""
        ...

    async def tell_drivers(self) -> None:
        """Lock the fleet's budget row, raise its version, and close it exactly if a freeze of everything is in force.

        Every driver locks that row before it issues: none can miss what this transaction changed.
        """
        ...

    async def expired_unnoticed(self) -> int:
        """How many freezes of everything ended by time while the fleet row is still closed for them; locks nothing."""
        ...
