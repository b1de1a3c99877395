"""Verdicts of gates, and the votes of people."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.engine import Decision
from controlplane.domain.gating import GateKey, GateNow, Verdict
from controlplane.ports.gates import Vote

from .database import Database
from .json_text import as_json

_WRITE = text(
    """
    insert into gates (rollout_id, wave, place, idx, kind, verdict, reason, who, since, until, evidence)
    values (:id, :wave, :place, :idx, :kind, :verdict, :reason, :who, :since, :until, cast(:evidence as jsonb))
    on conflict (rollout_id, wave, place, idx) do update set verdict = excluded.verdict, reason = excluded.reason, who = excluded.who,
      since = excluded.since, until = excluded.until, evidence = excluded.evidence
    """
)
_READ = text("select wave, place, idx, verdict, reason, who, since, until from gates where rollout_id = :id")
_VOTES = text(
    """
    select person, approver_group, plan_hash, at, reason from approvals
    where rollout_id = :id and wave = :wave and place = :place and idx = :idx and withdrawn_at is null order by at
    """
)


class PostgresVotes:
    """See `controlplane.ports.gates.Votes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def votes(self, rollout_id: uuid.UUID, key: GateKey) -> Sequence[Vote]:
        """Votes that were not withdrawn, oldest first."""
        values = {"id": rollout_id, "wave": key.wave, "place": key.place, "idx": key.index}
        async with self._database.engine() as uow:
            rows = (await uow.session.execute(_VOTES, values)).all()
        return [Vote(row.person, row.approver_group, row.plan_hash, row.at, row.reason) for row in rows]


async def write_gates(session: AsyncSession, rollout_id: uuid.UUID, decision: Decision) -> None:
    """Write what gates said, with the evidence."""
    for gate, change in decision.gates:
        values = {
            "id": rollout_id,
            "wave": gate.key.wave,
            "place": gate.key.place,
            "idx": gate.key.index,
            "kind": gate.kind,
        }
        said = {
            "verdict": str(gate.verdict),
            "reason": gate.reason,
            "who": gate.who,
            "since": gate.since,
            "until": gate.until,
        }
        await session.execute(_WRITE, values | said | {"evidence": as_json(dict(change.evidence))})


async def read_gates(
    session: AsyncSession, rollout_id: uuid.UUID, gates: dict[GateKey, GateNow]
) -> dict[GateKey, GateNow]:
    """The gates of a plan with what they said before a takeover."""
    known = dict(gates)
    for row in await session.execute(_READ, {"id": rollout_id}):
        key = GateKey(row.wave, row.place, row.idx)
        said = {"reason": row.reason, "who": row.who, "since": row.since, "until": row.until}
        known[key] = replace(known[key], verdict=Verdict(row.verdict), **said)
    return known
