"""Reads for gates and rules: see `controlplane.ports.facts`."""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import TextClause, text

from controlplane.domain.releases import ReleaseSpec
from controlplane.domain.requests import RolloutRequest
from controlplane.ports.facts import Configured, Ran, TargetFact
from controlplane.ports.stores.evidence import BackupRecord, EvidenceRecord

from .uow import PostgresUnitOfWork

_RELEASE = text("select spec from releases where app = :app and version = :version")
_PROVEN = text("select 1 from releases where app = :app and version = :version and proven_at is not null")
_WISH = text("select origin -> 'request' from rollouts where id = :id")
_EVIDENCE = text(
    """
    select id, app, version, kind, at, body, received_at, reported_by from (
        select e.*, row_number() over (partition by kind order by at desc, id desc) as newest
        from release_evidence e where app = :app and version = :version
    ) numbered where newest = 1 or (kind in ('provenance', 'commit') and newest <= 50) order by kind, newest
    """
)
_TARGETS = text(
    """
    select t.tenant, t.environment, e.cluster, e.namespace, n.region, n.tier, n.labels, t.release_version, t.values_hash,
           t.state, coalesce(e.uid, ''), e.epoch, coalesce(cast(n.exposure ->> 'ordersPerHour' as float8), 0), n.time_zone
    from targets t
    join environments e on (e.tenant, e.environment) = (t.tenant, t.environment)
    join tenants n on n.tenant = t.tenant
    where t.rollout_id = :id and t.tenant = any(:tenants)
    """
)
_RAN = text(
    """
    with given as (
        select v.tenant, v.revision, v.release_version, v.values_hash, v.state, v.verified_at, ta.revision as runs,
               min(v.created_at) over later as left_at, max(v.created_at) over later as back_at
        from revisions v
        join tenant_apps ta on (ta.tenant, ta.environment, ta.app) = (v.tenant, v.environment, v.app)
        where v.app = :app and v.environment = :environment
          and (cast(:tenants as text[]) is null or v.tenant = any(cast(:tenants as text[])))
        window later as (
            partition by v.tenant order by v.revision rows between 1 following and unbounded following
        )
    )
    select e.tenant, coalesce(g.revision, 0), coalesce(g.release_version, ''), coalesce(g.values_hash, ''),
           case when g.revision = g.runs then greatest(g.verified_at, g.back_at) else g.verified_at end,
           case when g.revision = g.runs then null else g.left_at end
    from environments e
    join tenants t on t.tenant = e.tenant
    left join given g on g.tenant = e.tenant and g.state = 'verified' and g.verified_at is not null
    where e.environment = :environment and t.phase <> 'offboarded'
      and (
        e.tenant = any(cast(:tenants as text[]))
        or (cast(:tenants as text[]) is null and t.phase = 'active' and exists (
            select 1 from tenant_apps a where (a.tenant, a.environment, a.app) = (e.tenant, e.environment, :app)
        ))
      )
    order by e.tenant, g.revision desc
    """
)
_VALUES = text(
    """
    select c.tenant, c.hash, c.body from contents c
    join unnest(cast(:tenants as text[]), cast(:hashes as text[])) as u(tenant, hash) on (c.tenant, c.hash) = (u.tenant, u.hash)
    """
)
_BACKUPS = text(
    """
    select distinct on (tenant) tenant, environment, id, taken_at, size, checked_at, location, reported_by, reported_at
    from backups where environment = :environment and tenant = any(:tenants) and checked_at is not null and size > 0
    order by tenant, taken_at desc
    """
)
_CONFIGURED = text(
    """
    select c.name, v.version, v.spec from config_current c join config_versions v using (kind, name, version)
    where c.kind = :kind and c.deleted_at is null order by c.name
    """
)
_SEEN = text(
    """
    select '' as tenant, evidence from gates
    where rollout_id = :id and wave = :wave and kind = :kind and place = 'before' and verdict = 'pass'
    union all
    select g.tenant, g.evidence from target_gates g join targets t using (rollout_id, tenant)
    where g.rollout_id = :id and t.wave = :wave and g.kind = :kind and g.verdict = 'pass'
    """
)


class PostgresFacts:
    """See `controlplane.ports.facts.Facts`. `open`: as the engine (workers), or the platform (API)."""

    def __init__(self, open_: Callable[[], AbstractAsyncContextManager[PostgresUnitOfWork]]) -> None:
        self._open = open_

    async def release(self, app: str, version: str) -> ReleaseSpec | None:
        """A registered release."""
        rows = await self._rows(_RELEASE, {"app": app, "version": version})
        return ReleaseSpec.model_validate(rows[0][0]) if rows else None

    async def proven(self, app: str, version: str) -> bool:
        """Whether it is proven."""
        return bool(await self._rows(_PROVEN, {"app": app, "version": version}))

    async def wish(self, rollout_id: uuid.UUID) -> RolloutRequest | None:
        """What was asked for; the request that a rollout keeps may name tenants as well."""
        rows = await self._rows(_WISH, {"id": rollout_id})
        if not rows or not rows[0][0]:
            return None
        return RolloutRequest.model_validate({k: v for k, v in rows[0][0].items() if k != "tenants"})

    async def evidence(self, app: str, version: str) -> Sequence[EvidenceRecord]:
        """Newest of each kind."""
        return [EvidenceRecord(*row) for row in await self._rows(_EVIDENCE, {"app": app, "version": version})]

    async def targets(self, rollout_id: uuid.UUID, tenants: Collection[str]) -> Mapping[str, TargetFact]:
        """Targets by tenant."""
        rows = await self._rows(_TARGETS, {"id": rollout_id, "tenants": list(tenants)})
        return {row[0]: TargetFact(*row) for row in rows}

    async def ran(self, app: str, environment: str, tenants: Collection[str] | None) -> Sequence[Ran]:
        """What ran where."""
        asked = None if tenants is None else list(tenants)
        rows = await self._rows(_RAN, {"app": app, "environment": environment, "tenants": asked})
        return [Ran(*row) for row in rows]

    async def values(self, hashes: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        """Values by (tenant, hash)."""
        asked = sorted(set(hashes))
        rows = await self._rows(_VALUES, {"tenants": [t for t, _ in asked], "hashes": [h for _, h in asked]})
        return {(row[0], row[1]): json.loads(zlib.decompress(row[2])) for row in rows}

    async def backups(self, environment: str, tenants: Collection[str]) -> Mapping[str, BackupRecord]:
        """Newest checked one of each."""
        rows = await self._rows(_BACKUPS, {"environment": environment, "tenants": list(tenants)})
        return {row[0]: BackupRecord(*row) for row in rows}

    async def configured(self, kind: str) -> Sequence[Configured]:
        """In force."""
        return [Configured(*row) for row in await self._rows(_CONFIGURED, {"kind": kind})]

    async def seen(self, rollout_id: uuid.UUID, wave: int, kind: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Evidence that gates left."""
        rows = await self._rows(_SEEN, {"id": rollout_id, "wave": wave, "kind": kind})
        return [(row[0], row[1]) for row in rows]

    async def _rows(self, statement: TextClause, values: Mapping[str, Any]) -> list[Any]:
        async with self._open() as uow:
            return list((await uow.session.execute(statement, dict(values))).all())
