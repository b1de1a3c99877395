"""Leases: who drives a rollout or an operation, on the database's clock, with an epoch that only rises."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.errors import ConflictError

TTL_SECONDS = 12.0
"""How long a lease lasts unless its worker was told otherwise (`SEAWALL_LEASE_SECONDS`)."""


class LeaseLostError(ConflictError):
    """Somebody else holds the lease now, or it ran out: drop all memory and issue nothing."""

    code = "lease-lost"
    title = "Another worker drives this now"


@dataclass(slots=True)
class HeldLease:
    """A lease this process holds. `sent_at` is our own monotonic clock when we SENT the last confirmed renewal;
    `command_seq` the last command this driver, or one before it, has taken into account. `ttl` in seconds is the holder's own
    choice: it writes the expiry and keeps to it, so workers with different ones get along. `timeline`: PostgreSQL's when it was taken;
    on another one it is lost, because what this driver remembers may never have been committed there. `trace`: the headers of the
    trace in which a rollout was asked for, for a driver that nobody woke.
    """

    kind: str
    subject_id: uuid.UUID
    holder: str
    epoch: int
    command_seq: int
    sent_at: float = field(default_factory=time.monotonic)
    ttl: float = TTL_SECONDS
    timeline: int = 0
    trace: Mapping[str, str] = field(default_factory=dict)

    @property
    def renew_after(self) -> float:
        """Seconds after which the holder renews: a quarter of the lease (3 s of 12)."""
        return self.ttl / 4

    def may_issue(self, now: float | None = None) -> bool:
        """Whether our own clock still allows external calls: the lease less a quarter of it since the last renewal was sent."""
        return (time.monotonic() if now is None else now) < self.sent_at + self.ttl * 3 / 4


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A person's word, in order."""

    seq: int
    command: str
    body: dict[str, Any]
    actor: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DueSubject:
    """A rollout, operation or event whose `due_at` came `late` seconds ago and that nobody drives."""

    kind: str
    subject_id: uuid.UUID
    late: float = 0.0


class Leases(Protocol):
    """Leases in PostgreSQL. Each call is its own short transaction unless it says otherwise."""

    async def take(self, kind: str, subject_id: uuid.UUID, holder: str) -> HeldLease | None:
        """Take the lease if it is free or ran out; None if somebody holds it. The epoch rises by one."""
        ...

    async def renew(self, lease: HeldLease) -> None:
        """Push the expiry out; raises `LeaseLostError`."""
        ...

    async def release(self, lease: HeldLease) -> None:
        """Let go early, so that a successor need not wait for the expiry (drain)."""
        ...

    async def due(self, kinds: tuple[str, ...], limit: int = 64) -> list[DueSubject]:
        """What is due and not driven: the sweeper's one query per second."""
        ...

    async def gone(self, but: str) -> list[str]:
        """Holders of leases, other than `but`, whose session with PostgreSQL has ended. That does not prove them dead."""
        ...

    async def let_run_out(self, holder: str) -> int:
        """End the leases of a holder whose session is still gone, now; returns how many. Who takes them raises epochs as ever."""
        ...

    async def soonest_expiry(self) -> float | None:
        """Seconds until the first held lease runs out unless its holder renews it; None if none is held."""
        ...
