"""Reads of rollouts for users: one statement each; none touches the plan unless it is asked for."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.rollout_rows import EventRow, LeftOver, RolloutHead, TargetCount, TargetView

_HEAD_COLUMNS = """
    r.id, r.kind, r.app, r.release_version as version, r.environment, r.selector, r.strategy, r.strategy_version, r.state,
    r.outcome, r.plan_hash, r.reason, r.change_ref, r.not_before, r.requested_by, r.origin, r.waiting_for, r.memory, r.created_at,
    r.started_at, r.ended_at, r.event_seq
"""
_HEAD = text(
    f"""
    select {_HEAD_COLUMNS}, l.command_seq, w.waves, c.commands, g.gates,
      case when k.fresh then k.kept end as kept,
      case when not k.fresh then (
        select jsonb_agg(to_jsonb(s)) from (
            select wave, state, code, count(*) as number, any_value(reason) as reason, any_value(tenant) as tenant,
                   min(cast(memory -> 'driver' ->> 'waits_until' as timestamptz)) as until
            from targets where rollout_id = r.id group by wave, state, code order by wave, state, code
        ) s
      ) end as counts
    from rollouts r
    join leases l on l.subject_kind = 'rollout' and l.subject_id = r.id
    cross join lateral (
        select jsonb_agg(jsonb_build_object('wave', wave, 'name', name, 'state', state, 'startedAt', started_at,
            'endedAt', ended_at, 'detail', detail) order by wave) as waves
        from waves where rollout_id = r.id
    ) w
    cross join lateral (
        select jsonb_agg(jsonb_build_object('seq', seq, 'command', command, 'actor', actor, 'at', created_at) order by seq)
            as commands
        from commands where subject_kind = 'rollout' and subject_id = r.id and applied_at is null
    ) c
    cross join lateral (
        select coalesce(bool_and(counts is not null and (counts ->> 'epoch')::bigint = l.epoch), false) as fresh,
          jsonb_agg(jsonb_build_array(wave, counts -> 'groups') order by wave) as kept
        from waves where rollout_id = r.id
    ) k
    cross join lateral (
        select jsonb_agg(jsonb_build_object('wave', w.name, 'place', g.place, 'kind', g.kind, 'verdict', g.verdict,
            'reason', g.reason, 'who', g.who, 'until', g.until) order by g.wave, g.place, g.idx) as gates
        from gates g join waves w on (w.rollout_id, w.wave) = (g.rollout_id, g.wave)
        where g.rollout_id = r.id and g.verdict in ('wait', 'unknown')
          and (w.state, g.place) in (('gating', 'before'), ('running', 'during'), ('judging', 'during'), ('judging', 'after'))
    ) g
    where r.id = :id
    """  # noqa: S608 - the columns are a constant of this file
)
_HEADS = text(
    f"""
    select {_HEAD_COLUMNS} from rollouts r
    where (cast(:states as text[]) is null or r.state = any(cast(:states as text[])))
      and (cast(:apps as text[]) is null or r.app = any(cast(:apps as text[])))
      and (cast(:tenant as text) is null or exists (
            select 1 from targets t where t.rollout_id = r.id and t.tenant = :tenant))
      and (cast(:before as uuid) is null or r.id < :before)
    order by r.id desc limit :limit
    """  # noqa: S608 - the columns are a constant of this file
)
_APP = text("select app from rollouts where id = :id")
_PLAN = text("select plan from rollouts where id = :id")
_TARGETS = text(
    """
    select t.tenant, t.environment, t.wave, w.name as wave_name, t.position, t.state, t.code, t.reason,
           t.release_version as release, coalesce(t.memory ->> 'content', '') as content,
           coalesce(t.memory ->> 'wayBack', '') as way_back, coalesce(cast(t.memory ->> 'backTo' as integer), 0) as back_to,
           t.base_revision, t.revision, t.attempt, t.since, t.started_at, t.ended_at
    from targets t join waves w on (w.rollout_id, w.wave) = (t.rollout_id, t.wave)
    where t.rollout_id = :id and (cast(:states as text[]) is null or t.state = any(cast(:states as text[])))
      and (cast(:code as text) is null or t.code = :code)
      and (cast(:wave as text) is null or w.name = :wave) and (cast(:tenant as text) is null or t.tenant = :tenant)
      and (cast(:after_wave as bigint) is null or (t.wave, t.position) > (:after_wave, :after_position))
    order by t.wave, t.position limit :limit
    """
)
_LEFT_OVER = text(
    """
    select tenant, memory ->> 'content' as content, release_version as release, values_hash, attempt from targets
    where rollout_id = :id and state <> 'verified'
      and (cast(:tenants as text[]) is null or tenant = any(cast(:tenants as text[])))
    order by wave, position
    """
)
_EVENTS = text(
    """
    select seq, type, tenant, at, data from history
    where subject_kind = 'rollout' and subject_id = :id and seq > :after order by seq limit :limit
    """
)
_RANGE = text(
    """
    select coalesce(min(h.seq), 0) as first, coalesce(max(h.seq), 0) as last,
           (select state in ('succeeded','failed','aborted') from rollouts where id = :id) as over
    from history h where h.subject_kind = 'rollout' and h.subject_id = cast(cast(:id as uuid) as text)
    """
)
_PREVIEW = text("select body from previews where id = :id and expires_at > now()")
_SEEN = text(
    "select body from previews where plan_hash = :hash and expires_at > now() order by expires_at desc limit 1"
)


class RolloutReadQueries:
    """See `controlplane.ports.stores.rollouts.RolloutReads`."""

    session: AsyncSession

    async def head(self, rollout_id: uuid.UUID) -> RolloutHead | None:
        """One rollout with its waves and counts, without its plan."""
        row = (await self.session.execute(_HEAD, {"id": rollout_id})).mappings().one_or_none()
        return None if row is None else _head(dict(row))

    async def heads(
        self,
        *,
        states: Collection[str],
        apps: Collection[str] | None,
        tenant: str | None,
        before: uuid.UUID | None,
        limit: int,
    ) -> list[RolloutHead]:
        """Rollouts, newest first, without waves and counts."""
        values = {
            "states": sorted(states) or None,
            "apps": None if apps is None else sorted(apps),
            "tenant": tenant,
            "before": before,
            "limit": limit,
        }
        return [_head(dict(row)) for row in (await self.session.execute(_HEADS, values)).mappings()]

    async def app(self, rollout_id: uuid.UUID) -> str | None:
        """The app of a rollout."""
        app: str | None = (await self.session.execute(_APP, {"id": rollout_id})).scalar_one_or_none()
        return app

    async def plan(self, rollout_id: uuid.UUID) -> dict[str, Any] | None:
        """The frozen plan."""
        found: dict[str, Any] | None = (await self.session.execute(_PLAN, {"id": rollout_id})).scalar_one_or_none()
        return found

    async def target_views(
        self,
        rollout_id: uuid.UUID,
        *,
        states: Collection[str],
        wave: str | None,
        tenant: str | None,
        code: str | None = None,
        after: tuple[int, int] | None,
        limit: int,
    ) -> list[TargetView]:
        """Targets in the order of the plan."""
        place = {"after_wave": after[0] if after else None, "after_position": after[1] if after else None}
        which = {"states": sorted(states) or None, "wave": wave, "tenant": tenant, "code": code}
        values = {"id": rollout_id, **which, "limit": limit}
        rows = (await self.session.execute(_TARGETS, {**values, **place})).mappings()
        return [TargetView(**row) for row in rows]

    async def events(self, rollout_id: uuid.UUID, after: int, limit: int) -> list[EventRow]:
        """History after a number, oldest first."""
        values = {"id": str(rollout_id), "after": after, "limit": limit}
        return [EventRow(**row) for row in (await self.session.execute(_EVENTS, values)).mappings()]

    async def left_over(self, rollout_id: uuid.UUID, tenants: Collection[str] | None) -> list[LeftOver]:
        """Targets that ended without being verified."""
        values = {"id": rollout_id, "tenants": None if tenants is None else sorted(tenants)}
        return [LeftOver(**row) for row in (await self.session.execute(_LEFT_OVER, values)).mappings()]

    async def event_range(self, rollout_id: uuid.UUID) -> tuple[int, int, bool]:
        """Smallest and largest number kept, and whether the rollout is over."""
        row = (await self.session.execute(_RANGE, {"id": rollout_id})).one()
        return row.first, row.last, bool(row.over)

    async def preview(self, id_: uuid.UUID) -> bytes | None:
        """A kept preview, unless it ran out."""
        body = (await self.session.execute(_PREVIEW, {"id": id_})).scalar_one_or_none()
        return None if body is None else bytes(body)

    async def preview_by_hash(self, plan_hash: str) -> bytes | None:
        """The newest kept preview with this plan hash."""
        body = (await self.session.execute(_SEEN, {"hash": plan_hash})).scalar_one_or_none()
        return None if body is None else bytes(body)


def _head(row: Mapping[str, Any]) -> RolloutHead:
    """Build a head from a row; a list's rows have no waves, counts and commands."""
    found: dict[str, Any] = {"waves": None, "commands": None, "counts": None, "gates": None, "command_seq": 0, **row}
    waves, commands, gates = found.pop("waves") or [], found.pop("commands") or [], found.pop("gates") or []
    counts = [_count(one) for one in found.pop("counts") or []] or _kept(found.pop("kept", None))
    found.pop("kept", None)
    return RolloutHead(**found, waves=waves, pending_commands=commands, counts=counts, gates=gates)


def _count(one: Mapping[str, Any]) -> TargetCount:
    """A group of targets as JSON gives it."""
    until = one.get("until")
    return TargetCount(**{**one, "until": datetime.fromisoformat(until) if until else None})


def _kept(waves: list[tuple[int, list[tuple[str, str, int, str, str, str | None]]]] | None) -> list[TargetCount]:
    """The counts that the rollout's driver keeps with its waves."""
    names = ("state", "code", "number", "tenant", "reason", "until")
    return [
        _count({"wave": wave, **dict(zip(names, group, strict=True))})
        for wave, groups in waves or []
        for group in groups
    ]
