"""What the planner is told, read from PostgreSQL: a fixed number of statements, whatever the number of tenants."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.returns import PastRevision
from controlplane.ports.stores.rollout_rows import GateTimes, PastFailures, PhaseTimes, ReleaseRow, TargetRow

_RELEASES = text(
    """
    select r.app, r.version, r.digest, r.spec, r.proven_at, r.on_behalf_of, h.reason as hold_reason, h.created_at as hold_since
    from releases r left join holds h on h.digest = r.digest and h.lifted_at is null
    where r.app = :app and r.version = any(:versions)
    """
)
_STRATEGY = text(
    """
    select v.version, v.spec from config_versions v
    where v.kind = 'strategies' and v.name = :name and v.version = coalesce(
        cast(:version as integer),
        (select c.version from config_current c where c.kind = 'strategies' and c.name = :name and c.deleted_at is null)
    )
    """
)
_CONFIGS = text(
    """
    select c.name, v.spec from config_current c join config_versions v using (kind, name, version)
    where c.kind = :kind and c.deleted_at is null
    """
)
_ARTIFACT = text("select content from artifacts where digest = :digest")
_TARGETS = text(
    """
    select t.tenant, e.environment, t.phase, t.tier, t.region, e.cluster, e.namespace, e.hosts, t.labels, t.exposure,
           t.apps -> :app as app, e.slot_id, e.dirty, ta.app is not null as installed,
           coalesce(ta.values, '{}'::jsonb) as values, coalesce(ta.revision, 0) as revision,
           coalesce(ta.verified_revision, 0) as verified_revision, ta.deferred_until,
           ta.release_version as version, ta.content_hash as content, ta.values_hash,
           coalesce((
               select string_agg(concat_ws('/', o.app, v.release_version, v.values_hash), ',' order by o.app)
               from tenant_apps o join revisions v using (tenant, environment, app, revision)
               where o.tenant = e.tenant and o.environment = e.environment and o.app <> :app
           ), '') as others,
           coalesce(e.walls ->> 'priority', '') as priority
    from environments e
    join tenants t on t.tenant = e.tenant
    left join lateral (
        select a.app, a.values, a.revision, a.verified_revision, a.deferred_until, r.release_version, r.content_hash, r.values_hash
        from tenant_apps a left join revisions r using (tenant, environment, app, revision)
        where (a.tenant, a.environment, a.app) = (e.tenant, e.environment, :app)
        offset 0 -- one look by key for each tenant: without statistics the planner would compare each tenant with each
    ) ta on true
    where e.environment = :environment and t.phase <> 'offboarded'
      and (ta.app is not null or jsonb_exists(t.apps, :app))
      and (cast(:tenants as text[]) is null or t.tenant = any(cast(:tenants as text[])))
    """
)
_REVISIONS = text(
    """
    select tenant, revision, version, content, values_hash, values, state, change from (
        select v.tenant, v.revision, v.release_version as version, v.content_hash as content, v.values_hash, v.values, v.state,
               coalesce(r.spec -> 'database' ->> 'change', 'none') as change,
               row_number() over (partition by v.tenant order by v.revision desc) as newest
        from revisions v
        join tenant_apps ta on (ta.tenant, ta.environment, ta.app) = (v.tenant, v.environment, v.app)
        left join releases r on r.app = v.app and r.version = v.release_version
        where v.app = :app and v.environment = :environment and v.tenant = any(:tenants) and v.revision <= ta.revision
    ) numbered where newest <= :newest order by tenant, revision desc
    """
)
_CONTENTS = text(
    """
    select c.tenant, c.hash, c.body from contents c
    join unnest(cast(:tenants as text[]), cast(:hashes as text[])) as u(tenant, hash) on (c.tenant, c.hash) = (u.tenant, u.hash)
    """
)
_OTHER_APPS = text(
    """
    select o.tenant, c.body from tenant_apps o
    join revisions v using (tenant, environment, app, revision)
    join contents c on (c.tenant, c.hash) = (v.tenant, v.content_hash)
    where o.environment = :environment and o.app <> :app and o.tenant = any(:tenants)
    """
)
_PHASE_TIMES = text(
    """
    with recent as (
        select t.rollout_id, t.tenant, t.started_at, cast(t.memory -> 'driver' ->> 'soak_since' as timestamptz) as soak_since
        from targets t
        join (
            select id from rollouts where app = :app and started_at is not null order by created_at desc limit 20
        ) r on r.id = t.rollout_id
        where t.state = 'verified' and t.started_at is not null
        order by t.ended_at desc limit 2000
    ), steps_of as (
        select recent.rollout_id, recent.tenant, recent.started_at, recent.soak_since, s.phase,
               min(s.issued_at) as first, max(s.observed_at) as last
        from recent join steps s on s.subject_id = recent.rollout_id and s.tenant = recent.tenant
        where s.state = 'OBSERVED' and s.phase in ('backup', 'migrate', 'apply')
        group by 1, 2, 3, 4, 5
    ), went_back as (
        select b.rollout_id, b.tenant, b.started_at, b.ended_at, min(s.issued_at) as first
        from (
            select t.rollout_id, t.tenant, t.started_at, t.ended_at from targets t
            join (
                select id from rollouts where app = :app and started_at is not null order by created_at desc limit 20
            ) r on r.id = t.rollout_id
            where t.state = 'rolledBack' and t.started_at is not null
            order by t.ended_at desc limit 2000
        ) b join steps s on s.subject_id = b.rollout_id and s.tenant = b.tenant
        where s.phase = 'back'
        group by 1, 2, 3, 4
    ), by_hand as (
        select (
            select min(n.ended_at) from targets n join rollouts later on later.id = n.rollout_id
            where (n.tenant, n.environment) = (t.tenant, t.environment) and later.app = :app
              and n.state = 'verified' and n.ended_at > t.ended_at
        ) - t.ended_at as span
        from targets t
        join (
            select id from rollouts where app = :app and started_at is not null order by created_at desc limit 200
        ) r on r.id = t.rollout_id
        where t.state = 'stuck' and t.memory ->> 'wayBack' <> 'reapply'
        order by t.ended_at desc limit 2000
    ), drilled as (
        select d.ended_at - d.started_at as span from restore_drills d
        join tenant_apps a on (a.tenant, a.environment, a.app) = (d.tenant, d.environment, :app)
        where d.result = 'succeeded' order by d.ended_at desc limit 2000
    ), took as (
        select phase, last - first as span from steps_of
        union all select 'preflight', min(first) - started_at from steps_of group by rollout_id, tenant, started_at
        union all select 'verify', soak_since - last from steps_of where phase = 'apply'
        union all select 'detection', first - started_at from went_back
        union all select 'back', ended_at - first from went_back
        union all select 'restore', span from by_hand
        union all select 'restore', span from drilled
    ), seconds as (
        select phase, greatest(extract(epoch from span), 0) as seconds from took where span is not null
    )
    select phase, percentile_cont(array[0.5, 0.9]) within group (order by seconds) as took, count(*) as samples
    from seconds group by phase
    """
)
_PAST_FAILURES = text(
    """
    select count(*) as targets,
           count(*) filter (
             where t.state in ('rolledBack', 'stuck') and t.code not in ('policy', 'aborted', 'gate-failed', 'superseded')
           ) as failed
    from (select id from rollouts where app = :app and started_at is not null order by created_at desc limit 20) r
    join targets t on t.rollout_id = r.id
    where t.state in ('verified', 'rolledBack', 'stuck')
    group by r.id
    """
)
_GATE_TIMES = text(
    """
    select g.kind, count(*) as stood, count(*) filter (where g.verdict = 'fail') as failed,
           coalesce(percentile_cont(array[0.5, 0.9]) within group (
             order by greatest(extract(epoch from g.since - coalesce(g.asked_since, g.since)), 0)
           ) filter (where g.verdict = 'pass'), array[0, 0]) as took
    from (
      select g.kind, g.verdict, g.since,
             case when g.place = 'before' then coalesce(before.ended_at, r.started_at)
                  when g.place = 'after' then (
                    select max(t.ended_at) from targets t
                    where t.rollout_id = g.rollout_id and t.wave = g.wave and t.state = 'verified'
                  )
                  else w.started_at end as asked_since
      from (select id, started_at from rollouts where app = :app and started_at is not null
            order by created_at desc limit 20) r
      join gates g on g.rollout_id = r.id
      join waves w on w.rollout_id = g.rollout_id and w.wave = g.wave
      left join waves before on before.rollout_id = g.rollout_id and before.wave = g.wave - 1
      where g.since is not null and g.verdict in ('pass', 'fail')
    ) g group by g.kind
    """
)
_TENANTS_ON = text(
    "select cluster, count(*) as tenants from environments where cluster = any(:clusters) group by cluster"
)


class RolloutFactsQueries:
    """See `controlplane.ports.stores.rollouts.RolloutFacts`."""

    session: AsyncSession

    async def release(self, app: str, version: str) -> ReleaseRow | None:
        """A release with its open hold."""
        return (await self.releases(app, [version])).get(version)

    async def releases(self, app: str, versions: Collection[str]) -> dict[str, ReleaseRow]:
        """Several releases of one app, by version."""
        rows = await self._all(_RELEASES, app=app, versions=list(versions))
        return {row["version"]: ReleaseRow(**row) for row in rows}

    async def strategy(self, name: str, version: int | None) -> tuple[int, dict[str, Any]] | None:
        """A strategy's version and spec; None as version asks for the one in force."""
        rows = await self._all(_STRATEGY, name=name, version=version)
        return (rows[0]["version"], rows[0]["spec"]) if rows else None

    async def configs(self, kind: str) -> dict[str, dict[str, Any]]:
        """All specs of a kind that are in force, by name."""
        return {row["name"]: row["spec"] for row in await self._all(_CONFIGS, kind=kind)}

    async def artifact(self, digest: str) -> bytes | None:
        """The bytes of an artifact."""
        rows = await self._all(_ARTIFACT, digest=digest)
        return bytes(rows[0]["content"]) if rows else None

    async def targets(self, app: str, environment: str, tenants: Collection[str] | None) -> list[TargetRow]:
        """Every environment of this name that runs the app or is meant to."""
        named = None if tenants is None else sorted(tenants)
        rows = await self._all(_TARGETS, app=app, environment=environment, tenants=named)
        return [TargetRow(**row) for row in rows]

    async def revisions(self, app: str, environment: str, tenants: Collection[str], newest: int) -> list[PastRevision]:
        """The newest revisions of each tenant's app, from the current one backwards."""
        rows = await self._all(_REVISIONS, app=app, environment=environment, tenants=sorted(tenants), newest=newest)
        return [PastRevision(**row) for row in rows]

    async def contents(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """Content bodies by (tenant, hash)."""
        rows = await self._all(_CONTENTS, tenants=[tenant for tenant, _ in keys], hashes=[hash_ for _, hash_ in keys])
        return {(row["tenant"], row["hash"]): bytes(row["body"]) for row in rows}

    async def other_apps(self, app: str, environment: str, tenants: Collection[str]) -> list[tuple[str, bytes]]:
        """What other apps of these environments run."""
        rows = await self._all(_OTHER_APPS, app=app, environment=environment, tenants=sorted(tenants))
        return [(row["tenant"], bytes(row["body"])) for row in rows]

    async def phase_times(self, app: str) -> list[PhaseTimes]:
        """Percentiles over the newest 2,000 verified, and 2,000 rolled back, targets of the newest 20 rollouts.

        `restore`: of the newest 200 rollouts, because it is rare: from the moment that a target without a plain way back got stuck until
        its tenant was verified again, the people's time included; and the newest 2,000 restore drills that succeeded.
        """
        rows = await self._all(_PHASE_TIMES, app=app)
        return [PhaseTimes(r["phase"], float(r["took"][0]), float(r["took"][1]), r["samples"]) for r in rows]

    async def past_failures(self, app: str) -> PastFailures:
        """Over the targets of the newest 20 rollouts that reached an end of their own."""
        rows = await self._all(_PAST_FAILURES, app=app)
        return PastFailures([(row["targets"], row["failed"]) for row in rows])

    async def gate_times(self, app: str) -> list[GateTimes]:
        """Over the gates of the newest 20 rollouts that said something final."""
        rows = await self._all(_GATE_TIMES, app=app)
        return [GateTimes(r["kind"], r["stood"], r["failed"], float(r["took"][0]), float(r["took"][1])) for r in rows]

    async def tenants_on(self, clusters: Collection[str]) -> dict[str, int]:
        """How many environments each cluster has."""
        rows = await self._all(_TENANTS_ON, clusters=sorted(clusters))
        return {row["cluster"]: row["tenants"] for row in rows}

    async def _all(self, statement: Any, **values: Any) -> Sequence[dict[str, Any]]:
        return [dict(row) for row in (await self.session.execute(statement, values)).mappings()]
