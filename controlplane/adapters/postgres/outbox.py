"""The outbox and webhook deliveries in PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.events_out import Change
from controlplane.domain.names import new_id
from controlplane.ports.stores.outbox import DeadDelivery, DeliveryRow, OutboxRow

# A claim or a deletion that a crash forgets is done again under the same message id, so neither waits for the disk.
_SOON = text("set local synchronous_commit = off")
_ONE_AT_A_TIME = text(
    "select set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(hashtextextended('outbox', 0))"
)
_CLAIM = text(
    "with free as (select id from outbox where claimed_until is null or claimed_until < clock_timestamp()"
    " order by id limit :limit for update skip locked)"
    " update outbox o set claimed_until = clock_timestamp() + :hold from free where o.id = free.id"
    " returning o.id, o.subject, o.msg_id, o.payload, o.headers, o.created_at"
)
_RELEASE = text("update outbox set claimed_until = null where id = any(:ids)")
_PEEK = text(
    "select id, subject, msg_id, payload, headers, created_at from outbox where id > :after order by id limit :limit"
)
_DELETE = text("delete from outbox where id = any(:ids)")
_DEPTH = text("select count(*) from (select 1 from outbox limit :most) as counted")
_OLDEST = text("select coalesce(clock_timestamp() - min(created_at), interval '0') from outbox")

_ADD = text(
    "insert into deliveries (id, webhook, subject_kind, subject_id, seq, tenant, state, attempts, last_error, due_at)"
    " select * from unnest(cast(:ids as uuid[]), cast(:webhooks as text[]), cast(:kinds as text[]), cast(:subjects as text[]),"
    " cast(:seqs as bigint[]), cast(:tenants as text[])) as n(id, webhook, kind, subject, seq, tenant),"
    " lateral (select 'pending', 0, '', now()) as d"
    " on conflict on constraint delivery_once do nothing"
)
_CLAIM_DELIVERIES = text(
    "with due as (select d.id from deliveries d where d.state = 'pending' and d.due_at <= clock_timestamp()"
    " and not exists (select 1 from deliveries e where e.webhook = d.webhook and e.subject_kind = d.subject_kind"
    "  and e.subject_id = d.subject_id and e.seq < d.seq and e.state = 'pending')"
    " order by d.due_at, d.seq limit :limit for update of d skip locked),"
    " taken as (update deliveries t set due_at = :until, attempts = attempts + 1 from due where t.id = due.id returning t.*)"
    " select t.id, t.webhook, t.attempts, t.created_at, h.subject_kind, h.subject_id, h.seq, h.type, h.tenant, h.data, h.at"
    " from taken t join lateral ("
    "  select * from history i where (i.subject_kind, i.subject_id, i.seq) = (t.subject_kind, t.subject_id, t.seq)"
    "  union all select 'audit', 'trail', a.seal, 'dev.seawall.audit.recorded.v1', a.tenant, jsonb_build_object('id', a.id,"
    "   'actor', a.actor, 'action', a.action, 'subject', a.subject, 'detail', a.detail, 'traceId', a.trace_id, 'hash', a.hash), a.at"
    "  from audit a where t.subject_kind = 'audit' and a.seal = t.seq) h on true"
)
_DELIVERED = text(
    "update deliveries set state = 'delivered', ended_at = now(), due_at = null, last_error = ''"
    " where id = :id and attempts = :attempts and state = 'pending'"
)
_FAILED = text(
    "update deliveries set last_error = :error, due_at = :due_at,"
    " state = case when cast(:due_at as timestamptz) is null then 'dead' else 'pending' end,"
    " ended_at = case when cast(:due_at as timestamptz) is null then clock_timestamp() end"
    " where id = :id and attempts = :attempts and state = 'pending'"
)
_DEAD = text(
    "select id, webhook, subject_kind, subject_id, seq, attempts, last_error, ended_at from deliveries"
    " where state = 'dead' and ended_at < coalesce(:before, 'infinity'::timestamptz) order by ended_at desc limit :limit"
)
_REDRIVE = text(
    "update deliveries set state = 'pending', attempts = 0, due_at = now(), ended_at = null"
    " where id = :id and state = 'dead' returning id"
)


class PostgresOutbox:
    """See `controlplane.ports.stores.outbox.OutboxStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim(self, limit: int, hold: timedelta) -> Sequence[OutboxRow]:
        """Take the oldest free rows."""
        await self._session.execute(_ONE_AT_A_TIME)
        rows = (await self._session.execute(_CLAIM, {"limit": limit, "hold": hold})).all()
        return [_outbox_row(row) for row in sorted(rows, key=lambda row: int(row.id))]

    async def release(self, ids: Sequence[int]) -> None:
        """They did not arrive."""
        await self._session.execute(_RELEASE, {"ids": list(ids)})

    async def peek(self, after: int, limit: int) -> Sequence[OutboxRow]:
        """Look without taking."""
        rows = (await self._session.execute(_PEEK, {"after": after, "limit": limit})).all()
        return [_outbox_row(row) for row in rows]

    async def delete(self, ids: Sequence[int]) -> None:
        """They arrived."""
        await self._session.execute(_SOON)
        await self._session.execute(_DELETE, {"ids": list(ids)})

    async def depth(self, most: int) -> int:
        """How many wait."""
        return int((await self._session.execute(_DEPTH, {"most": most})).scalar_one())

    async def oldest(self) -> timedelta:
        """How long the oldest has waited."""
        found: timedelta = (await self._session.execute(_OLDEST)).scalar_one()
        return found


class PostgresDeliveries:
    """See `controlplane.ports.stores.outbox.DeliveryStore`."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self._session = session
        self._now = now

    async def add(self, webhook: str, changes: Sequence[Change]) -> int:
        """Plan deliveries."""
        values = {
            "ids": [new_id(self._now) for _ in changes],
            "webhooks": [webhook for _ in changes],
            "kinds": [c.kind for c in changes],
            "subjects": [c.subject_id for c in changes],
            "seqs": [c.seq for c in changes],
            "tenants": [c.tenant for c in changes],
        }
        result = await self._session.execute(_ADD, values)
        return int(result.rowcount)  # type: ignore[attr-defined]  # an INSERT's result is a cursor result

    async def claim(self, limit: int, until: datetime) -> Sequence[DeliveryRow]:
        """Take due deliveries."""
        rows = (await self._session.execute(_CLAIM_DELIVERIES, {"limit": limit, "until": until})).all()
        return [_delivery(row) for row in rows]

    async def delivered(self, row: DeliveryRow) -> None:
        """It arrived."""
        await self._session.execute(_DELIVERED, {"id": row.id, "attempts": row.attempts})

    async def failed(self, row: DeliveryRow, error: str, due_at: datetime | None) -> None:
        """It did not."""
        values = {"id": row.id, "attempts": row.attempts, "error": error[:500], "due_at": due_at}
        await self._session.execute(_FAILED, values)

    async def dead(self, before: datetime | None, limit: int) -> Sequence[DeadDelivery]:
        """Dead deliveries."""
        rows = (await self._session.execute(_DEAD, {"before": before, "limit": limit})).all()
        return [
            DeadDelivery(
                r.id, r.webhook, f"{r.subject_kind}-{r.subject_id}-{r.seq}", r.attempts, r.last_error, r.ended_at
            )
            for r in rows
        ]

    async def redrive(self, delivery_id: uuid.UUID) -> bool:
        """Make it due again."""
        return (await self._session.execute(_REDRIVE, {"id": delivery_id})).first() is not None


def _outbox_row(row: Row[Any]) -> OutboxRow:
    return OutboxRow(row.id, row.subject, row.msg_id, row.payload, row.headers, row.created_at)


def _delivery(row: Row[Any]) -> DeliveryRow:
    change = Change(row.subject_kind, row.subject_id, row.seq, row.type, row.tenant, row.at.isoformat(), row.data)
    return DeliveryRow(row.id, row.webhook, change, row.attempts, row.created_at)
