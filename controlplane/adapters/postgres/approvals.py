"""Votes on PostgreSQL: see `controlplane.ports.stores.approvals`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.approvals import GateHead, GateState, VoteRow

from .json_text import as_json

_HEAD = text(
    """
    select r.kind, r.state, r.plan, r.plan_hash, r.requested_by, r.app, r.release_version, r.environment, r.change_ref,
      l.spec -> 'provenance' -> 'authors' as authors, l.on_behalf_of
    from rollouts r left join releases l on l.app = r.app and l.version = r.release_version where r.id = :id
    """
)
_CHANGED_VALUES = text(
    """
    select distinct a.actor from audit a
    join targets t on t.rollout_id = :id and t.tenant = a.tenant
    left join revisions v
      on (v.tenant, v.environment, v.app, v.revision) = (t.tenant, t.environment, cast(:app as text), t.base_revision)
    where a.action = 'values.change' and a.detail ->> 'app' = :app and a.detail ->> 'environment' = t.environment
      and a.at > coalesce(v.created_at, '-infinity')
    """
)
_STATES = text(
    "select wave, place, idx, verdict, reason, coalesce((evidence ->> 'asked')::boolean, true) as asked"
    " from gates where rollout_id = :id and kind = 'approval'"
)
_BEHIND = text("select created_by from api_keys where :actor = 'key:' || id::text")
_ADD = text(
    """
    insert into votes (id, rollout_id, word, withdraws, app, release_version, environment, change_ref, plan_hash, wave, wave_name, place,
      idx, approver_group, person, names, actor, reason)
    values (:id, :rollout, :word, :of, :app, :version, :environment, :change_ref, :hash, :wave, :wave_name, :place, :idx, :group, :person,
      cast(:names as jsonb), :actor, :reason)
    """
)
_VOTES = """
    select v.*, w.at as withdrawn_at from votes v left join votes w on w.withdraws = v.id where v.word <> 'withdraw'
"""
_ALL = text(f"{_VOTES} and v.rollout_id = :id order by v.at, v.id")
_OF_ACTOR = text(
    f"""
    {_VOTES} and v.actor = :actor and w.id is null and exists (
      select 1 from rollouts r where r.id = v.rollout_id and r.state not in ('succeeded','failed','aborted'))
    order by v.rollout_id, v.id
    """  # noqa: S608 -- a constant
)


class PostgresApprovals:
    """Votes of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def head(self, rollout_id: uuid.UUID) -> GateHead | None:
        """The rollout as far as a vote needs it."""
        row = (await self._session.execute(_HEAD, {"id": rollout_id})).one_or_none()
        if row is None:
            return None
        requester = await self.person_behind(row.requested_by)
        authors = (*(row.authors or ()), *((row.on_behalf_of,) if row.on_behalf_of else ()))
        if row.kind == "values":
            # What goes out are changed values: whoever changed them since what runs now is their author.
            changed = await self._session.execute(_CHANGED_VALUES, {"id": rollout_id, "app": row.app})
            authors = tuple([await self.person_behind(actor) for actor in changed.scalars()])
        release = (row.app, row.release_version, row.environment, row.change_ref)
        return GateHead(row.state, row.plan, row.plan_hash, requester, authors, *release)

    async def states(self, rollout_id: uuid.UUID) -> dict[tuple[int, str, int], GateState]:
        """What approval gates last said."""
        rows = await self._session.execute(_STATES, {"id": rollout_id})
        return {(r.wave, r.place, r.idx): GateState(r.verdict, r.reason, r.asked) for r in rows}

    async def person_behind(self, actor: str) -> str:
        """Follow keys to who made them (keys made by keys, too)."""
        seen: set[str] = set()
        while actor not in seen:
            seen.add(actor)
            actor = (await self._session.execute(_BEHIND, {"actor": actor})).scalar_one_or_none() or actor
        return actor

    async def add(self, vote: VoteRow) -> None:
        """Write a line."""
        gate = {"wave": vote.wave, "wave_name": vote.wave_name, "place": vote.place, "idx": vote.index}
        what = {
            "app": vote.app,
            "version": vote.version,
            "environment": vote.environment,
            "change_ref": vote.change_ref,
        }
        who = {"group": vote.group, "person": vote.person, "names": as_json(list(vote.names)), "actor": vote.actor}
        said = {"word": vote.word, "of": vote.of, "hash": vote.plan_hash, "reason": vote.reason}
        await self._session.execute(_ADD, {"id": vote.id, "rollout": vote.rollout_id, **gate, **what, **who, **said})

    async def all(self, rollout_id: uuid.UUID) -> Sequence[VoteRow]:
        """Every vote."""
        return [_vote(row) for row in await self._session.execute(_ALL, {"id": rollout_id})]

    async def of_actor(self, actor: str) -> Sequence[VoteRow]:
        """Votes in force said with a key."""
        return [_vote(row) for row in await self._session.execute(_OF_ACTOR, {"actor": actor})]


def _vote(row: Any) -> VoteRow:
    return VoteRow(
        id=row.id,
        rollout_id=row.rollout_id,
        word=row.word,
        of=row.withdraws,
        app=row.app,
        version=row.release_version,
        environment=row.environment,
        change_ref=row.change_ref,
        plan_hash=row.plan_hash,
        wave=row.wave,
        wave_name=row.wave_name,
        place=row.place,
        index=row.idx,
        group=row.approver_group,
        person=row.person,
        names=tuple(row.names),
        actor=row.actor,
        reason=row.reason,
        at=row.at,
        withdrawn_at=row.withdrawn_at,
    )
