"""Loading a rollout as its new driver."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.adapters.postgres.batch import Batch
from controlplane.adapters.postgres.engine_timeline import TIMELINE
from controlplane.adapters.postgres.gates import read_gates, read_target_gates
from controlplane.adapters.postgres.leases import lock_lease, read_commands
from controlplane.adapters.postgres.numbers import numerics
from controlplane.domain.apps import AppSpec, Dependency
from controlplane.domain.engine import CATCHES_UP, Frozen, Memory, RolloutNow, TargetNow, WaveNow, tally_of
from controlplane.domain.exposure import Amount, caps_for, cluster_scope, default_rollback_cap, shared_scopes
from controlplane.domain.gating import gates_of
from controlplane.domain.plans import Plan
from controlplane.domain.rollouts import RolloutState, TargetState, WaveState
from controlplane.ports.engine import EndedJob, Loaded, OpenPhase
from controlplane.ports.leases import HeldLease

from .rows import target_of
from .write import write_counts

_ROLLOUT = text(
    f"""
    select r.*, now() as db_now, {TIMELINE} as timeline,
      l.spec->'provenance' as provenance, l.on_behalf_of, coalesce(l.spec->'database'->>'change', 'none') as database_change
    from rollouts r left join releases l on l.app = r.app and l.version = r.release_version
    where r.id = :id for update of r
    """  # noqa: S608 -- constant
)
_WAVES = text("select wave, name, state, started_at, ended_at, detail from waves where rollout_id = :id order by wave")
_TARGETS = text(
    """
    select t.tenant, t.environment, t.wave, t.position, t.state, t.code, t.reason, t.base_revision, t.revision, t.attempt,
           t.epoch, t.since, t.started_at, t.ended_at, t.memory, e.namespace
    from targets t, lateral (
      select namespace from environments where (tenant, environment) = (t.tenant, t.environment) offset 0 -- one look by key for each
    ) e
    where t.rollout_id = :id order by t.wave, t.position
    """
)
_RAISE_EPOCHS = text(
    f"""
    with raised as (
      update environments e set epoch = greatest(e.epoch + 1, {TIMELINE}::bigint << 40)
      from targets t
      where t.rollout_id = :id and t.tenant = e.tenant and t.environment = e.environment
        and e.slot_kind = 'rollout' and e.slot_id = :id
      returning e.tenant, e.epoch
    )
    update targets t set epoch = raised.epoch from raised
    where t.rollout_id = :id and t.tenant = raised.tenant returning t.tenant, t.epoch
    """  # noqa: S608 -- constant
)
_STEPS = text(
    """
    select tenant, phase, ordinal, state, result, outcome from steps
    where subject_id = :id and step_id in (select step_id from steps where subject_id = :id and state <> 'OBSERVED')
    """
)
_ENDED_JOBS = text(
    """
    select tenant, step_id, api_version, kind, name from steps
    where subject_id = :id and phase = 'migrate' and verb = 'create' and state = 'OBSERVED' and tenant = any(:tenants)
    """
)
_BUDGETS = text(
    """
    insert into budgets (scope, cap, reserved, closed, version)
    select scope, cap, 0, false, 0 from unnest(cast(:scopes as text[]), cast(:caps as numeric[])) as x(scope, cap)
    on conflict (scope) do nothing
    """
)
_APP = text(
    """
    select v.spec from config_current c join config_versions v using (kind, name, version)
    where c.kind = 'apps' and c.name = :app and c.deleted_at is null
    """
)
_TENANTS = text("select cluster, count(*) as tenants from environments where cluster = any(:clusters) group by cluster")


async def load(session: AsyncSession, lease: HeldLease) -> Loaded:
    """Load in one transaction: the lease locked, epochs of environments in flight raised, budget rows made sure of."""
    await lock_lease(session, lease)
    rollout_id = lease.subject_id
    commands = await read_commands(session, lease.kind, rollout_id, lease.command_seq)
    row = (await session.execute(_ROLLOUT, {"id": rollout_id})).one()
    plan = Plan.model_validate(row.plan)
    epochs = {r.tenant: r.epoch for r in await session.execute(_RAISE_EPOCHS, {"id": rollout_id})}
    targets = await _targets(session, rollout_id, plan, epochs)
    memory = Memory(
        id=str(rollout_id),
        plan=plan,
        rollout=_rollout(row),
        waves=await _waves(session, rollout_id, plan, targets),
        targets=targets,
        wanting={t.tenant: None for t in targets.values() if t.wants},
        catch_up={t.tenant: None for t in targets.values() if t.state is TargetState.DEFERRED and t.code in CATCHES_UP},
        touched=set(range(len(plan.waves))),
        gates=await read_gates(session, rollout_id, gates_of(plan)),
        change_ref=row.change_ref,
        database=row.database_change,
        frozen=Frozen(passes=frozenset(plan.emergency.freezes if plan.emergency else ())),
    )
    memory.at_gates = await read_target_gates(session, rollout_id, memory)
    await _ensure_budgets(session, memory)
    counts = {index: memory.counts.of(index) for index in range(len(plan.waves))}
    batch = Batch(session)
    write_counts(batch, rollout_id, lease.epoch, counts, {t.tenant: t.reason for t in targets.values()})
    await batch.flush()
    open_phases = await _open_phases(session, rollout_id, targets)
    return Loaded(
        memory,
        row.app,
        row.release_version,
        row.db_now,
        row.timeline,
        row.origin,
        open_phases,
        tuple(commands),
        row.requested_by,
        _authors(row),
        ended_jobs=await _ended_jobs(session, rollout_id, targets),
        reason=row.reason,
        dependencies=await _dependencies(session, row.app),
    )


async def _dependencies(session: AsyncSession, app: str) -> tuple[Dependency, ...]:
    """What the app declares that its tenants lean on."""
    spec = (await session.execute(_APP, {"app": app})).scalar_one_or_none()
    return AppSpec.model_validate(spec or {}).dependencies


def _authors(row: Any) -> tuple[str, ...]:
    """Who wrote the release, from its provenance and the token it was registered with; empty when unknown."""
    return tuple((row.provenance or {}).get("authors", [])) + ((row.on_behalf_of,) if row.on_behalf_of else ())


async def _targets(
    session: AsyncSession, rollout_id: uuid.UUID, plan: Plan, epochs: dict[str, int]
) -> dict[str, TargetNow]:
    planned = {target.tenant: target for target in plan.targets()}
    targets = {}
    for row in await session.execute(_TARGETS, {"id": rollout_id}):
        targets[row.tenant] = target_of(row, planned[row.tenant], row.namespace)
    missing = planned.keys() - targets.keys()
    if missing:
        raise LookupError(f"rollout {rollout_id}: {len(missing)} planned targets have no row, such as {min(missing)}")
    return targets


async def _waves(
    session: AsyncSession, rollout_id: uuid.UUID, plan: Plan, targets: dict[str, TargetNow]
) -> list[WaveNow]:
    waves = []
    for row in await session.execute(_WAVES, {"id": rollout_id}):
        order = tuple(target.tenant for target in plan.waves[row.wave].targets)
        detail = row.detail or {}
        wave = WaveNow(
            index=row.wave,
            name=row.name,
            order=order,
            state=WaveState(row.state),
            started_at=row.started_at,
            code=detail.get("code", ""),
            reason=detail.get("reason", ""),
            waiting_since=_instant(detail.get("waitingSince")),
        )
        waves.append(tally_of(wave, (targets[tenant] for tenant in order)))
    return waves


def _instant(found: str | None) -> datetime | None:
    return datetime.fromisoformat(found) if found else None


def _rollout(row: Any) -> RolloutNow:
    memory = row.memory or {}
    return RolloutNow(
        state=RolloutState(row.state),
        since=row.started_at or row.created_at,
        outcome=row.outcome,
        reason=memory.get("reason", ""),
        halted=memory.get("halted", ""),
        abort=memory.get("abort", ""),
        hold=memory.get("hold", False),
        started_at=row.started_at,
        ended_at=row.ended_at,
        not_before=row.not_before,
    )


async def _ensure_budgets(session: AsyncSession, memory: Memory) -> None:
    """Make sure that every scope the rollout may ask for has a row; shared ones have no cap until somebody sets one."""
    caps: dict[str, Amount | None] = dict.fromkeys(s for t in memory.targets.values() for s in shared_scopes(t))
    clusters = sorted({t.cluster for t in memory.targets.values()})
    counts = {r.cluster: r.tenants for r in await session.execute(_TENANTS, {"clusters": clusters})}
    for cluster in clusters:
        caps[cluster_scope(cluster, "rollback")] = default_rollback_cap(counts[cluster])
    caps |= caps_for(memory.id, memory.plan.limits)
    scopes = sorted(caps)
    await session.execute(_BUDGETS, {"scopes": scopes, "caps": numerics(caps[scope] for scope in scopes)})


async def _ended_jobs(
    session: AsyncSession, rollout_id: uuid.UUID, targets: dict[str, TargetNow]
) -> tuple[EndedJob, ...]:
    in_flight = [t.tenant for t in targets.values() if t.in_flight]
    rows = await session.execute(_ENDED_JOBS, {"id": rollout_id, "tenants": in_flight}) if in_flight else ()
    return tuple(EndedJob(row.tenant, row.step_id, row.api_version, row.kind, row.name) for row in rows)


async def _open_phases(
    session: AsyncSession, rollout_id: uuid.UUID, targets: dict[str, TargetNow]
) -> tuple[OpenPhase, ...]:
    """Phases in the targets' hands, with what of each is observed already."""
    done: dict[str, dict[int, dict[str, Any]]] = {}
    rows: Sequence[Any] = (await session.execute(_STEPS, {"id": rollout_id})).all()
    for row in rows:
        target = targets[row.tenant]
        if row.phase == target.phase and row.state == "OBSERVED" and row.outcome == "ok":
            done.setdefault(row.tenant, {})[row.ordinal] = row.result
    return tuple(OpenPhase(t.tenant, t.phase, done.get(t.tenant, {})) for t in targets.values() if t.phase)
