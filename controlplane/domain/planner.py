"""The planner: facts and a strategy in, a frozen plan out. Pure: the same facts give the same plan, byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.exclusions import exclusion_of, waits_of, way_back_of
from controlplane.domain.forecast import Clock, WorkTime, longest, peak_of, phases_of, rounds, times, work_time
from controlplane.domain.plan_rules import applied_rules, check_required
from controlplane.domain.plans import (
    Exclusion,
    Note,
    Plan,
    PlannedTarget,
    PlannedWave,
    ResolvedLimits,
    ResolvedSuccess,
    WayBackCounts,
    hash_of,
)
from controlplane.domain.quantities import Limit
from controlplane.domain.ruling import ASK_AGAIN, gates_for
from controlplane.domain.selectors import selector_from
from controlplane.domain.stakes import StakeLimits, stake_limits, stake_notes, too_much_at_stake, with_stakes
from controlplane.domain.strategies import GateSpec, Strategy, Success
from controlplane.domain.targets import PlanInputs, TargetFacts
from controlplane.domain.waves import CutResult, CutWave, cut

_NAMED = 10
"""How many targets an error names, as KubeFleet does."""

_COUNTS = frozenset({"invariants"})
"""Kinds of gate that count each target on its own, once it has settled."""


def plan(inputs: PlanInputs) -> Plan:
    """Make the plan of a rollout.

    Raises InvalidError `selector-matches-nothing`, `unmatched-targets` (the strategy rejects targets that no wave
    takes), `too-many-waves`, `no-rate`, and `strategy-required` (a risk rule wants it done another way). A plan that leaves
    everybody out is a plan, with the reasons; starting it is refused.
    """
    selected = _selected(inputs)
    excluded = {t.key: e for t in selected if (e := exclusion_of(t, inputs)) is not None}
    stakes = stake_limits(inputs, [t for t in selected if t.key not in excluded])
    excluded |= {
        t.key: e for t in selected if t.key not in excluded and (e := too_much_at_stake(t, inputs, stakes)) is not None
    }
    result = cut(inputs.strategy, [t for t in selected if t.key not in excluded])
    for target in result.unmatched:
        excluded[target.key] = _unmatched(target)
    _check_unmatched(inputs, result)
    members = [wave.targets for wave in result.waves]
    limits = _limits(inputs.strategy, [t for wave in members for t in wave], stakes)
    waves = _waves(result.waves, inputs, limits)
    return _assemble(inputs, waves, tuple(excluded[key] for key in sorted(excluded)), limits, result)


def _selected(inputs: PlanInputs) -> list[TargetFacts]:
    selector = selector_from(inputs.selector)
    found = [t for t in inputs.targets if t.environment == inputs.environment and selector.matches(t.all_labels())]
    if len({t.key for t in found}) != len(found):
        raise ValueError("the same target came twice: (tenant, environment) must be unique")
    if not found:
        asked = f"The selector {inputs.selector!r} matches" if inputs.selector else "There is"
        raise InvalidError(
            f"{asked} no tenant with an environment {inputs.environment!r}. See `seawall tenant list -l SELECTOR`.",
            code="selector-matches-nothing",
            errors=[FieldError("/selector", "matches no target")],
        )
    return with_stakes(sorted(found, key=lambda t: t.key), inputs)


def _unmatched(target: TargetFacts) -> Exclusion:
    detail = "No wave of the strategy takes it."
    return Exclusion(tenant=target.tenant, environment=target.environment, code="unmatched", detail=detail)


def _check_unmatched(inputs: PlanInputs, result: CutResult) -> None:
    if not result.unmatched or inputs.strategy.unmatched != "reject":
        return
    names = sorted(t.tenant for t in result.unmatched)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise InvalidError(
        f"No wave of strategy {inputs.strategy_name}@{inputs.strategy_version} takes {', '.join(names[:_NAMED])}{more}. "
        "Widen a wave's cut, narrow the rollout's selector, or set unmatched to last or exclude.",
        code="unmatched-targets",
        errors=[FieldError("/strategy", f"{len(names)} selected targets are in no wave")],
        extra={"unmatched": names[:_NAMED], "count": len(names)},
    )


def _limits(strategy: Strategy, targets: Sequence[TargetFacts], stakes: StakeLimits) -> ResolvedLimits:
    """Turn limits into numbers: percents are of the planned targets, on the cluster or in the region where they say so."""
    limits, total = strategy.limits, max(1, len(targets))

    def each(limit: Limit | None, counts: Counter[str]) -> dict[str, int]:
        return {name: limit.resolve(counts[name]) for name in sorted(counts) if name} if limit else {}

    return ResolvedLimits(
        in_flight=limits.in_flight.resolve(total),
        unverified=limits.unverified.resolve(total) if limits.unverified else total,
        per_cluster=each(limits.per_cluster, Counter(t.cluster for t in targets)),
        per_region=each(limits.per_region, Counter(t.region for t in targets)),
        per_region_pair=each(limits.per_region_pair, Counter(t.region_pair for t in targets)),
        per_brand=each(limits.per_brand, Counter(t.brand for t in targets)),
        exposure=stakes.exposure,
        money_at_risk=stakes.money,
    )


def _bears(limit: Limit | None, size: int) -> int | None:
    return None if limit is None else min(limit.resolve(size, up=True), size)


def resolve_success(success: Success, size: int) -> ResolvedSuccess:
    """Turn a success rule into numbers for a wave of `size`. Without a minimum: all but those that may fail."""
    bears = min(success.max_failures.resolve(size, up=True), size)
    percent = success.min.percent() if success.min else None
    return ResolvedSuccess(
        min=min(success.min.resolve(size), size) if success.min else max(1, size - bears),
        min_percent=f"{percent:f}%" if percent is not None else None,
        max_failures=bears,
        progress_deadline=success.progress_deadline,
        disturbance_limit=success.disturbance_limit,
    )


def _waves(cuts: Sequence[CutWave], inputs: PlanInputs, limits: ResolvedLimits) -> tuple[PlannedWave, ...]:
    database = inputs.release.database if inputs.release else "none"
    work = work_time(database, inputs.durations)
    clock = Clock(_start(inputs), _start(inputs))
    waves = []
    ruled = gates_for(inputs.ruling, [frozenset(t.tenant for t in wave.targets) for wave in cuts])
    for wave, gates in zip(cuts, ruled, strict=True):
        policy, takes = inputs.strategy.windows, longest(work, wave.spec.soak)
        needs = {"wave": times(takes, rounds(wave.targets, limits)), "target": takes, "ignore": timedelta(0)}
        begun = clock.begun(wave.targets, inputs.windows, policy, needs[policy.finish])
        after = begun.after(wave.targets, wave.spec.soak, work, limits)
        after = after.held(wave.targets, inputs.windows, policy, begun, takes)
        planned = _wave(wave, inputs, work, limits, begun.early, after.late)
        again = (ASK_AGAIN,) if inputs.ruling.watched else ()
        added = {"before": _joined(planned.before, gates), "before_each": _joined(planned.before_each, again)}
        waves.append(planned.model_copy(update=added))
        clock = after
    return tuple(waves)


def _joined(own: tuple[GateSpec, ...], more: tuple[GateSpec, ...]) -> tuple[GateSpec, ...]:
    return (*own, *(gate for gate in more if gate not in own))


def _start(inputs: PlanInputs) -> datetime:
    return max(inputs.now, inputs.not_before) if inputs.not_before else inputs.now


def _wave(
    wave: CutWave, inputs: PlanInputs, work: WorkTime, limits: ResolvedLimits, start: datetime, end: datetime
) -> PlannedWave:
    spec = wave.spec
    exposed = timedelta(seconds=work.exposed_p90) + spec.soak.for_
    takes = longest(work, spec.soak)
    return PlannedWave(
        name=wave.name,
        targets=tuple(_target(t, inputs, exposed) for t in wave.targets),
        soak=spec.soak,
        before=spec.before,
        before_each=spec.before_each,
        after=_after(spec.after, inputs.strategy.during),
        success=resolve_success(inputs.strategy.success, len(wave.targets)),
        expected_from=start,
        expected_by=end,
        takes=takes,
        lasts=times(takes, rounds(wave.targets, limits)),
    )


def _after(after: Sequence[GateSpec], during: Sequence[GateSpec]) -> tuple[GateSpec, ...]:
    """The gates after a wave. One that counts each target on its own is asked there too when it stands during the wave: that it passed
    says nothing of targets that settled since.
    """
    return (*after, *(gate for gate in during if _COUNTS & gate.keys() and gate not in after))


def _target(target: TargetFacts, inputs: PlanInputs, exposed: timedelta) -> PlannedTarget:
    return PlannedTarget(
        tenant=target.tenant,
        environment=target.environment,
        cluster=target.cluster,
        region=target.region,
        tier=target.tier,
        from_version=target.current_version,
        base_revision=target.base_revision,
        content=target.desired_content or "",
        orders_per_hour=target.orders_per_hour,
        money_at_risk=target.money_at_risk,
        brand=target.brand,
        region_pair=target.region_pair,
        way_back=way_back_of(target, inputs, exposed),
    )


def _assemble(
    inputs: PlanInputs,
    waves: tuple[PlannedWave, ...],
    excluded: tuple[Exclusion, ...],
    limits: ResolvedLimits,
    result: CutResult,
) -> Plan:
    strategy, release = inputs.strategy, inputs.release
    version, digest = (release.version, release.digest) if release else (None, None)
    check_required(inputs.ruling, inputs.strategy_name, waves, limits)
    targets = [t for wave in waves for t in wave.targets]
    planned = [t for wave in result.waves for t in wave.targets]
    return Plan(
        kind=inputs.kind,
        app=inputs.app,
        environment=inputs.environment,
        release=version,
        digest=digest,
        selector=inputs.selector,
        strategy=f"{inputs.strategy_name}@{inputs.strategy_version}",
        made_at=inputs.now,
        not_before=inputs.not_before,
        waves=waves,
        excluded=excluded,
        waiting_for=tuple(w for t in planned for w in waits_of(t, inputs)),
        limits=limits,
        during=strategy.during,
        windows=strategy.windows,
        on_failure=strategy.on_failure,
        max_failures=_bears(strategy.on_failure.max_failures, len(targets)),
        when_busy=strategy.when_busy,
        blame=strategy.blame,
        from_versions=dict(sorted(Counter(t.from_version or "none" for t in targets).items())),
        way_back=_way_backs(targets),
        peak=peak_of([wave.targets for wave in result.waves], limits, inputs.fleet.currency),
        notes=(*_notes(inputs, result, targets), *stake_notes(inputs, planned)),
        rules=applied_rules(inputs.ruling),
        plan_hash=hash_of(
            kind=inputs.kind,
            release=version,
            digest=digest,
            waves=waves,
            limits=limits,
            during=strategy.during,
            windows=strategy.windows,
            on_failure=strategy.on_failure,
            rules=inputs.ruling.refs,
            blame=strategy.blame,
        ),
    )


def _way_backs(targets: Sequence[PlannedTarget]) -> WayBackCounts:
    counts = Counter(t.way_back.kind for t in targets)
    return WayBackCounts(reapply=counts["reapply"], restore=counts["restore"], none=counts["none"])


def _notes(inputs: PlanInputs, result: CutResult, targets: Sequence[PlannedTarget]) -> tuple[Note, ...]:
    found = [
        Note(code="empty-wave", detail=f"Wave {name} takes none of these targets; its gates don't apply.")
        for name in result.empty
    ]
    database = inputs.release.database if inputs.release else "none"
    assumed = [phase for phase in phases_of(database) if phase not in inputs.durations]
    if assumed:
        detail = f"No history for {', '.join(assumed)}: the expected times rest on assumptions."
        found.append(Note(code="times-assumed", detail=detail))
    giving_up = sum(1 for t in targets if t.gives_up)
    if giving_up and inputs.kind != "rollback":
        detail = f"{giving_up} targets can't go back to what they run; starting needs acceptNoWayBack with a reason."
        found.append(Note(code="no-way-back", detail=detail))
    return tuple(found)
