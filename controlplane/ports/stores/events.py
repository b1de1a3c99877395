"""Events in, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from controlplane.domain.events import CloudEvent

EventState = Literal["received", "waiting", "done", "dead"]


@dataclass(frozen=True)
class NewEvent:
    """An event to store. `apps`: the only apps its sender may start; None: any."""

    event: CloudEvent
    received_from: str
    apps: frozenset[str] | None = None
    trace: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EventRecord:
    """A stored event. `fate` holds one entry per trigger that heard it."""

    event: CloudEvent
    received_from: str
    received_at: datetime
    state: EventState
    fate: tuple[dict[str, Any], ...]
    attempts: int
    digest: str
    apps: frozenset[str] | None = None
    trace: Mapping[str, str] = field(default_factory=dict)
    due_at: datetime | None = None
    ended_at: datetime | None = None


class EventStore(Protocol):
    """Inbound events, unique on (source, id)."""

    async def insert(self, new: NewEvent, now: datetime) -> bool:
        """Store one, due at once; False if this source and id are there already."""
        ...

    async def get(self, source: str, event_id: str, *, lock: bool = False) -> EventRecord | None:
        """One event; `lock` until the transaction ends."""
        ...

    async def with_id(self, event_id: str) -> Sequence[EventRecord]:
        """Events with this id, of whatever source."""
        ...

    async def with_content(self, source: str, digest: str, since: datetime) -> EventRecord | None:
        """The oldest event of a source with this content received since then."""
        ...

    async def claim(self, limit: int, until: datetime) -> Sequence[EventRecord]:
        """Take due events, oldest first: nobody else takes them before `until`; counts an attempt for each."""
        ...

    async def settle(
        self, record: EventRecord, state: EventState, fate: Sequence[Mapping[str, Any]], due_at: datetime | None
    ) -> None:
        """Write what became of an event."""
        ...

    async def lock_window(self, trigger: str, app: str) -> None:
        """Let one transaction at a time decide about events that a trigger coalesces for an app."""
        ...

    async def waiting_for(self, trigger: str, app: str) -> Sequence[EventRecord]:
        """Events that wait in this trigger's window for this app, locked."""
        ...

    async def dead(self, before: datetime | None, limit: int) -> Sequence[EventRecord]:
        """Dead events, newest first."""
        ...

    async def redrive(self, source: str, event_id: str) -> bool:
        """Make a dead event due again, its attempts counted from zero; False if it is not dead."""
        ...

    async def oldest_due(self) -> timedelta:
        """How long the event that waits longest has been due; zero if none is."""
        ...
