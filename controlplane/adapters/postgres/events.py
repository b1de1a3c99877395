"""Inbound events in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.events import CloudEvent
from controlplane.ports.stores.events import EventRecord, EventState, NewEvent

from .json_text import as_json

_COLUMNS = (
    "source, id, type, subject, time, data, attributes, digest, received_at, received_from, state, fate, attempts,"
    " apps, trace, due_at, ended_at"
)
_INSERT = text(
    "insert into inbound_events (source, id, type, subject, time, data, attributes, digest, received_at, received_from,"
    " state, fate, attempts, apps, trace, due_at)"
    " values (:source, :id, :type, :subject, :time, cast(:data as jsonb), cast(:attributes as jsonb), :digest,"
    " clock_timestamp(), :received_from, 'received', '[]', 0, cast(:apps as jsonb), cast(:trace as jsonb), :now)"
    " on conflict (source, id) do nothing returning id"
)
_GET = f"select {_COLUMNS} from inbound_events where source = :source and id = :id"  # noqa: S608 -- constants
_WITH_ID = text(f"select {_COLUMNS} from inbound_events where id = :id order by received_at limit 50")  # noqa: S608 -- constants
_WITH_CONTENT = text(
    f"select {_COLUMNS} from inbound_events where source = :source and digest = :digest and received_at >= :since"  # noqa: S608 -- constants
    " order by received_at limit 1"
)
_CLAIM = text(
    "with due as (select source, id from inbound_events where state in ('received','waiting') and due_at <= clock_timestamp()"  # noqa: S608 -- constants
    " order by due_at, received_at limit :limit for update skip locked),"
    " taken as (update inbound_events e set due_at = :until, attempts = attempts + 1 from due"
    "  where e.source = due.source and e.id = due.id returning e.*)"
    f" select {_COLUMNS} from taken order by received_at"
)
_SETTLE = text(
    "update inbound_events set state = cast(:state as text), fate = cast(:fate as jsonb), due_at = :due_at, attempts = :attempts,"
    " ended_at = case when cast(:state as text) in ('done','dead') then clock_timestamp() end where source = :source and id = :id"
)
_LOCK = text("select pg_advisory_xact_lock(hashtextextended('coalesce/' || :trigger || '/' || :app, 0))")
_WAITING = text(
    f"select {_COLUMNS} from inbound_events where state = 'waiting' and fate @> cast(:entry as jsonb) for update"  # noqa: S608 -- constants
)
_DEAD = text(
    f"select {_COLUMNS} from inbound_events where state = 'dead' and ended_at < coalesce(:before, 'infinity'::timestamptz)"  # noqa: S608 -- constants
    " order by ended_at desc limit :limit"
)
_REDRIVE = text(
    "update inbound_events set state = 'received', attempts = 0, due_at = now(), ended_at = null, fate = '[]'"
    " where source = :source and id = :id and state = 'dead' returning id"
)
_OLDEST = text(
    "select greatest(coalesce(now() - min(due_at), interval '0'), interval '0') from inbound_events"
    " where state in ('received','waiting')"
)


class PostgresEvents:
    """See `controlplane.ports.stores.events.EventStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def insert(self, new: NewEvent, now: datetime) -> bool:
        """Store one unless it is there."""
        event = new.event
        values = {
            "source": event.source,
            "id": event.id,
            "type": event.type,
            "subject": event.subject,
            "time": event.time,
            "data": as_json(event.data),
            "attributes": as_json(event.attributes),
            "digest": event.digest,
            "received_from": new.received_from,
            "apps": None if new.apps is None else as_json(sorted(new.apps)),
            "trace": as_json(dict(new.trace)),
            "now": now,
        }
        return (await self._session.execute(_INSERT, values)).first() is not None

    async def get(self, source: str, event_id: str, *, lock: bool = False) -> EventRecord | None:
        """One event."""
        statement = text(_GET + (" for update" if lock else ""))
        row = (await self._session.execute(statement, {"source": source, "id": event_id})).first()
        return _record(row) if row else None

    async def with_id(self, event_id: str) -> Sequence[EventRecord]:
        """Events with this id."""
        return await self._all(_WITH_ID, {"id": event_id})

    async def with_content(self, source: str, digest: str, since: datetime) -> EventRecord | None:
        """The oldest event with this content."""
        found = await self._all(_WITH_CONTENT, {"source": source, "digest": digest, "since": since})
        return found[0] if found else None

    async def claim(self, limit: int, until: datetime) -> Sequence[EventRecord]:
        """Take due events."""
        return await self._all(_CLAIM, {"limit": limit, "until": until})

    async def settle(
        self, record: EventRecord, state: EventState, fate: Sequence[Mapping[str, Any]], due_at: datetime | None
    ) -> None:
        """Write the fate."""
        values = {"source": record.event.source, "id": record.event.id, "state": state, "due_at": due_at}
        await self._session.execute(_SETTLE, {**values, "fate": as_json(list(fate)), "attempts": record.attempts})

    async def lock_window(self, trigger: str, app: str) -> None:
        """Serialise decisions about one window."""
        await self._session.execute(_LOCK, {"trigger": trigger, "app": app})

    async def waiting_for(self, trigger: str, app: str) -> Sequence[EventRecord]:
        """Events in one window."""
        entry = [{"trigger": trigger, "app": app, "outcome": "coalescing"}]
        return await self._all(_WAITING, {"entry": as_json(entry)})

    async def dead(self, before: datetime | None, limit: int) -> Sequence[EventRecord]:
        """Dead events."""
        return await self._all(_DEAD, {"before": before, "limit": limit})

    async def redrive(self, source: str, event_id: str) -> bool:
        """Make it due again."""
        return (await self._session.execute(_REDRIVE, {"source": source, "id": event_id})).first() is not None

    async def oldest_due(self) -> timedelta:
        """How far behind we are."""
        found: timedelta = (await self._session.execute(_OLDEST)).scalar_one()
        return found

    async def _all(self, statement: Any, values: Mapping[str, Any]) -> list[EventRecord]:
        return [_record(row) for row in (await self._session.execute(statement, values)).all()]


def _record(row: Row[Any]) -> EventRecord:
    event = CloudEvent(
        id=row.id,
        source=row.source,
        type=row.type,
        subject=row.subject,
        time=row.time,
        data=row.data,
        attributes=row.attributes,
    )
    return EventRecord(
        event=event,
        received_from=row.received_from,
        received_at=row.received_at,
        state=row.state,
        fate=tuple(row.fate),
        attempts=row.attempts,
        digest=row.digest,
        apps=None if row.apps is None else frozenset(row.apps),
        trace=row.trace,
        due_at=row.due_at,
        ended_at=row.ended_at,
    )
