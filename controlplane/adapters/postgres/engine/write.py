"""Writing a decision: each table in one statement, queued to travel together, row counts compared with what was sent.

The keys are named twice, joined and as `= any(...)`: without statistics, or with a plan kept from when a table was small, PostgreSQL would
otherwise read all the rows of an app or a rollout for each transaction (24 s of CPU in a rollout to 10,000 tenants).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text

from controlplane.adapters.postgres.batch import Batch
from controlplane.adapters.postgres.json_text import as_json
from controlplane.domain.consequences import consequence_of
from controlplane.domain.counts import GroupCount
from controlplane.domain.engine import Decision, EffectDone, Event, RolloutNow, TargetNow
from controlplane.domain.exposure import Amount
from controlplane.domain.rollouts import ROLLOUT_OVER
from controlplane.ports.engine import Observed
from controlplane.ports.trace import trace_headers

from .rows import memory_of

type Note = Callable[[Mapping[str, Amount]], None]
"""Told by how much reserved amounts change, by budget."""

_TARGETS = text(
    """
    update targets t set state = x.state, code = x.code, reason = x.reason, base_revision = x.base, revision = x.revision,
      attempt = x.attempt, epoch = x.epoch, since = x.since, started_at = x.started_at, ended_at = x.ended_at,
      memory = jsonb_set(t.memory, '{driver}', cast(x.memory as jsonb))
    from unnest(cast(:tenants as text[]), cast(:states as text[]), cast(:codes as text[]), cast(:reasons as text[]),
                cast(:bases as int[]), cast(:revisions as int[]), cast(:attempts as int[]), cast(:epochs as bigint[]),
                cast(:since as timestamptz[]), cast(:started as timestamptz[]), cast(:ended as timestamptz[]), cast(:memories as text[]))
      as x(tenant, state, code, reason, base, revision, attempt, epoch, since, started_at, ended_at, memory)
    where t.rollout_id = :id and t.tenant = x.tenant and t.tenant = any(cast(:tenants as text[]))
    """
)
_WAVES = text(
    """
    update waves w set state = x.state, started_at = x.started_at, ended_at = x.ended_at, detail = cast(x.detail as jsonb)
    from unnest(cast(:waves as int[]), cast(:states as text[]), cast(:started as timestamptz[]), cast(:ended as timestamptz[]),
                cast(:details as text[])) as x(wave, state, started_at, ended_at, detail)
    where w.rollout_id = :id and w.wave = x.wave
    """
)
_COUNTS = text(
    """
    update waves w set counts = jsonb_build_object('epoch', cast(:epoch as bigint), 'groups', cast(x.groups as jsonb))
    from unnest(cast(:waves as int[]), cast(:groups as text[])) as x(wave, groups)
    where w.rollout_id = :id and w.wave = x.wave
    """
)
_ROLLOUT = text(
    """
    update rollouts set state = :state, outcome = :outcome, started_at = :started, ended_at = :ended, memory = cast(:memory as jsonb),
      due_at = case when :over then null else now() end
    where id = :id
    """
)
_EVENTS = text(
    """
    with numbered as (update rollouts set event_seq = event_seq + :count where id = :id returning event_seq - :count as before),
    lines as (
      select n.before + x.place as seq, x.type, x.tenant, x.subject, cast(x.data as jsonb) as data
      from numbered n, unnest(cast(:types as text[]), cast(:tenants as text[]), cast(:subjects as text[]), cast(:data as text[]))
        with ordinality as x(type, tenant, subject, data, place)
    ),
    written as (
      insert into history (subject_kind, subject_id, seq, type, tenant, data, at)
      select 'rollout', cast(:name as text), seq, type, tenant, data, now() from lines
    )
    insert into outbox (subject, msg_id, payload, headers)
    select subject, 'rollout-' || cast(:name as text) || '-' || seq,
      jsonb_build_object('kind', 'rollout', 'id', cast(:name as text), 'seq', seq, 'type', type, 'tenant', tenant,
        'time', cast(:time as text), 'data', data), cast(:headers as jsonb)
    from lines order by seq
    """
)
_REVISIONS = text(
    """
    update revisions r set state = x.state, verified_at = case when x.state = 'verified' then now() else r.verified_at end
    from unnest(cast(:tenants as text[]), cast(:revisions as int[]), cast(:states as text[])) as x(tenant, revision, state)
    where r.tenant = x.tenant and r.environment = :environment and r.app = :app and r.revision = x.revision
      and r.tenant = any(cast(:tenants as text[]))
    """
)
_APPS = text(
    """
    update tenant_apps a set revision = coalesce(x.runs, a.revision), verified_revision = coalesce(x.verified, a.verified_revision)
    from unnest(cast(:tenants as text[]), cast(:runs as int[]), cast(:verified as int[])) as x(tenant, runs, verified)
    where a.tenant = x.tenant and a.environment = :environment and a.app = :app and a.tenant = any(cast(:tenants as text[]))
    """
)
_FREE = text(
    """
    update environments e set dirty = coalesce(x.dirty, e.dirty),
      slot_kind = case when e.slot_id = :id then null else e.slot_kind end,
      slot_since = case when e.slot_id = :id then null else e.slot_since end,
      slot_id = case when e.slot_id = :id then null else e.slot_id end
    from unnest(cast(:tenants as text[]), cast(:dirty as boolean[])) as x(tenant, dirty)
    where e.tenant = x.tenant and e.environment = :environment and (e.slot_id = :id or x.dirty) and e.tenant = any(cast(:tenants as text[]))
    """
)
_GIVE_BACK = text(
    """
    with gone as (
      delete from reservations r
      using unnest(cast(:tenants as text[]), cast(:ends as text[])) as x(tenant, end_state)
      where r.rollout_id = :id and r.tenant = x.tenant and r.tenant = any(cast(:tenants as text[]))
        and not (x.end_state = 'stuck' and r.scope like '%/unverified')
      returning r.scope, r.amount
    )
    select scope, sum(amount) as amount from gone group by scope
    """
)
_OBSERVED = text(
    """
    update steps s set state = 'OBSERVED', observed_at = now(), outcome = x.outcome, result = cast(x.result as jsonb)
    from unnest(cast(:steps as uuid[]), cast(:ordinals as int[]), cast(:outcomes as text[]), cast(:results as text[]))
      as x(step_id, ordinal, outcome, result)
    where s.step_id = x.step_id and s.ordinal = x.ordinal and s.step_id = any(cast(:steps as uuid[]))
    """
)
_INVENTORY = text(
    """
    update revisions r set inventory = cast(x.inventory as jsonb)
    from targets t, unnest(cast(:tenants as text[]), cast(:inventories as text[])) as x(tenant, inventory)
    where t.rollout_id = :id and t.tenant = x.tenant and r.tenant = x.tenant and r.environment = :environment and r.app = :app
      and r.revision = t.revision and t.tenant = any(cast(:tenants as text[])) and r.tenant = any(cast(:tenants as text[]))
    """
)


def write_targets(batch: Batch, rollout_id: uuid.UUID, targets: Sequence[TargetNow]) -> None:
    """Write target rows."""
    if not targets:
        return
    values = {
        "id": rollout_id,
        "tenants": [t.tenant for t in targets],
        "states": [str(t.state) for t in targets],
        "codes": [t.code for t in targets],
        "reasons": [t.reason for t in targets],
        "bases": [t.base_revision for t in targets],
        "revisions": [t.revision for t in targets],
        "attempts": [t.attempt for t in targets],
        "epochs": [t.epoch for t in targets],
        "since": [t.since for t in targets],
        "started": [t.started_at for t in targets],
        "ended": [t.ended_at for t in targets],
        "memories": [as_json(memory_of(t)) for t in targets],
    }
    batch.exactly(_TARGETS, values, len(targets), "targets")


def write_waves(batch: Batch, rollout_id: uuid.UUID, decision: Decision) -> None:
    """Write wave rows."""
    waves = list(decision.waves.values())
    if not waves:
        return
    values = {
        "id": rollout_id,
        "waves": [w.index for w in waves],
        "states": [str(w.state) for w in waves],
        "started": [w.started_at for w in waves],
        "ended": [w.since if w.state in ("done", "failed") else None for w in waves],
        "details": [
            as_json({"code": w.code, "reason": w.reason, "waitingSince": w.waiting_since, "until": w.waits_until})
            for w in waves
        ],
    }
    batch.exactly(_WAVES, values, len(waves), "waves")


def write_counts(
    batch: Batch,
    rollout_id: uuid.UUID,
    epoch: int,
    counts: Mapping[int, Sequence[GroupCount]],
    reasons: Mapping[str, str],
) -> None:
    """Write waves' counts as the driver with this lease epoch knows them."""
    values = {
        "id": rollout_id,
        "epoch": epoch,
        "waves": list(counts),
        "groups": [
            as_json([[g.state, g.code, g.number, g.tenant, reasons.get(g.tenant, ""), g.until] for g in groups])
            for groups in counts.values()
        ],
    }
    batch.exactly(_COUNTS, values, len(counts), "waves")


def write_rollout(batch: Batch, rollout_id: uuid.UUID, rollout: RolloutNow | None) -> None:
    """Write the rollout's row."""
    if rollout is None:
        return
    memory = {name: getattr(rollout, name) for name in ("reason", "halted", "abort", "hold") if getattr(rollout, name)}
    values = {
        "id": rollout_id,
        "state": str(rollout.state),
        "outcome": rollout.outcome,
        "started": rollout.started_at,
        "ended": rollout.ended_at,
        "memory": as_json(memory),
        "over": rollout.state in ROLLOUT_OVER,
    }
    batch.exactly(_ROLLOUT, values, 1, "rollouts")


def write_events(batch: Batch, rollout_id: uuid.UUID, events: Sequence[Event], now: datetime) -> None:
    """Number the lines of history under the rollout's row lock, and copy them to the outbox."""
    if not events:
        return
    values = {
        "id": rollout_id,
        "name": str(rollout_id),
        "count": len(events),
        "types": [f"dev.seawall.rollout.{event.change}.v1" for event in events],
        "tenants": [event.tenant for event in events],
        "subjects": [f"sw.event.{event.tenant or '_fleet'}.rollout.{event.change}" for event in events],
        "data": [as_json(event.data) for event in events],
        "time": now.isoformat(),
        "headers": as_json(trace_headers()),
    }
    batch.exactly(_EVENTS, values, len(events), "outbox")


def write_consequences(
    batch: Batch, rollout_id: uuid.UUID, decision: Decision, note: Note, *, app: str, environment: str
) -> None:
    """Write what changes of targets mean for revisions, apps, slots; `note` is told what each budget gets back."""
    found = [(new, consequence_of(old, new)) for old, new in decision.targets.values()]
    place = {"app": app, "environment": environment}
    states = [(n.tenant, n.revision, c.revision_state) for n, c in found if c.revision_state and n.revision is not None]
    if states:
        values = {
            "tenants": [s[0] for s in states],
            "revisions": [s[1] for s in states],
            "states": [s[2] for s in states],
        }
        batch.exactly(_REVISIONS, values | place, len(states), "revisions")
    apps = [c for _, c in found if c.runs is not None or c.verified is not None]
    if apps:
        values = {
            "tenants": [c.tenant for c in apps],
            "runs": [c.runs for c in apps],
            "verified": [c.verified for c in apps],
        }
        batch.exactly(_APPS, values | place, len(apps), "tenant_apps")
    freed = [c for _, c in found if c.free_slot]
    if freed:
        values = {"id": rollout_id, "tenants": [c.tenant for c in freed], "dirty": [c.dirty for c in freed]}
        batch.add(_FREE, values | {"environment": environment})
    ends = [(c.tenant, c.give_back) for _, c in found if c.give_back]
    if ends:
        values = {"id": rollout_id, "tenants": [e[0] for e in ends], "ends": [e[1] for e in ends]}
        batch.add(_GIVE_BACK, values, lambda rows: note({row.scope: -row.amount for row in rows}))


def write_observed(
    batch: Batch,
    rollout_id: uuid.UUID,
    observed: Sequence[Observed],
    done: Sequence[EffectDone],
    place: dict[str, str],
) -> None:
    """Write ledger rows as OBSERVED, and inventories."""
    if observed:
        values = {
            "steps": [o.step_id for o in observed],
            "ordinals": [o.ordinal for o in observed],
            "outcomes": [o.outcome for o in observed],
            "results": [as_json(dict(o.result)) for o in observed],
        }
        batch.exactly(_OBSERVED, values, len(observed), "steps")
    inventories = [d for d in done if d.phase == "apply" and d.inventory]
    if inventories:
        values = {
            "id": rollout_id,
            "tenants": [d.tenant for d in inventories],
            "inventories": [as_json([_item(one) for one in d.inventory]) for d in inventories],
        }
        batch.exactly(_INVENTORY, values | place, len(inventories), "revisions")


def _item(one: tuple[str, str, str, str]) -> dict[str, Any]:
    api_version, kind, name, uid = one
    return {"key": {"api_version": api_version, "kind": kind, "name": name}, "uid": uid or None}
