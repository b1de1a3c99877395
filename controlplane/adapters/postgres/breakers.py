"""Breakers in PostgreSQL: two columns of their budget's row, so that whoever grants has them under the same lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.breaker import Share, Signs, Windows
from controlplane.domain.exposure import FLEET_IN_FLIGHT
from controlplane.domain.fleet_limits import FLEET, FleetLimits
from controlplane.ports.stores.budgets import BreakerRecord

from .json_text import as_json

_LIMITS = text(
    """
    select v.spec from config_current c join config_versions v using (kind, name, version)
    where c.kind = 'limits' and c.name = :name and c.deleted_at is null
    """
)
_UNHEALTHY = text(
    """
    with ill as (
        select distinct t.tenant, t.environment from targets t join rollouts r on r.id = t.rollout_id
        where r.state in ('running','paused','rollingBack')
          and ((t.state in ('failed','rollingBack') and t.memory -> 'driver' ? 'failed') or t.memory -> 'driver' ? 'ill_since')
    )
    select e.cluster, count(*) as number, count(*) filter (where e.dirty or ill.tenant is not null) as unhealthy
    from environments e join tenants t using (tenant) left join ill using (tenant, environment)
    where t.phase in ('active', 'suspended') group by e.cluster
    """
)
_ENDED = text(
    """
    select count(*) filter (where failed and at >= now() - make_interval(secs => :failures)) as failed,
           count(*) filter (where failed and at >= now() - make_interval(secs => :long)) as long_failed,
           count(*) filter (where at >= now() - make_interval(secs => :long)) as long_ended,
           count(*) filter (where failed and at >= now() - make_interval(secs => :short)) as short_failed,
           count(*) filter (where at >= now() - make_interval(secs => :short)) as short_ended
    from (
        select at, type = 'dev.seawall.rollout.target-failed.v1' as failed from history
        where at >= greatest(now() - make_interval(secs => greatest(:failures, :long, :short)), cast(:since as timestamptz))
          and (type = 'dev.seawall.rollout.target-verified.v1'
               or (type = 'dev.seawall.rollout.target-failed.v1' and (data ->> 'blamed') is distinct from 'false'))
    ) ended
    """
)
_READ = "select scope, breaker, breaker_detail from budgets"
_OPEN = text(f"{_READ} where breaker <> '' or scope = :fleet order by scope <> :fleet, scope")
_LOCK = text(f"{_READ} where scope = :scope for update")
_MAKE = text("insert into budgets (scope) values (:scope) on conflict do nothing")
_SET = text(
    """
    with changed as (
        update budgets set breaker = :state, breaker_detail = cast(:detail as jsonb) where scope = :scope
        returning scope, reserved, cap, closed or breaker in ('open','probing') as closed
    )
    insert into budget_moves (scope, delta, reserved, cap, closed) select scope, 0, reserved, cap, closed from changed
    """
)
_TELL = text(
    "insert into budgets (scope, version) values (:scope, 1) on conflict (scope) do update set version = budgets.version + 1"
)


async def read_limits(session: AsyncSession) -> FleetLimits:
    """The fleet limits in force; the defaults if nobody put any."""
    spec = (await session.execute(_LIMITS, {"name": FLEET})).scalar_one_or_none()
    return FleetLimits.model_validate(spec or {})


async def read_signs(session: AsyncSession, windows: Windows, since: datetime | None) -> Signs:
    """Count unhealthy environments by cluster and, where a rule asks, ended changes."""
    rows = await session.execute(_UNHEALTHY)
    clusters = {row.cluster: Share(row.unhealthy, row.number) for row in rows}
    spans = {name: getattr(windows, name).total_seconds() for name in ("failures", "long", "short")}
    if not any(spans.values()):
        return Signs(clusters)
    ended = (await session.execute(_ENDED, {**spans, "since": since})).one()
    long, short = Share(ended.long_failed, ended.long_ended), Share(ended.short_failed, ended.short_ended)
    return Signs(clusters, ended.failed, long, short)


async def read_breakers(session: AsyncSession) -> list[BreakerRecord]:
    """The fleet's breaker first, then others that are not closed."""
    return [_record(row) for row in await session.execute(_OPEN, {"fleet": FLEET_IN_FLIGHT})]


async def lock_breaker(session: AsyncSession, scope: str) -> BreakerRecord | None:
    """Lock a breaker's row."""
    if scope == FLEET_IN_FLIGHT:
        await session.execute(_MAKE, {"scope": scope})
    row = (await session.execute(_LOCK, {"scope": scope})).one_or_none()
    return None if row is None else _record(row)


async def set_breaker(session: AsyncSession, record: BreakerRecord) -> None:
    """Write a locked breaker, log it among the moves, and raise the fleet row's version: drivers read again."""
    values = {"scope": record.scope, "state": record.state, "detail": as_json(record.detail())}
    await session.execute(_SET, values)
    await session.execute(_TELL, {"scope": FLEET_IN_FLIGHT})


_TIMES: Collection[str] = ("since", "closed_at")
_FIELDS = {one.name for one in dataclasses.fields(BreakerRecord)}


def _record(row: Any) -> BreakerRecord:
    known = {name: value for name, value in (row.breaker_detail or {}).items() if name in _FIELDS}
    known |= {name: datetime.fromisoformat(known[name]) for name in _TIMES if name in known}
    return BreakerRecord(row.scope, row.breaker, **known)
