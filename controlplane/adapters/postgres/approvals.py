"""Votes on PostgreSQL: see `controlplane.ports.stores.approvals`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.approvals import GateHead, NewVote, VoteRow

_HEAD = text(
    """
    select r.state, r.plan, r.plan_hash, r.requested_by,
      (select l.spec->'provenance'->'authors' from releases l where l.app = r.app and l.version = r.release_version) as authors
    from rollouts r where r.id = :id for share of r
    """
)
_BEHIND = text("select created_by from api_keys where :actor = 'key:' || id::text")
_ADD = text(
    """
    insert into approvals (id, rollout_id, wave, place, idx, approver_group, person, plan_hash, reason)
    values (:id, :rollout, :wave, :place, :idx, :group, :person, :hash, :reason)
    on conflict (rollout_id, wave, place, idx, person) where withdrawn_at is null do nothing
    """
)
_WITHDRAW = text(
    """
    update approvals set withdrawn_at = now()
    where rollout_id = :rollout and id = :id and person = :person and withdrawn_at is null
    """
)
_ALL = text("select * from approvals where rollout_id = :id order by at, id")


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
        return GateHead(row.state, row.plan, row.plan_hash, requester, tuple(row.authors or ()))

    async def person_behind(self, actor: str) -> str:
        """Follow keys to who made them (keys made by keys, too)."""
        seen: set[str] = set()
        while actor not in seen:
            seen.add(actor)
            actor = (await self._session.execute(_BEHIND, {"actor": actor})).scalar_one_or_none() or actor
        return actor

    async def add(self, vote: NewVote) -> bool:
        """Write a vote, once per person and gate."""
        values = {"id": vote.id, "rollout": vote.rollout_id, "wave": vote.wave, "place": vote.place, "idx": vote.index}
        said = {"group": vote.group, "person": vote.person, "hash": vote.plan_hash, "reason": vote.reason}
        result = await self._session.execute(_ADD, values | said)
        return bool(result.rowcount)  # type: ignore[attr-defined]  # a cursor result, which the annotation does not say

    async def withdraw(self, rollout_id: uuid.UUID, vote_id: uuid.UUID, person: str) -> bool:
        """Withdraw a vote."""
        result = await self._session.execute(_WITHDRAW, {"rollout": rollout_id, "id": vote_id, "person": person})
        return bool(result.rowcount)  # type: ignore[attr-defined]  # as above

    async def all(self, rollout_id: uuid.UUID) -> Sequence[VoteRow]:
        """Every vote."""
        rows = await self._session.execute(_ALL, {"id": rollout_id})
        return [
            VoteRow(
                r.id, r.wave, r.place, r.idx, r.approver_group, r.person, r.plan_hash, r.reason, r.at, r.withdrawn_at
            )
            for r in rows
        ]
