"""Votes on blame in PostgreSQL: see `controlplane.ports.stores.blames`."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.blame import Signal, Touch
from controlplane.domain.blame_acts import Accused, Pair
from controlplane.domain.outcomes import NOT_ITS_FAULT
from controlplane.ports.stores.blames import BlameRecord, SettledRow

from .json_text import as_json

_STARTED = "dev.seawall.rollout.target-started.v1"
WHAT = "concat_ws(' ', r.kind, 'of', r.app, nullif(r.release_version, ''), '(' || right(cast(r.id as text), 8) || ')')"
"""How a rollout is named to people; of a query with `rollouts r`."""
# A rollout is found by the index of tenants, then read whole by its key. A cluster's or tier's change reaches who is on it today.
_TOUCHES = text(
    f"""
    with mine as (
        select 'rollout/' || r.id as change, {WHAT} as what, cast(r.id as text) as subject_id from rollouts r
        where r.id in (
            select cast(h.subject_id as uuid) from history h
            where h.tenant = any(:tenants) and h.at between :since and :until and h.subject_kind = 'rollout' and h.type = '{_STARTED}')
    ), places as (
        select e.tenant, e.cluster, t.tier from environments e join tenants t using (tenant) where e.tenant = any(:tenants)
    )
    select change, what, tenant, at from (
        select mine.change, mine.what, h.tenant, h.at
        from mine join history h on h.subject_kind = 'rollout' and h.subject_id = mine.subject_id
        where h.type = '{_STARTED}' and h.at between :since and :until
        union all
        select 'tenant/' || h.subject_id || '@' || h.seq, 'change of tenant ' || h.subject_id, h.tenant, h.at
        from history h
        where h.tenant = any(:tenants) and h.subject_kind = 'tenant' and h.at between :since and :until
          and h.type in ('dev.seawall.tenant.changed.v1', 'dev.seawall.tenant.driftRepaired.v1')
        union all
        select 'cluster/' || h.subject_id || '@' || h.seq, 'change of cluster ' || h.subject_id, e.tenant, h.at
        from history h join environments e on e.cluster = h.subject_id
        where h.subject_kind = 'cluster' and h.subject_id in (select cluster from places) and h.at between :since and :until
          and h.type = 'dev.seawall.cluster.changed.v1'
        union all
        select 'tier/' || h.subject_id || '@' || h.seq, 'change of tier ' || h.subject_id, t.tenant, h.at
        from history h join tenants t on t.tier = h.subject_id
        where h.subject_kind = 'tier' and h.subject_id in (select tier from places) and h.at between :since and :until
          and h.type = 'dev.seawall.tier.changed.v1'
        union all
        select 'upgrade/' || h.subject_id || '@' || h.seq, 'upgrade of cluster ' || h.subject_id, e.tenant, h.at
        from history h join environments e on e.cluster = h.subject_id
        where h.subject_kind = 'upgrade' and h.subject_id in (select cluster from places) and h.at between :since and :until
          and h.type = 'dev.seawall.upgrade.began.v1'
    ) touched
    order by at desc limit :most
    """  # noqa: S608 -- constants
)
_SETTLED = text(
    """
    select distinct e.tenant, e.health from rollouts r
    join targets t on t.rollout_id = r.id and t.state = 'verified'
    join environments e on e.tenant = t.tenant and e.environment = t.environment
    where r.state in ('running', 'paused') and r.kind <> 'rollback' and e.slot_id is null
    """
)
_TURN = text("select pg_try_advisory_xact_lock(hashtextextended('seawall.upgrades', 0))")
_UPGRADING = text(
    """
    select subject_id from (
        select distinct on (subject_id) subject_id, type from history
        where subject_kind = 'upgrade' and subject_id = any(:clusters) order by subject_id, seq desc
    ) newest where type = 'dev.seawall.upgrade.began.v1'
    """
)
_SIGNALS = text(
    """
    select h.tenant, h.at from history h
    where h.tenant = any(:tenants) and h.subject_kind = 'rollout' and h.at between :since and :until
      and h.type in ('dev.seawall.rollout.target-failed.v1', 'dev.seawall.rollout.target-disturbed.v1',
                     'dev.seawall.rollout.target-rolling-back.v1')
      and coalesce(h.data ->> 'code', '') <> all(:others)
    order by h.at desc, h.tenant limit :most
    """
)
_ACCUSED = text(
    """
    select cast(id as text) as id, kind, state, outcome, coalesce(plan -> 'emergency', 'null') <> 'null' as emergency,
           coalesce(plan ->> 'blame', 'stop') as policy, ended_at
    from rollouts where id = :id
    """
)
_RESTED_ON = text("select rests_on from blame_verdicts where blamed = cast(:blamed as jsonb) and act = 'stopped'")
_ADD = text(
    """
    insert into blame_verdicts (id, at, asker, verdict, blamed, rollouts, reason, act, why, rests_on, votes, digest)
    values (:id, :at, :asker, :verdict, cast(:blamed as jsonb), cast(:rollouts as jsonb), :reason, :act, :why,
            cast(:rests_on as jsonb), cast(:votes as jsonb), :digest)
    on conflict (digest) do nothing returning id
    """
)
_COLUMNS = "id, at, asker, verdict, blamed, rollouts, reason, act, why, rests_on, votes, digest"
_OF_ROLLOUT = text(
    f"select {_COLUMNS} from blame_verdicts where rollouts ? :rollout order by at desc, id desc limit :limit"  # noqa: S608
)


class PostgresBlames:
    """See `controlplane.ports.stores.blames.BlameStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def touches(self, tenants: Collection[str], since: datetime, until: datetime, most: int) -> Sequence[Touch]:
        """Which changes reached them, and whom else."""
        values = {"tenants": sorted(tenants), "since": since, "until": until, "most": most}
        return [Touch(*row) for row in await self._session.execute(_TOUCHES, values)]

    async def signals(self, tenants: Collection[str], since: datetime, until: datetime, most: int) -> Sequence[Signal]:
        """When they fell ill."""
        values = {"tenants": sorted(tenants), "since": since, "until": until, "most": most}
        rows = await self._session.execute(_SIGNALS, {**values, "others": sorted(NOT_ITS_FAULT)})
        return [Signal(*row) for row in rows]

    async def settled(self) -> Sequence[SettledRow]:
        """Changed by what still runs, and left alone now."""
        return [SettledRow(*row) for row in await self._session.execute(_SETTLED)]

    async def turn_to_note(self) -> bool:
        """Take turns."""
        return bool((await self._session.execute(_TURN)).scalar_one())

    async def upgrading(self, clusters: Collection[str]) -> frozenset[str]:
        """Clusters whose newest note says that an upgrade began."""
        rows = await self._session.execute(_UPGRADING, {"clusters": sorted(clusters)})
        return frozenset(rows.scalars())

    async def accused(self, rollout: uuid.UUID) -> Accused | None:
        """A rollout's standing."""
        row = (await self._session.execute(_ACCUSED, {"id": rollout})).mappings().one_or_none()
        return None if row is None else Accused(**row)

    async def rested_on(self, change: str) -> Sequence[Sequence[Pair]]:
        """What earlier stops rested on."""
        rows = (await self._session.execute(_RESTED_ON, {"blamed": as_json([change])})).scalars()
        return [_pairs(row) for row in rows]

    async def add(self, record: BlameRecord) -> bool:
        """Keep a verdict once."""
        plain = {
            name: getattr(record, name) for name in ("id", "at", "asker", "verdict", "reason", "act", "why", "digest")
        }
        lists = {name: as_json(list(getattr(record, name))) for name in ("blamed", "rollouts", "rests_on", "votes")}
        return (await self._session.execute(_ADD, plain | lists)).scalar_one_or_none() is not None

    async def of_rollout(self, rollout: uuid.UUID, limit: int) -> Sequence[BlameRecord]:
        """Verdicts that concern a rollout."""
        rows = await self._session.execute(_OF_ROLLOUT, {"rollout": str(rollout), "limit": limit})
        return [_record(row) for row in rows]


def _record(row: Any) -> BlameRecord:
    lists = {"blamed": tuple(row.blamed), "rollouts": tuple(row.rollouts), "rests_on": _pairs(row.rests_on)}
    return BlameRecord(**{**row._mapping, **lists})  # noqa: SLF001 -- SQLAlchemy's public name


def _pairs(rows: Sequence[Sequence[str]]) -> tuple[Pair, ...]:
    return tuple((str(tenant), str(at)) for tenant, at in rows)
