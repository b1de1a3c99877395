"""Figures over many rollouts: see `controlplane.ports.stores.outcomes`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.blame import Signal, Touch
from controlplane.domain.event_catalogue import TYPE_PREFIX
from controlplane.domain.outcomes import NOT_ITS_FAULT, READ, GateOutcome, Restorable, TargetEvent
from controlplane.ports.stores.outcomes import UntouchedRow

_EVENTS = text(
    """
    select h.subject_id as rollout, h.tenant, h.at, h.type, coalesce(h.data ->> 'code', '') as code, r.app, t.tier,
           coalesce(t.labels ->> 'brand', '') as brand, case when r.kind = 'deploy' then v.created_at end as registered,
           case when r.kind = 'deploy' then v.spec -> 'modules' end as modules
    from history h
    join rollouts r on cast(r.id as text) = h.subject_id
    join tenants t on t.tenant = h.tenant
    left join releases v on (v.app, v.version) = (r.app, r.release_version)
    where h.subject_kind = 'rollout' and h.at >= :since and h.type = any(:types) and r.kind <> 'rollback'
    order by h.subject_id, h.seq
    """
)
_UNTOUCHED = text(
    """
    select cast(r.id as text) as rollout, g.tenant, r.app, t.tier, coalesce(t.labels ->> 'brand', '') as brand, t.exposure,
           case when r.kind = 'deploy' then v.spec -> 'modules' end as modules
    from rollouts r join targets g on g.rollout_id = r.id join tenants t on t.tenant = g.tenant
    left join releases v on (v.app, v.version) = (r.app, r.release_version)
    where r.started_at >= :since and r.state = 'failed' and r.kind <> 'rollback' and g.started_at is null
    order by r.id, g.tenant
    """
)
_GATES = text(
    """
    select cast(g.rollout_id as text) as rollout, g.kind, bool_or(g.verdict = 'fail') as stopped
    from gates g join rollouts r on r.id = g.rollout_id
    where r.started_at >= :since and r.kind <> 'rollback' and g.verdict in ('pass', 'fail')
    group by g.rollout_id, g.kind
    """
)
_ACTS = text(
    """
    select cast(r.id as text) as rollout, count(a.subject) as acts
    from rollouts r left join audit a on a.subject = 'rollouts/' || r.id
         and a.at >= :since and a.actor not like 'trigger:%' and a.actor not like 'seawall%'
    where r.started_at >= :since and r.kind <> 'rollback'
    group by r.id
    """
)
_RESTORABLE = text(
    """
    select t.tenant, t.tier, coalesce(t.labels ->> 'brand', '') as brand,
           array(select a.app from tenant_apps a where (a.tenant, a.environment) = (t.tenant, 'production') order by a.app) as apps,
           exists (select 1 from restore_drills d where (d.tenant, d.environment, d.result) = (t.tenant, 'production', 'succeeded')
                   and d.ended_at >= :since) as drilled
    from tenants t where t.phase in ('active', 'suspended') order by t.tenant
    """
)
_TOUCHES = text(
    """
    select change, what, tenant, at from (
        select 'rollout/' || h.subject_id as change,
               concat_ws(' ', r.kind, 'of', r.app, nullif(r.release_version, ''), '(' || right(h.subject_id, 8) || ')') as what,
               h.tenant, h.at
        from history h join rollouts r on cast(r.id as text) = h.subject_id
        where h.subject_kind = 'rollout' and h.type = 'dev.seawall.rollout.target-started.v1' and h.at between :since and :until
        union all
        select 'tenant/' || h.subject_id || '@' || h.seq, 'change of tenant ' || h.subject_id, h.tenant, h.at
        from history h
        where h.subject_kind = 'tenant' and h.tenant is not null and h.at between :since and :until
          and h.type in ('dev.seawall.tenant.changed.v1', 'dev.seawall.tenant.driftRepaired.v1')
        union all
        select 'cluster/' || h.subject_id || '@' || h.seq, 'change of cluster ' || h.subject_id, e.tenant, h.at
        from history h join environments e on e.cluster = h.subject_id
        where h.subject_kind = 'cluster' and h.type = 'dev.seawall.cluster.changed.v1' and h.at between :since and :until
        union all
        select 'tier/' || h.subject_id || '@' || h.seq, 'change of tier ' || h.subject_id, t.tenant, h.at
        from history h join tenants t on t.tier = h.subject_id
        where h.subject_kind = 'tier' and h.type = 'dev.seawall.tier.changed.v1' and h.at between :since and :until
        union all
        select 'upgrade/' || h.subject_id || '@' || h.seq, 'upgrade of cluster ' || h.subject_id, e.tenant, h.at
        from history h join environments e on e.cluster = h.subject_id
        where h.subject_kind = 'upgrade' and h.type = 'dev.seawall.upgrade.began.v1' and h.at between :since and :until
    ) touched
    order by at desc, change, tenant limit :most
    """
)
_SIGNALS = text(
    """
    select h.tenant, h.at from history h
    where h.subject_kind = 'rollout' and h.tenant is not null and h.at between :since and :until
      and h.type in ('dev.seawall.rollout.target-failed.v1', 'dev.seawall.rollout.target-disturbed.v1',
                     'dev.seawall.rollout.target-rolling-back.v1')
      and coalesce(h.data ->> 'code', '') <> all(:others)
    order by h.at desc, h.tenant limit :most
    """
)
_REACHED = text(
    """
    select distinct tenant from history
    where subject_kind = 'rollout' and subject_id = :rollout and type = 'dev.seawall.rollout.target-started.v1'
    order by tenant
    """
)


class PostgresOutcomes:
    """See `controlplane.ports.stores.outcomes.OutcomeStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def target_events(self, since: datetime) -> Sequence[TargetEvent]:
        """Changes of targets."""
        types = {f"{TYPE_PREFIX}rollout.{change}.v1": change for change in READ}
        rows = await self._session.execute(_EVENTS, {"since": since, "types": list(types)})
        return [
            TargetEvent(
                r.rollout,
                r.tenant,
                r.at,
                types[r.type],
                r.code,
                r.app,
                r.tier,
                r.brand,
                r.registered,
                tuple(r.modules or ()),
            )
            for r in rows
        ]

    async def untouched(self, since: datetime) -> Sequence[UntouchedRow]:
        """Targets never started."""
        rows = await self._session.execute(_UNTOUCHED, {"since": since})
        return [
            UntouchedRow(r.rollout, r.tenant, r.app, r.tier, r.brand, r.exposure, tuple(r.modules or ())) for r in rows
        ]

    async def gates(self, since: datetime) -> Sequence[GateOutcome]:
        """Gates' last words."""
        return [GateOutcome(*row) for row in await self._session.execute(_GATES, {"since": since})]

    async def acts(self, since: datetime) -> Mapping[str, int]:
        """Rollouts and acts."""
        rows = await self._session.execute(_ACTS, {"since": since})
        return {r.rollout: r.acts for r in rows}

    async def restorable(self, since: datetime) -> Sequence[Restorable]:
        """Tenants and their drills."""
        rows = await self._session.execute(_RESTORABLE, {"since": since})
        return [Restorable(r.tenant, r.tier, r.brand, tuple(r.apps), r.drilled) for r in rows]

    async def touches(self, since: datetime, until: datetime, most: int) -> Sequence[Touch]:
        """Which changes reached which tenants."""
        return [Touch(*row) for row in await self._session.execute(_TOUCHES, _span(since, until, most))]

    async def signals(self, since: datetime, until: datetime, most: int) -> Sequence[Signal]:
        """Which tenants fell ill."""
        values = {**_span(since, until, most), "others": sorted(NOT_ITS_FAULT)}
        return [Signal(*row) for row in await self._session.execute(_SIGNALS, values)]

    async def reached(self, rollout: uuid.UUID) -> Sequence[str]:
        """Tenants it started on."""
        return (await self._session.execute(_REACHED, {"rollout": str(rollout)})).scalars().all()


def _span(since: datetime, until: datetime, most: int) -> dict[str, object]:
    return {"since": since, "until": until, "most": most}
