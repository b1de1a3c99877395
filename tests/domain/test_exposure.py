from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.exposure import (
    Amount,
    Budget,
    Candidate,
    EndState,
    Grants,
    caps_for,
    default_rollback_cap,
    given_back,
    grant,
    reservations_for,
    rollback_reservations_for,
)
from controlplane.domain.fleet_limits import FleetLimits, RegionPair
from controlplane.domain.ledger_check import LedgerEntry, check_ledger
from controlplane.domain.planner import plan
from controlplane.domain.plans import ResolvedLimits
from controlplane.domain.quantities import Money
from tests.domain.fleet import fleet, inputs, strategy, target

LIMITS = ResolvedLimits(in_flight=4, unverified=10, per_cluster={"aks-1": 2}, per_region={"francecentral": 3})


def test_a_target_takes_one_of_each_scope_in_lock_order() -> None:
    taken = reservations_for(target("shop"), "r1", LIMITS)
    assert list(taken) == [
        "cluster:aks-1/inFlight",
        "fleet/inFlight",
        "fleet/unverified",
        "region:francecentral/inFlight",
        "rollout:r1/cluster:aks-1/inFlight",
        "rollout:r1/inFlight",
        "rollout:r1/region:francecentral/inFlight",
        "rollout:r1/unverified",
    ]
    assert set(taken.values()) == {1}


def test_scopes_without_a_limit_of_the_rollout_are_not_taken() -> None:
    taken = reservations_for(target("shop", cluster="aks-2", region="other"), "r1", LIMITS)
    assert not [scope for scope in taken if scope.startswith(("rollout:r1/cluster", "rollout:r1/region"))]


def test_a_target_takes_what_it_has_at_stake_of_its_brand_and_its_pair() -> None:
    shop = target(
        "shop",
        labels={"brand": "acme"},
        region_pair="france",
        orders_per_hour=Decimal(420),
        money_at_risk=Decimal("1250.50"),
    )
    limits = LIMITS.model_copy(
        update={
            "per_brand": {"acme": 1},
            "per_region_pair": {"france": 2},
            "exposure": 900,
            "money_at_risk": Decimal(5000),
        }
    )
    taken = reservations_for(shop, "r1", limits)
    at_stake = {s: amount for s, amount in taken.items() if amount != 1}
    assert at_stake == {
        "fleet/exposure": 420,
        "fleet/moneyAtRisk": Decimal("1250.50"),
        "rollout:r1/exposure": 420,
        "rollout:r1/moneyAtRisk": Decimal("1250.50"),
    }
    named = {s for s in taken if "acme" in s or "france/" in s}
    assert named == {
        "brand:acme/inFlight",
        "pair:france/inFlight",
        "rollout:r1/brand:acme/inFlight",
        "rollout:r1/pair:france/inFlight",
    }
    assert list(taken) == sorted(taken)
    assert taken.keys() >= caps_for("r1", limits).keys()
    assert caps_for("r1", limits)["rollout:r1/moneyAtRisk"] == 5000


def test_what_was_taken_is_given_back_whatever_became_of_the_exposure_meanwhile() -> None:
    taken = reservations_for(target("shop", orders_per_hour=Decimal(420)), "r1", LIMITS)
    assert given_back(taken, "verified")["fleet/exposure"] == 420
    assert "fleet/exposure" in given_back(taken, "stuck")


def test_one_larger_than_the_whole_cap_holds_nobody_up() -> None:
    rows = wants(("huge", {"exposure": Decimal(101)}), ("small", {"exposure": Decimal(50)}))
    found = grant(rows, {"exposure": Budget(Decimal(100))})
    assert found.granted == ("small",)
    assert [(r.key, r.why) for r in found.refused] == [("huge", "never")]


def test_a_rollout_brings_its_own_caps() -> None:
    assert caps_for("r1", LIMITS) == {
        "rollout:r1/cluster:aks-1/inFlight": 2,
        "rollout:r1/inFlight": 4,
        "rollout:r1/region:francecentral/inFlight": 3,
        "rollout:r1/unverified": 10,
    }


def test_ways_back_have_their_own_budget_never_shared_with_forward_work() -> None:
    back = rollback_reservations_for(target("shop"), "pg-1")
    assert list(back) == ["cluster:aks-1/rollback", "database:pg-1/rollback"]
    assert not back.keys() & reservations_for(target("shop"), "r1", LIMITS).keys()


@pytest.mark.parametrize(("tenants", "cap"), [(1, 1), (3, 1), (6, 1), (7, 2), (100, 33)])
def test_a_third_of_a_clusters_tenants_may_go_back_at_once_and_at_least_one(tenants: int, cap: int) -> None:
    assert default_rollback_cap(tenants) == cap


@pytest.mark.parametrize("state", ["verified", "rolledBack", "skipped", "cancelled", "deferred"])
def test_a_settled_target_gives_back_exactly_what_it_took(state: EndState) -> None:
    taken = reservations_for(target("shop"), "r1", LIMITS)
    assert given_back(taken, state) == taken


def test_a_stuck_target_leaves_in_flight_and_stays_unverified() -> None:
    taken = reservations_for(target("shop"), "r1", LIMITS)
    kept = taken.keys() - given_back(taken, "stuck").keys()
    assert kept == {"fleet/unverified", "rollout:r1/unverified"}


def budgets(**caps: Amount | None) -> dict[str, Budget]:
    return {scope: Budget(cap) for scope, cap in caps.items()}


def wants(*rows: tuple[str, Mapping[str, Amount]]) -> list[Candidate[str]]:
    return [Candidate(key, needs) for key, needs in rows]


def test_places_go_to_the_first_in_order() -> None:
    found = grant(wants(*((name, {"fleet": 1}) for name in "abcd")), budgets(fleet=2))
    assert found.granted == ("a", "b")
    assert [(r.key, r.scope, r.why) for r in found.refused] == [("c", "fleet", "full"), ("d", "fleet", "full")]
    assert found.reserve == {"fleet": 2}


def test_a_full_cluster_does_not_hold_up_the_others() -> None:
    rows = wants(("a", {"c1": 1, "fleet": 1}), ("b", {"c1": 1, "fleet": 1}), ("c", {"c2": 1, "fleet": 1}))
    found = grant(rows, budgets(c1=1, c2=1, fleet=9))
    assert found.granted == ("a", "c")
    assert found.refused[0].scope == "c1"


def test_nobody_overtakes_on_the_scope_somebody_waits_for() -> None:
    rows = wants(("large", {"exposure": Decimal(60)}), ("small", {"exposure": Decimal(1)}))
    found = grant(rows, {"exposure": Budget(Decimal(100), Decimal(50))})
    assert found.granted == ()
    assert [r.key for r in found.refused] == ["large", "small"]


def test_a_closed_budget_refuses_everybody_even_without_a_cap() -> None:
    found = grant(wants(("a", {"fleet": 1})), {"fleet": Budget(None, closed=True)})
    assert [(r.scope, r.why) for r in found.refused] == [("fleet", "closed")]


def test_a_lowered_cap_only_stops_new_grants() -> None:
    assert grant(wants(("a", {"fleet": 1})), {"fleet": Budget(2, reserved=5)}).granted == ()
    assert grant(wants(("a", {"fleet": 1})), {"fleet": Budget(6, reserved=5)}).granted == ("a",)


def test_a_full_shared_scope_ends_the_pass() -> None:
    seen = []

    def rows() -> Any:
        for n in range(1000):
            seen.append(n)
            yield Candidate(n, {"fleet": 1})

    found: Grants[int] = grant(rows(), budgets(fleet=3), shared={"fleet"})
    assert found.stopped_by == "fleet"
    assert found.granted == (0, 1, 2)
    assert len(seen) == 4


def test_a_missing_budget_row_is_not_taken_for_no_limit() -> None:
    with pytest.raises(LookupError, match="no budget row for scope 'fleet'"):
        grant(wants(("a", {"fleet": 1})), {})


class Schedule:
    """A random life of a rollout on the pure budgets, written to a ledger as the database would."""

    def __init__(self, size: int, rules: dict[str, Any], fleet_cap: int | None) -> None:
        targets = [
            replace(t, value_per_order=Money(amount=Decimal(20), currency="EUR"), labels={"brand": f"b{n % 3}"})
            for n, t in enumerate(fleet(size))
        ]
        pair = RegionPair(regions=("region-0", "region-1"))
        limits = FleetLimits(region_pairs={"both": pair})
        self.plan = plan(inputs(targets, strategy(limits=rules), fleet=limits))
        self.budgets = {scope: Budget(cap) for scope, cap in caps_for("r1", self.plan.limits).items()}
        self.needs = {t.key: reservations_for(t, "r1", self.plan.limits) for t in self.plan.targets()}
        for scope in {s for needs in self.needs.values() for s in needs} - self.budgets.keys():
            self.budgets[scope] = Budget(fleet_cap if scope == "fleet/inFlight" else None)
        self.pending = list(self.needs)
        self.held: dict[tuple[str, str], dict[str, Amount]] = {}
        self.ledger: list[LedgerEntry] = []
        self.peak: dict[str, Amount] = {}
        for scope, budget in self.budgets.items():
            self.write("cap", scope, budget.cap)

    def write(self, action: Any, scope: str, amount: Amount | None = None, holder: str = "") -> None:
        self.ledger.append(LedgerEntry(len(self.ledger), action, scope, amount, holder))

    def dispatch(self) -> None:
        found = grant([Candidate(k, self.needs[k]) for k in self.pending], self.budgets)
        for key in found.granted:
            self.pending.remove(key)
            self.held[key] = {**self.needs[key]}
            for scope, amount in self.needs[key].items():
                self.write("take", scope, amount, key[0])
        for scope, total in found.reserve.items():
            self.change(scope, total)

    def change(self, scope: str, amount: Amount) -> None:
        old = self.budgets[scope]
        self.budgets[scope] = Budget(old.cap, old.reserved + amount, old.closed)
        self.peak[scope] = max(self.peak.get(scope, 0), old.reserved + amount)

    def end(self, index: int, state: EndState) -> None:
        if not self.held:
            return
        key = sorted(self.held)[index % len(self.held)]
        back = given_back(self.held[key], state)
        for scope, amount in back.items():
            del self.held[key][scope]
            self.write("give", scope, amount, key[0])
            self.change(scope, -amount)
        if not self.held[key] or state == "stuck":
            del self.held[key]

    def set_row(self, scope: str, *, cap: int | None = None, closed: bool = False) -> None:
        old = self.budgets[scope]
        self.budgets[scope] = Budget(cap if cap is not None else old.cap, old.reserved, closed)
        self.write("cap", scope, self.budgets[scope].cap)
        self.write("close" if closed else "open", scope)


STEPS = st.one_of(
    st.just(("dispatch",)),
    st.tuples(st.just("end"), st.integers(0, 99), st.sampled_from(["verified", "rolledBack", "stuck", "skipped"])),
    st.tuples(
        st.just("cap"),
        st.sampled_from(
            [
                "fleet/inFlight",
                "rollout:r1/inFlight",
                "cluster:aks-0/inFlight",
                "fleet/exposure",
                "fleet/moneyAtRisk",
                "pair:both/inFlight",
                "brand:b1/inFlight",
            ]
        ),
        st.integers(0, 300),
    ),
    st.tuples(st.just("freeze"), st.sampled_from(["fleet/inFlight", "region:region-0/inFlight"]), st.booleans()),
)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(1, 40),
    st.fixed_dictionaries(
        {"inFlight": st.sampled_from([3, "10%", "40%", ["50%", 6]])},
        optional={
            "unverified": st.sampled_from([5, "25%"]),
            "perCluster": st.integers(1, 4),
            "perRegion": st.integers(1, 6),
            "perRegionPair": st.integers(1, 6),
            "perBrand": st.sampled_from([1, "50%"]),
            "exposure": st.sampled_from([100, 250, "40%"]),
            "moneyAtRisk": st.sampled_from(
                [{"amount": "120", "currency": "EUR"}, {"amount": "900.5", "currency": "EUR"}]
            ),
        },
    ),
    st.one_of(st.none(), st.integers(1, 20)),
    st.lists(STEPS, max_size=40),
)
def test_no_schedule_of_grants_ends_freezes_and_lowered_caps_passes_a_cap(
    size: int, rules: dict[str, Any], fleet_cap: int | None, steps: list[tuple[Any, ...]]
) -> None:
    run = Schedule(size, rules, fleet_cap)
    run.dispatch()
    for step in steps:
        match step:
            case ("end", index, state):
                run.end(index, state)
            case ("cap", scope, cap) if scope in run.budgets:
                run.set_row(scope, cap=cap)
            case ("freeze", scope, closed) if scope in run.budgets:
                run.set_row(scope, closed=closed)
            case _:
                run.dispatch()
    assert check_ledger(run.ledger, {scope: b.reserved for scope, b in run.budgets.items()}) == ()


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4))
def test_a_rollout_left_alone_starts_every_target_once_and_uses_all_places_it_may(
    size: int, width: int, each: int
) -> None:
    run = Schedule(size, {"inFlight": width, "perCluster": each}, None)
    started = 0
    for _ in range(size):
        run.dispatch()
        started += len(run.held)
        for _ in range(len(run.held)):
            run.end(0, "verified")
    assert not run.pending
    assert started == size
    assert all(b.reserved == 0 for b in run.budgets.values())
    on_clusters = Counter(t.cluster for t in run.plan.targets())
    assert run.peak["rollout:r1/inFlight"] == min(width, sum(min(each, n) for n in on_clusters.values()))
