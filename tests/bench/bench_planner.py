"""The pure planner and the pure budgets: plan, freeze, read back, compare, grant; CPU time, no database."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from controlplane.domain.exposure import Budget, Candidate, caps_for, grant, reservations_for, rollout_scope
from controlplane.domain.fleet_limits import FleetLimits
from controlplane.domain.names import digest_of
from controlplane.domain.plan_changes import difference
from controlplane.domain.planner import plan
from controlplane.domain.plans import Plan
from controlplane.domain.quantities import Money
from controlplane.domain.targets import PlanInputs, ReleaseFacts
from tests.bench.rows import Row, cpu_seconds, row
from tests.domain.fleet import fleet, inputs, strategy, wave

SIZE = 10_000
ROLLOUTS = 50


def _inputs(size: int) -> PlanInputs:
    rules = strategy(
        wave("pilot", selector="ring=pilot"),
        wave("grow", growth={"first": 5, "factor": 3, "stratifyBy": ["region", "tier"]}),
        limits={
            "inFlight": ["10%", 200],
            "unverified": "25%",
            "perCluster": 50,
            "perRegionPair": 150,
            "perBrand": "50%",
            "exposure": "20%",
            "moneyAtRisk": {"amount": "1000000", "currency": "EUR"},
        },
    )
    limits = FleetLimits.model_validate(
        {"regionPairs": {"both": {"regions": ["region-0", "region-1"]}}, "moneyAtRisk": "9000000"}
    )
    money = Money(amount=Decimal("61.50"), currency="EUR")
    targets = [
        replace(facts, value_per_order=money, labels={**facts.labels, "brand": f"b{n % 7}"})
        for n, facts in enumerate(fleet(size))
    ]
    release = ReleaseFacts("odoo", "17.0.4", digest_of("17.0.4"), ">=17.0.2")
    return inputs(targets, rules, release=release, fleet=limits)


def measure() -> list[Row]:
    """Measure at 10,000 targets, and what a target costs there against 1,000."""
    large, small = _inputs(SIZE), _inputs(SIZE // 10)
    planned = cpu_seconds(lambda: plan(large), 7)
    frozen = plan(large)
    stored = frozen.model_dump_json()
    changed = cpu_seconds(lambda: difference(frozen, frozen), 7)
    what = (
        f"{SIZE} targets, 4 clusters, 3 tiers, 7 brands, exposure and money, selector and stratified growth, CPU time"
    )
    per_target = cpu_seconds(lambda: plan(small), 21)
    return [
        row("plan 10,000 targets", planned, scale=1e3, unit="ms", at_most=1000, conditions=what),
        row("plan 1,000 targets", per_target, scale=1e3, unit="ms", at_most=None, conditions="as above"),
        row(
            "freeze a plan to JSON",
            cpu_seconds(frozen.model_dump_json, 7),
            scale=1e3,
            unit="ms",
            at_most=None,
            conditions=what,
        ),
        row(
            "read a frozen plan",
            cpu_seconds(lambda: Plan.model_validate_json(stored), 7),
            scale=1e3,
            unit="ms",
            at_most=None,
            conditions=what,
        ),
        row("compare two plans", changed, scale=1e3, unit="ms", at_most=None, conditions=what),
        _grants(frozen),
    ]


def _grants(frozen: Plan) -> Row:
    """One dispatch decision of a rollout of 10,000 pending targets among 50 rollouts, 20 places free."""
    budgets = {scope: Budget(cap) for n in range(ROLLOUTS) for scope, cap in caps_for(f"r{n}", frozen.limits).items()}
    targets = frozen.targets()
    for target in targets:
        for scope in reservations_for(target, "r0", frozen.limits):
            budgets.setdefault(scope, Budget(None))
    mine = rollout_scope("r0")
    budgets[mine] = Budget(frozen.limits.in_flight, frozen.limits.in_flight - 20)

    def decide() -> None:
        candidates = (Candidate(t.key, reservations_for(t, "r0", frozen.limits)) for t in targets)
        found = grant(candidates, budgets, shared={mine})
        assert len(found.granted) == 20

    scopes = len(reservations_for(targets[-1], "r0", frozen.limits))
    conditions = (
        f"{SIZE} pending targets, {ROLLOUTS} rollouts, 20 of {frozen.limits.in_flight} places free, "
        f"{scopes} budgets for each target (exposure and money among them), CPU time"
    )
    return row("dispatch decision", cpu_seconds(decide, 51), scale=1e3, unit="ms", at_most=1, conditions=conditions)
