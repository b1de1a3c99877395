"""Starting: a prepared plan becomes rows, in the caller's transaction. From the commit on it will end in a state somebody can read."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from controlplane.domain.errors import ConflictError
from controlplane.domain.exposure import Amount, caps_for, cluster_scope, default_rollback_cap, shared_scopes
from controlplane.domain.notices import noticed_in
from controlplane.domain.plan_changes import ensure_startable, ensure_way_back_or_word
from controlplane.domain.plans import PLAN_SCHEMA_VERSION, Plan, PlannedTarget
from controlplane.domain.releases import ReleaseSpec
from controlplane.domain.requests import Ask
from controlplane.ports.notices import Announced
from controlplane.ports.stores.rollout_rows import BusyRow, NewRollout, NewTarget
from controlplane.ports.trace import trace_headers
from controlplane.ports.uow import UnitOfWork
from controlplane.services.emergencies import write_down

from .askable import refuse_unaskable
from .content import Given
from .plan_gates import refuse_failing
from .prepare import Prepared, prepare
from .previews import plan_seen
from .tools import RolloutTools

Mode = Literal["plan", "start"]
_REFUSED_AS_SUCH: Final = frozenset({"held", "would-undo-another-change", "suspended", "rule-refused", "rule-unclear"})
"""If this is why every target is left out, it is what the caller is told."""
_TRIES: Final = 3


@dataclass(frozen=True)
class Started:
    """A new rollout. `state` is `planned`, or `draft` until a person starts it."""

    id: uuid.UUID
    state: str
    plan: Plan


async def plan_and_start(
    tools: RolloutTools,
    ask: Ask,
    *,
    actor: str,
    origin: Mapping[str, Any],
    mode: Mode = "start",
    if_plan_hash: str | None = None,
    accepted: str = "",
) -> Started:
    """Prepare and start in a transaction of its own. A plan nobody bound by its hash is made again if the world moved meanwhile."""
    for left in reversed(range(_TRIES)):
        prepared = await prepare(tools, ask)
        try:
            async with tools.open() as uow:
                return await start(
                    uow, prepared, actor=actor, origin=origin, mode=mode, if_plan_hash=if_plan_hash, accepted=accepted
                )
        except ConflictError as error:
            if error.code != "plan-changed" or if_plan_hash is not None or not left:
                raise
    raise AssertionError("the last try returns or raises")


async def start(
    uow: UnitOfWork,
    prepared: Prepared,
    *,
    actor: str,
    origin: Mapping[str, Any],
    mode: Mode = "start",
    if_plan_hash: str | None = None,
    accepted: str = "",
) -> Started:
    """Write a prepared rollout in this transaction: contents, rollout, waves, targets, lease, budgets, history, audit, wake-up.

    `origin` says what it came from and is kept with it: `{"kind": "person" | "trigger" | "onboarding" | "tenant" | "retry", ...}`
    with whatever names it (event source and id, trigger, operation, the rollout it retries). `accepted`: why it may start although
    targets give their way back up; kept in origin, history and audit.

    Raises ConflictError `plan-changed` (with the difference, or the tenants that moved since it was prepared), `busy`, `no-way-back`,
    `release-held`, `would-undo-another-change`, `suspended`, `gate-would-fail`; InvalidError `nothing-to-do`, `authors-unknown`,
    `change-ref-missing`.
    """
    plan = prepared.plan
    origin = {**origin, **word_on(plan, accepted, actor)}
    await uow.rollouts.one_start_at_a_time(plan.app, plan.environment)
    await _check(uow, prepared, if_plan_hash)
    if mode == "start":
        ensure_way_back_or_word(plan, accepted)
    new = _rows(uow, prepared, actor, origin, mode)
    await uow.rollouts.insert(new)
    if mode == "start":
        await settle_with_others(uow, plan, new.id, actor)
        await give_notice(uow, plan, new.id)
    await write_down(uow, new.id, plan, new.change_ref, actor)
    await _tell(uow, new, plan, actor, origin)
    return Started(new.id, new.state, plan)


def word_on(plan: Plan, accepted: str, actor: str) -> dict[str, Any]:
    """The word of whoever let targets give up their way back, as it is kept; empty where none does, or nothing was said."""
    count = len(plan.giving_up())
    return {"noWayBack": {"acceptedBy": actor, "reason": accepted, "targets": count}} if count and accepted else {}


async def _check(uow: UnitOfWork, prepared: Prepared, if_plan_hash: str | None) -> None:
    plan = prepared.plan
    changed = if_plan_hash is not None and if_plan_hash != plan.plan_hash
    seen = await plan_seen(uow, if_plan_hash) if changed and if_plan_hash else None
    codes = Counter(e.code for e in plan.excluded)
    if not plan.size and not changed and len(codes) == 1 and (code := next(iter(codes))) in _REFUSED_AS_SUCH:
        name = "release-held" if code == "held" else code
        first = plan.excluded[0]
        raise ConflictError(
            f"Nothing can start: all {len(plan.excluded)} targets are left out. {first.tenant}: {first.detail}",
            code=name,
        )
    ensure_startable(plan, if_plan_hash=if_plan_hash, seen=seen)
    refuse_unaskable(plan)
    refuse_failing(prepared.looks)
    bases = {t.tenant: t.base_revision for t in plan.targets()}
    moved = await uow.rollouts.moved(plan.app, plan.environment, bases)
    if moved:
        raise ConflictError(
            f"{len(moved)} targets changed while the rollout was being planned: {', '.join(moved[:10])}. Preview again.",
            code="plan-changed",
            extra={"planHash": plan.plan_hash, "difference": None, "moved": moved[:10]},
        )


async def give_notice(uow: UnitOfWork, plan: Plan, rollout_id: uuid.UUID) -> None:
    """Tell the owners whom gates of the plan want told, as soon as it starts: their notice runs while earlier waves do."""
    if not plan.release or not any(wave.before_each for wave in plan.waves):
        return
    row = (await uow.rollouts.releases(plan.app, {plan.release})).get(plan.release)
    spec = ReleaseSpec.model_validate(row.spec) if row is not None else None
    if spec is not None:
        whom = noticed_in(plan, spec.database.change, spec.risks)
        await uow.notices.give(Announced(rollout_id, plan.app, plan.release, plan.environment), whom)


async def settle_with_others(uow: UnitOfWork, plan: Plan, rollout_id: uuid.UUID, actor: str) -> None:
    """Do as `whenBusy` says where a rollout that starts meets unfinished ones: refuse (`busy`), take over, or queue.

    Its targets remember whom they are behind: they wait for those, and a base moved by one of them is expected.
    """
    found = await uow.rollouts.busy(plan.app, plan.environment, [t.tenant for t in plan.targets()])
    others = [row for row in found if row.id != rollout_id]
    if plan.emergency is not None and plan.emergency.preempts:
        await _preempt(uow, plan, rollout_id, others, actor)
        return
    if others and plan.when_busy == "reject":
        names = [str(row.id) for row in others]
        raise ConflictError(
            f"{sum(row.targets for row in others)} of its targets have another unfinished rollout ({', '.join(names[:3])}), "
            "and whenBusy is reject. Wait for it, abort it, or say whenBusy: queue or supersede.",
            code="busy",
            extra={"busy": names},
        )
    if others:
        await uow.rollouts.queue_behind(rollout_id, [row.id for row in others])
    for older in others if plan.when_busy == "supersede" else ():
        await uow.rollouts.command(older.id, "supersede", {"rollout": str(rollout_id)}, actor)
        await uow.wake("rollout", str(older.id))


async def _preempt(uow: UnitOfWork, plan: Plan, rollout_id: uuid.UUID, others: Sequence[BusyRow], actor: str) -> None:
    """Ask unfinished rollouts to yield these tenants where that interrupts nothing; behind all else the emergency waits.

    Ways back and other emergencies don't yield.
    """
    if not others:
        return
    await uow.rollouts.queue_behind(rollout_id, [row.id for row in others])
    body = {"rollout": str(rollout_id), "tenants": [t.tenant for t in plan.targets()]}
    for older in others:
        if older.yields:
            await uow.rollouts.command(older.id, "preempt", body, actor)
            await uow.wake("rollout", str(older.id))


def _rows(uow: UnitOfWork, prepared: Prepared, actor: str, origin: Mapping[str, Any], mode: Mode) -> NewRollout:
    plan, request = prepared.plan, prepared.ask.request
    rollout_id = uow.new_id()
    versions = {prepared.given[t.tenant].version for t in plan.targets()}
    return NewRollout(
        id=rollout_id,
        kind=plan.kind,
        app=plan.app,
        version=plan.release or (next(iter(versions)) if len(versions) == 1 else ""),
        environment=plan.environment,
        selector=plan.selector,
        strategy=prepared.strategy.name,
        strategy_version=prepared.strategy.version,
        state="planned" if mode == "start" else "draft",
        plan=plan.model_dump(mode="json", by_alias=True),
        plan_hash=plan.plan_hash,
        schema_version=PLAN_SCHEMA_VERSION,
        reason=request.reason,
        change_ref=request.change_ref,
        not_before=request.not_before,
        requested_by=actor,
        origin={**origin, "request": _request(prepared.ask), "trace": trace_headers()},
        due_at=max(uow.now, request.not_before) if request.not_before else uow.now,
        waves=tuple(wave.name for wave in plan.waves),
        targets=_targets(prepared),
        contents=prepared.contents,
        caps=caps_for(str(rollout_id), plan.limits),
        scopes=_shared_scopes(prepared),
    )


def _request(ask: Ask) -> dict[str, Any]:
    """The wish as it was, so that a draft can be planned again."""
    body = ask.request.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {**body, "tenants": sorted(ask.tenants)} if ask.tenants is not None else body


def _targets(prepared: Prepared) -> list[NewTarget]:
    return [
        NewTarget(
            target.tenant,
            target.environment,
            wave_index,
            position,
            prepared.given[target.tenant].version,
            prepared.given[target.tenant].values_hash,
            target.base_revision,
            _attempt(prepared.ask, target.tenant),
            _memory(target, prepared.given[target.tenant]),
        )
        for wave_index, wave in enumerate(prepared.plan.waves)
        for position, target in enumerate(wave.targets)
    ]


def _attempt(ask: Ask, tenant: str) -> int:
    """The first, unless a person does it again or takes back what is stuck: only such an attempt takes a dirty slot."""
    if ask.contents is not None and tenant in ask.contents:
        return ask.contents[tenant].attempt
    return 2 if ask.request.kind == "rollback" else 1


def _memory(target: PlannedTarget, given: Given) -> dict[str, Any]:
    """What a target keeps beside the driver's own memory: what it is given, and how it goes back."""
    return {
        "content": target.content,
        "release": given.version,
        "valuesHash": given.values_hash,
        "wayBack": target.way_back.kind,
        "backTo": target.way_back.revision,
    }


def _shared_scopes(prepared: Prepared) -> dict[str, Amount | None]:
    """Budget rows that this rollout's targets take from besides its own: they must exist, with or without a cap.

    The cap of a rollback budget follows the number of tenants there, unless the fleet limits name it.
    """
    scopes: dict[str, Amount | None] = {}
    for target in prepared.plan.targets():
        scopes |= dict.fromkeys(shared_scopes(target))
        back = cluster_scope(target.cluster, "rollback")
        there = prepared.tenants_on.get(target.cluster, 1)
        scopes[back] = prepared.fleet.rollback_cap(target.cluster, there) or default_rollback_cap(there)
    return scopes


async def _tell(uow: UnitOfWork, new: NewRollout, plan: Plan, actor: str, origin: Mapping[str, Any]) -> None:
    data = {
        "state": new.state,
        "release": f"{new.app}/{new.version}",
        "kind": new.kind,
        "environment": new.environment,
        "targets": plan.size,
        "strategy": plan.strategy,
        "planHash": plan.plan_hash,
        "requestedBy": actor,
        "reason": new.reason,
        "origin": origin.get("kind", "person"),
        **({"noWayBack": origin["noWayBack"]} if "noWayBack" in origin else {}),
    }
    change = "planned" if new.state == "planned" else "drafted"
    seq = await uow.record("rollout", str(new.id), change, data=data)
    await uow.rollouts.record(new.id, seq)
    await uow.audit(
        actor, f"rollout.{'start' if new.state == 'planned' else 'draft'}", f"rollouts/{new.id}", detail=data
    )
    if new.state == "planned":
        await uow.wake("rollout", str(new.id))
