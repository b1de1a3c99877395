"""One tenant's view, as the database role that sees no other: plain columns only, no plan, no other tenant's name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.self_service import HistoryEntry

_STATUS = text(
    """
    select jsonb_build_object(
      'tenant', t.tenant, 'phase', t.phase, 'phaseReason', t.phase_reason, 'tier', t.tier, 'apps', t.apps,
      'environments', coalesce((
        select jsonb_agg(jsonb_build_object(
          'name', e.environment, 'health', e.health, 'healthReason', e.health_reason, 'healthAt', e.health_at, 'quota', e.quota, 'drift', e.drift,
          'slotKind', e.slot_kind, 'slotId', e.slot_id, 'slotSince', e.slot_since, 'dirty', e.dirty,
          'apps', coalesce((
            select jsonb_agg(jsonb_build_object(
              'name', a.app, 'running', r.release_version, 'revision', a.revision, 'verifiedRevision', a.verified_revision,
              'deferredUntil', a.deferred_until,
              'verifiedAt', (select max(v.verified_at) from revisions v
                             where (v.tenant, v.environment, v.app, v.revision) = (a.tenant, a.environment, a.app, a.verified_revision)),
              'earlier', exists (select 1 from revisions v where (v.tenant, v.environment, v.app) = (a.tenant, a.environment, a.app)
                                 and v.revision < a.revision and v.state = 'verified')
            ) order by a.app)
            from tenant_apps a
            left join revisions r on (r.tenant, r.environment, r.app, r.revision) = (a.tenant, a.environment, a.app, a.revision)
            where a.tenant = e.tenant and a.environment = e.environment), '[]'),
          'open', coalesce((
            select jsonb_agg(jsonb_build_object(
              'rollout', o.id, 'kind', o.kind, 'app', o.app, 'version', g.release_version, 'why', o.reason, 'rolloutState', o.state,
              'state', g.state, 'code', g.code, 'reason', g.reason,
              'waitsUntil', g.memory -> 'driver' ->> 'waits_until', 'since', g.since, 'wayBack', g.memory ->> 'wayBack',
              'notBefore', o.not_before, 'createdAt', o.created_at, 'wave', w.name, 'waveState', w.state,
              'expectedFrom', w.expected_from, 'expectedBy', w.expected_by,
              'database', (select l.spec -> 'database' ->> 'change' from releases l where l.app = o.app and l.version = g.release_version)
            ) order by o.created_at)
            from targets g join rollouts o on o.id = g.rollout_id
            left join waves w on w.rollout_id = g.rollout_id and w.wave = g.wave
            where g.tenant = e.tenant and g.environment = e.environment and o.state not in ('draft','succeeded','failed','aborted')
              and g.state not in ('verified','rolledBack','stuck','skipped','cancelled')), '[]'),
          'last', (
            select jsonb_build_object('app', o.app, 'version', g.release_version, 'outcome', g.state, 'at', g.ended_at,
                                      'reason', g.reason, 'kind', o.kind)
            from targets g join rollouts o on o.id = g.rollout_id
            where g.tenant = e.tenant and g.environment = e.environment and g.ended_at is not null
            order by g.ended_at desc limit 1)
        ) order by e.environment)
        from environments e where e.tenant = t.tenant), '[]'))
    from tenants t where t.tenant = :tenant
    """
)
_HISTORY = text(
    """
    select at, subject_kind as kind, subject_id as id, seq, type, data from history
    where tenant = :tenant
      and (cast(:at as timestamptz) is null or (at, subject_kind, subject_id, seq) < (:at, :kind, :id, cast(:seq as bigint)))
    order by at desc, subject_kind desc, subject_id desc, seq desc limit :limit
    """
)
_DEFER = text(
    """
    update tenant_apps set deferred_until = :until
    where tenant = :tenant and environment = :environment and app = any(:apps) returning app
    """
)
_ROLLBACKS = text(
    """
    select count(*) from rollouts r join targets t on t.rollout_id = r.id
    where t.tenant = :tenant and r.kind = 'rollback' and r.strategy = 'tenant-rollback' and r.created_at > :since
    """
)


class PostgresSelfService:
    """See `controlplane.ports.stores.self_service.SelfServiceStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def status(self, tenant: str) -> dict[str, Any] | None:
        """Everything in one query."""
        found: dict[str, Any] | None = (await self._session.execute(_STATUS, {"tenant": tenant})).scalar()
        return found

    async def history(
        self, tenant: str, before: tuple[datetime, str, str, int] | None, limit: int
    ) -> list[HistoryEntry]:
        """What changed, newest first."""
        at, kind, id_, seq = before or (None, None, None, None)
        values = {"tenant": tenant, "at": at, "kind": kind, "id": id_, "seq": seq, "limit": limit}
        return [HistoryEntry(**row._mapping) for row in await self._session.execute(_HISTORY, values)]  # noqa: SLF001 -- SQLAlchemy's public name

    async def defer(self, tenant: str, environment: str, apps: Collection[str], until: datetime) -> Sequence[str]:
        """Note a deferral."""
        values = {"tenant": tenant, "environment": environment, "apps": sorted(apps), "until": until}
        return [row.app for row in await self._session.execute(_DEFER, values)]

    async def rollbacks_since(self, tenant: str, since: datetime) -> int:
        """How many rollbacks the owner started."""
        return int((await self._session.execute(_ROLLBACKS, {"tenant": tenant, "since": since})).scalar_one())
