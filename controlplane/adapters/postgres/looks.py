"""Reads of history and audit in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.changes import RolloutFacts
from controlplane.ports.stores.looks import AuditFilter, AuditRecord, ChangePosition, ChangeRecord

_CHANGES = text(
    """
    select h.at, h.subject_kind, h.subject_id, h.seq, h.type, h.tenant, h.data from history h
    where h.at >= :since
      and (cast(:cluster as text) is null
        or (h.subject_kind = 'cluster' and h.subject_id = :cluster)
        or exists (select 1 from environments e where e.tenant = h.tenant and e.cluster = :cluster)
        or (h.subject_kind = 'rollout' and h.tenant is null and exists (
              select 1 from targets t join environments e using (tenant, environment)
              where t.rollout_id = cast(h.subject_id as uuid) and e.cluster = :cluster)))
      and (cast(:app as text) is null
        or (h.subject_kind = 'app' and h.subject_id = :app)
        or h.data ->> 'app' = :app
        or (h.subject_kind = 'rollout' and exists (
              select 1 from rollouts r where r.id = cast(h.subject_id as uuid) and r.app = :app)))
      and (cast(:at as timestamptz) is null
        or (h.at, h.subject_kind, h.subject_id, h.seq) < (cast(:at as timestamptz), :kind, :id, :seq))
    order by h.at desc, h.subject_kind desc, h.subject_id desc, h.seq desc limit :limit
    """
)
_ROLLOUTS = text(
    """
    select cast(r.id as text) as id, r.app, r.release_version as version, r.kind, r.environment, r.state,
      coalesce((select array_agg(distinct e.cluster order by e.cluster) from targets t join environments e using (tenant, environment)
                where t.rollout_id = r.id), '{}') as clusters,
      coalesce((select jsonb_object_agg(state, n) from
                (select state, count(*) as n from targets t where t.rollout_id = r.id group by state) c), '{}') as counts
    from rollouts r where r.id = any(cast(:ids as uuid[]))
    """
)
_CLUSTERS = text(
    "select tenant, array_agg(distinct cluster order by cluster) as clusters from environments where tenant = any(:tenants) group by tenant"
)
_AUDIT = text(
    """
    select id, at, actor, action, subject, tenant, detail, trace_id, hash, seal from audit
    where (cast(:since as timestamptz) is null or at >= :since)
      and (cast(:actor as text) is null or actor = :actor)
      and (cast(:action as text) is null or action = :action)
      and (cast(:subject as text) is null or subject = :subject)
      and (cast(:tenant as text) is null or tenant = :tenant)
      and (cast(:before as bigint) is null or id < :before)
    order by id desc limit :limit
    """
)


class PostgresLooks:
    """See `controlplane.ports.stores.looks.LookStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def changes(
        self, since: datetime, cluster: str | None, app: str | None, after: ChangePosition | None, limit: int
    ) -> list[ChangeRecord]:
        """What changed, newest first."""
        at, kind, subject, seq = after or (None, "", "", 0)
        position = {"at": at, "kind": kind, "id": subject, "seq": seq}
        values = {"since": since, "cluster": cluster, "app": app, "limit": limit, **position}
        return [ChangeRecord(*row) for row in await self._session.execute(_CHANGES, values)]

    async def rollouts(self, ids: Collection[str]) -> dict[str, RolloutFacts]:
        """Rollouts as they stand."""
        rows = await self._session.execute(_ROLLOUTS, {"ids": sorted(ids)}) if ids else ()
        return {row.id: RolloutFacts(**row._mapping) for row in rows}  # noqa: SLF001 -- SQLAlchemy's public name

    async def clusters_of(self, tenants: Collection[str]) -> dict[str, list[str]]:
        """Clusters of tenants."""
        rows = await self._session.execute(_CLUSTERS, {"tenants": sorted(tenants)}) if tenants else ()
        return {row.tenant: row.clusters for row in rows}

    async def audit(self, wanted: AuditFilter, before: int | None, limit: int) -> list[AuditRecord]:
        """Audit rows, newest first."""
        rows = await self._session.execute(_AUDIT, {**vars(wanted), "before": before, "limit": limit})
        return [AuditRecord(*row) for row in rows]
