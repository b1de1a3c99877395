"""The record of the emergency lane."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

type Finding = Literal["justified", "not-justified"]


@dataclass(frozen=True, slots=True)
class EmergencyRecord:
    """A change that took the emergency lane, with what a look at it found; `finding` empty: nobody looked yet."""

    rollout_id: uuid.UUID
    criterion: str
    reason: str
    app: str
    version: str
    environment: str
    selector: str
    targets: int
    change_ref: str
    plan_hash: str
    left_out: dict[str, Any]
    actor: str
    person: str
    at: datetime | None = None
    review_by: datetime | None = None
    finding: str = ""
    note: str = ""
    reviewed_by: str = ""
    reviewed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """A look at one."""

    rollout_id: uuid.UUID
    finding: Finding
    note: str
    actor: str
    person: str


@dataclass(frozen=True, slots=True)
class EmergencyFilter:
    """`open` None: all."""

    open: bool | None = None
    apps: Sequence[str] | None = field(default=None)


class EmergencyStore(Protocol):
    """Emergencies in this transaction."""

    async def add(self, record: EmergencyRecord, review_within: timedelta) -> None:
        """Write one; the database says when it was and when the look is due."""
        ...

    async def get(self, rollout_id: uuid.UUID) -> EmergencyRecord | None:
        """One, with its review."""
        ...

    async def page(self, wanted: EmergencyFilter, before: uuid.UUID | None, limit: int) -> Sequence[EmergencyRecord]:
        """Newest first."""
        ...

    async def newly_overdue(self, limit: int) -> Sequence[EmergencyRecord]:
        """Those that nobody looked at in time and that nothing was told of; none while another worker is at it."""
        ...

    async def review(self, review: Review) -> bool:
        """Write the look that closes one; False if somebody was first."""
        ...
