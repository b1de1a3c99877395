"""Starting targets: locked environments and budgets, slots taken, ledger rows issued."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from controlplane.adapters.postgres.batch import Batch, RowCountError
from controlplane.adapters.postgres.numbers import numerics
from controlplane.domain.admission import EnvironmentRow
from controlplane.domain.dispatch import Started
from controlplane.domain.exposure import Amount, Budget
from controlplane.domain.work import Work

_LOCK = text(
    """
    select e.tenant, t.phase, e.epoch, e.slot_id, e.dirty, e.uid, a.revision, a.verified_revision, a.deferred_until, a.last_number,
      (
        select r.kind || ' ' || r.app || '/' || r.release_version || ' is at ' || o.state
        from targets o join rollouts r on r.id = o.rollout_id
        where o.tenant = e.tenant and o.environment = e.environment and mine.memory->'behind' ? o.rollout_id::text
          and r.state not in ('succeeded','failed','aborted')
          and o.state not in ('verified','rolledBack','stuck','skipped','cancelled','deferred')
        order by o.state = 'pending', r.id limit 1
      ) as earlier,
      exists (
        select 1 from revisions v
        where v.tenant = a.tenant and v.environment = a.environment and v.app = a.app and v.revision = a.revision
          and mine.memory->'behind' ? v.rollout_id::text
      ) as moved_by_earlier,
      (
        select o.rollout_id::text from targets o
        where o.tenant = e.tenant and o.environment = e.environment and o.rollout_id <> :id and o.state in ('verify','soak')
          and o.memory #> '{driver,lent}' is not null
        limit 1
      ) as lent_by
    from environments e, -- the others one look by key for each: without statistics the planner would compare each with each
      lateral (select phase from tenants where tenant = e.tenant offset 0) t,
      lateral (select * from tenant_apps where (tenant, environment, app) = (e.tenant, e.environment, :app) offset 0) a,
      lateral (select memory from targets where (rollout_id, tenant) = (:id, e.tenant) offset 0) mine
    where e.environment = :environment and e.tenant = any(:tenants)
    for update of e skip locked
    """
)
_LOCK_BUDGETS = text(
    'select scope, cap, reserved, closed, version, breaker from budgets where scope = any(:scopes) order by scope collate "C" for update'
)
_TAKE_SLOTS = text(
    """
    update environments e set slot_kind = 'rollout', slot_id = :id, slot_since = coalesce(e.slot_since, now()), epoch = x.epoch
    from unnest(cast(:tenants as text[]), cast(:epochs as bigint[])) as x(tenant, epoch)
    where e.tenant = x.tenant and e.environment = :environment and (e.slot_id is null or e.slot_id = :id) and e.tenant = any(cast(:tenants as text[]))
    """
)
_REVISIONS = text(
    """
    insert into revisions (tenant, environment, app, revision, release_version, content_hash, values_hash, "values", inventory,
      secret_versions, base_revision, state, rollout_id)
    select x.tenant, t.environment, cast(:app as text), x.revision, coalesce(nullif(t.memory->>'release', ''), nullif(x.release, ''),
        (select r.release_version from revisions r where r.tenant = x.tenant and r.environment = t.environment and r.app = :app
           and r.content_hash = x.content order by r.revision desc limit 1),
        (select r.release_version from revisions r where r.tenant = x.tenant and r.environment = t.environment and r.app = :app
           and r.revision = x.base), ''),
      x.content, coalesce(t.memory->>'valuesHash', ''), coalesce(t.memory->'values', '{}'), '[]', '{}', x.base, 'applying', :id
    from unnest(cast(:tenants as text[]), cast(:revisions as int[]), cast(:contents as text[]), cast(:bases as int[]),
                cast(:releases as text[])) as x(tenant, revision, content, base, release)
    join targets t on t.rollout_id = :id and t.tenant = x.tenant and t.tenant = any(cast(:tenants as text[]))
    """
)
_APPS = text(
    """
    update tenant_apps a set revision = x.revision, last_number = x.revision
    from unnest(cast(:tenants as text[]), cast(:revisions as int[])) as x(tenant, revision)
    where a.tenant = x.tenant and a.environment = :environment and a.app = :app and a.tenant = any(cast(:tenants as text[]))
    """
)
_STEPS = text(
    """
    insert into steps (step_id, ordinal, subject_kind, subject_id, tenant, environment, phase, verb, api_version, kind, name, fence,
      state, epoch, planned_at, issued_at, outcome, result)
    select x.step_id, x.ordinal, 'rollout', :id, x.tenant, :environment, x.phase, x.verb, x.api_version, x.kind, x.name, x.fence,
      'ISSUED', x.epoch, now(), now(), '', '{}'
    from unnest(cast(:steps as uuid[]), cast(:ordinals as int[]), cast(:tenants as text[]), cast(:phases as text[]), cast(:verbs as text[]),
                cast(:api_versions as text[]), cast(:kinds as text[]), cast(:names as text[]), cast(:fences as text[]),
                cast(:epochs as bigint[]))
      as x(step_id, ordinal, tenant, phase, verb, api_version, kind, name, fence, epoch)
    """
)
_RESERVE = text(
    """
    insert into reservations (rollout_id, tenant, scope, amount)
    select :id, x.tenant, x.scope, x.amount
    from unnest(cast(:tenants as text[]), cast(:scopes as text[]), cast(:amounts as numeric[])) as x(tenant, scope, amount)
    """
)
_SETTLE = text(
    """
    with moved as (
      update budgets b set reserved = b.reserved + x.delta
      from unnest(cast(:scopes as text[]), cast(:deltas as numeric[]), cast(:taken as numeric[])) as x(scope, delta, taken)
      where b.scope = x.scope
      returning b.scope, b.reserved, b.cap, x.delta, x.taken, (b.closed and not :passes) or b.breaker = 'open' as closed
    )
    insert into budget_moves (scope, rollout_id, delta, reserved, cap, taken, closed)
    select scope, :id, delta, reserved, cap, taken, closed from moved
    """
)
_ABOVE_SEALS = text(
    """
    update environments e set epoch = greatest(e.epoch, x.seal) + 1
    from targets t, unnest(cast(:tenants as text[]), cast(:seals as bigint[])) as x(tenant, seal)
    where t.rollout_id = :id and t.tenant = x.tenant
      and t.tenant = any(cast(:tenants as text[])) and e.tenant = any(cast(:tenants as text[])) and e.tenant = t.tenant
      and e.environment = t.environment and e.slot_id = :id
    returning e.tenant, e.epoch
    """
)
_OLD_DEBTS = text(
    """
    with gone as (
      delete from reservations r using rollouts o
      where o.id = r.rollout_id and o.environment = :environment and o.id <> :id and r.tenant = any(:tenants)
        and o.state in ('succeeded','failed','aborted')
      returning r.scope, r.amount
    )
    select scope, sum(amount) as amount from gone group by scope
    """
)


async def lock_environments(
    batch: Batch, rollout_id: uuid.UUID, tenants: Sequence[str], *, app: str, environment: str
) -> dict[str, EnvironmentRow]:
    """Lock environments; one that is locked already is left out and waits."""
    values = {"id": rollout_id, "tenants": list(tenants), "app": app, "environment": environment}
    return {
        row.tenant: EnvironmentRow(
            tenant=row.tenant,
            phase=row.phase,
            epoch=row.epoch,
            slot_id=str(row.slot_id) if row.slot_id else None,
            dirty=row.dirty,
            uid=row.uid,
            current=row.revision,
            deferred_until=row.deferred_until,
            last_number=row.last_number,
            verified=row.verified_revision or 0,
            queued=row.earlier is not None,
            earlier=row.earlier or "",
            moved_by_earlier=row.moved_by_earlier,
            lent_by=row.lent_by or "",
        )
        for row in await batch.rows(_LOCK, values)
    }


async def lock_budgets(batch: Batch, scopes: Iterable[str]) -> tuple[dict[str, Budget], int]:
    """Lock budget rows in the order of their bytes; also returns the fleet row's version (-1 without it)."""
    rows = await batch.rows(_LOCK_BUDGETS, {"scopes": sorted(set(scopes))})
    version = next((row.version for row in rows if row.scope == "fleet/inFlight"), -1)
    return {row.scope: Budget(row.cap, row.reserved, row.closed, row.breaker) for row in rows}, version


def issue(
    batch: Batch,
    rollout_id: uuid.UUID,
    started: Sequence[Started],
    work: Mapping[str, Work],
    place: dict[str, str],
    release: str,
) -> None:
    """Take slots, bring revisions, reserve places, write the ledger rows as ISSUED."""
    if not started:
        return
    place_only = {"environment": place["environment"]}
    tenants = [one.target.tenant for one in started]
    slots = {"id": rollout_id, "tenants": tenants, "epochs": [one.epoch for one in started]}
    batch.exactly(_TAKE_SLOTS, slots | place_only, len(started), "environments")
    fresh = [one.target for one in started if one.takes and one.target.phase in ("apply", "migrate")]
    if fresh:
        values: dict[str, Any] = {"tenants": [t.tenant for t in fresh], "revisions": [t.revision for t in fresh]}
        contents = {"contents": [t.content for t in fresh], "bases": [t.base_revision for t in fresh]}
        releases = {"releases": [release] * len(fresh), "id": rollout_id}
        batch.exactly(_REVISIONS, values | contents | releases | place, len(fresh), "revisions")
        batch.exactly(_APPS, values | place, len(fresh), "tenant_apps")
    takes = [(one.target.tenant, scope, amount) for one in started for scope, amount in one.takes.items()]
    if takes:
        reserve = {
            "tenants": [t[0] for t in takes],
            "scopes": [t[1] for t in takes],
            "amounts": numerics(t[2] for t in takes),
        }
        batch.exactly(_RESERVE, reserve | {"id": rollout_id}, len(takes), "reservations")
    _write_steps(batch, rollout_id, started, work, place_only)


def _write_steps(
    batch: Batch,
    rollout_id: uuid.UUID,
    started: Sequence[Started],
    work: Mapping[str, Work],
    place: dict[str, str],
) -> None:
    rows = [
        (one, work[one.target.tenant], ordinal, item)
        for one in started
        for ordinal, item in enumerate(work[one.target.tenant].items)
    ]
    if not rows:
        return
    values = {
        "id": rollout_id,
        "steps": [w.step_id for _, w, _, _ in rows],
        "ordinals": [ordinal for _, _, ordinal, _ in rows],
        "tenants": [one.target.tenant for one, _, _, _ in rows],
        "phases": [w.phase for _, w, _, _ in rows],
        "verbs": [item.verb for _, _, _, item in rows],
        "api_versions": [item.api_version for _, _, _, item in rows],
        "kinds": [item.kind for _, _, _, item in rows],
        "names": [item.name for _, _, _, item in rows],
        "fences": [item.fence for _, _, _, item in rows],
        "epochs": [one.epoch for one, _, _, _ in rows],
    }
    batch.exactly(_STEPS, values | place, len(rows), "steps")


async def raise_epochs(batch: Batch, rollout_id: uuid.UUID, seals: Mapping[str, int]) -> dict[str, int]:
    """Raise environments above the seals the cluster showed. Raises `RowCountError` if a slot is not this rollout's."""
    if not seals:
        return {}
    values = {"id": rollout_id, "tenants": list(seals), "seals": list(seals.values())}
    raised = {row.tenant: row.epoch for row in await batch.rows(_ABOVE_SEALS, values)}
    if raised.keys() != seals.keys():
        raise RowCountError(f"environments: {len(raised)} epochs raised of {len(seals)}")
    return raised


def settle(
    batch: Batch,
    rollout_id: uuid.UUID,
    deltas: Mapping[str, Amount],
    taken: Mapping[str, Amount],
    *,
    passes: bool = False,
) -> None:
    """Move budgets by `deltas`, what was taken less what was given back, and log each move.

    `passes`: an emergency goes past freezes, so that they did not close a budget for it; a breaker did.
    """
    moved = {scope: Decimal(delta) for scope, delta in sorted(deltas.items()) if delta or taken.get(scope)}
    if moved:
        values = {"id": rollout_id, "scopes": list(moved), "deltas": list(moved.values())}
        values["passes"] = passes
        values["taken"] = numerics(taken.get(scope, 0) for scope in moved)
        batch.exactly(_SETTLE, values, len(moved), "budgets")


async def old_debts(batch: Batch, rollout_id: uuid.UUID, tenants: Sequence[str], environment: str) -> dict[str, Any]:
    """Give back what ended rollouts left reserved for stuck targets that somebody mends now."""
    values = {"id": rollout_id, "tenants": list(tenants), "environment": environment}
    return {row.scope: row.amount for row in await batch.rows(_OLD_DEBTS, values)}
