"""Verdicts of gates, and the votes of people."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.engine import Decision, Memory
from controlplane.domain.gating import GateJudged, GateKey, GateNow, Verdict, gates_of_target
from controlplane.ports.gates import Vote

from .batch import Batch
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
_WRITE_EACH = text(
    """
    insert into target_gates (rollout_id, tenant, idx, kind, verdict, reason, who, since, until, evidence)
    select :id, x.tenant, x.idx, x.kind, x.verdict, x.reason, x.who, x.since, x.until, cast(x.evidence as jsonb)
    from unnest(cast(:tenants as text[]), cast(:indexes as int[]), cast(:kinds as text[]), cast(:verdicts as text[]), cast(:reasons as text[]),
                cast(:whos as text[]), cast(:since as timestamptz[]), cast(:until as timestamptz[]), cast(:evidences as text[]))
      as x(tenant, idx, kind, verdict, reason, who, since, until, evidence)
    on conflict (rollout_id, tenant, idx) do update set verdict = excluded.verdict, reason = excluded.reason, who = excluded.who,
      since = excluded.since, until = excluded.until, evidence = excluded.evidence
    """
)
# A pass counts for a while only, so a successor asks again.
_READ_EACH = text(
    """
    select g.tenant, g.idx, g.verdict, g.reason, g.who, g.since, g.until
    from target_gates g join targets t using (rollout_id, tenant)
    where g.rollout_id = :id and t.state = 'pending' and g.verdict in ('wait', 'unknown')
    """
)
_READ = text("select wave, place, idx, verdict, reason, who, since, until from gates where rollout_id = :id")
_VOTES = text(
    """
    select v.person, v.approver_group, v.plan_hash, v.at, v.reason, v.word, v.names from votes v
    where v.rollout_id = :id and v.wave = :wave and v.place = :place and v.idx = :idx and v.word <> 'withdraw'
      and not exists (select 1 from votes w where w.withdraws = v.id)
    order by v.at, v.id
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
        return [Vote(r.person, r.approver_group, r.plan_hash, r.at, r.reason, r.word, frozenset(r.names)) for r in rows]


def write_gates(batch: Batch, rollout_id: uuid.UUID, decision: Decision) -> None:
    """Write what gates said, with the evidence."""
    each = {gate.key: (gate, change) for gate, change in decision.gates if gate.key.tenant}
    if each:
        _write_each(batch, rollout_id, list(each.values()))
    for gate, change in decision.gates:
        if gate.key.tenant:
            continue
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
        batch.add(_WRITE, values | said | {"evidence": as_json(dict(change.evidence))})


def _write_each(batch: Batch, rollout_id: uuid.UUID, judged: Sequence[tuple[GateNow, GateJudged]]) -> None:
    """Verdicts for single targets, in one statement."""
    gates = [gate for gate, _ in judged]
    values = {
        "id": rollout_id,
        "tenants": [g.key.tenant for g in gates],
        "indexes": [g.key.index for g in gates],
        "kinds": [g.kind for g in gates],
        "verdicts": [str(g.verdict) for g in gates],
        "reasons": [g.reason for g in gates],
        "whos": [g.who for g in gates],
        "since": [g.since for g in gates],
        "until": [g.until for g in gates],
        "evidences": [as_json(dict(change.evidence)) for _, change in judged],
    }
    batch.add(_WRITE_EACH, values)


async def read_target_gates(
    session: AsyncSession, rollout_id: uuid.UUID, memory: Memory
) -> dict[str, tuple[GateNow, ...]]:
    """Pending targets that waited at gates of their own, with what those said before a takeover."""
    found: dict[str, list[GateNow]] = {}
    for row in await session.execute(_READ_EACH, {"id": rollout_id}):
        wave = memory.targets[row.tenant].wave
        gates = found.setdefault(row.tenant, list(gates_of_target(memory.plan, wave, row.tenant)))
        said = {"reason": row.reason, "who": row.who, "since": row.since, "until": row.until}
        gates[row.idx] = replace(gates[row.idx], verdict=Verdict(row.verdict), **said)
    return {tenant: tuple(gates) for tenant, gates in found.items()}


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
