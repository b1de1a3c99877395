from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import InvalidError
from controlplane.domain.fleet_limits import FleetLimits
from controlplane.domain.planner import plan
from controlplane.domain.plans import Plan
from controlplane.domain.quantities import Money
from controlplane.domain.stakes import money_at_risk
from controlplane.domain.targets import PhaseDuration, PlanInputs, TargetFacts
from tests.domain.fleet import inputs, strategy, target

HISTORY: dict[str, Any] = {
    "preflight": PhaseDuration(1, 1),
    "apply": PhaseDuration(1, 1),
    "verify": PhaseDuration(1, 1),
    "detection": PhaseDuration(60, 600),
    "back": PhaseDuration(10, 1200),
}
ALL = {"name": "all", "cut": {"percent": "100%"}}


def shop(name: str, orders: int = 100, value: str = "50.00", currency: str = "EUR", **changes: Any) -> TargetFacts:
    """A shop with this exposure."""
    money = Money(amount=Decimal(value), currency=currency)
    return target(name, orders_per_hour=Decimal(orders), value_per_order=money, **changes)


def made(*targets: TargetFacts, fleet: FleetLimits | None = None, **limits: Any) -> Plan:
    """A plan of one wave under these limits."""
    rules = strategy(ALL, limits={"inFlight": "100%", **limits})
    return plan(inputs(targets, rules, durations=HISTORY, fleet=fleet or FleetLimits()))


def left_out(found: Plan) -> dict[str, str]:
    return {e.tenant: e.code for e in found.excluded}


def asked(one: TargetFacts, **changes: Any) -> PlanInputs:
    return inputs([one], durations=HISTORY, **changes)


def test_money_at_risk_is_exposure_times_value_times_the_time_until_it_is_undone() -> None:
    # 100 orders/h x 50 EUR x (600 s + 1200 s) = 2500 EUR
    assert money_at_risk(shop("a"), asked(shop("a"))) == Decimal("2500.00")


def test_a_target_that_can_not_simply_go_back_counts_the_restore_as_well() -> None:
    fresh = shop("a", base_revision=0, last_verified_revision=0, current_content=None, current_version=None)
    # no history of restores: an hour is assumed, and the plan says so
    assert money_at_risk(fresh, asked(fresh)) == Decimal("7500.00")
    assert "1 targets" in next(n.detail for n in made(fresh, shop("b")).notes if n.code == "restore-assumed")
    # recorded ones count instead: 100 x 50 EUR x (600 + 1200 + 1800 s)
    recorded = {**HISTORY, "restore": PhaseDuration(900, 1800)}
    assert money_at_risk(fresh, inputs([fresh], durations=recorded)) == Decimal("5000.00")
    notes = plan(inputs([fresh], strategy(ALL), durations=recorded)).notes
    assert "restore-assumed" not in {note.code for note in notes}


def test_without_history_the_time_is_assumed_and_the_plan_says_so() -> None:
    found = plan(inputs([shop("a")], strategy(ALL)))
    # apply 10 s + verify 180 s until it is seen, 120 s back
    assert found.waves[0].targets[0].money_at_risk == Decimal("430.56")
    assert "310 s" in next(n.detail for n in found.notes if n.code == "risk-assumed")


def test_money_in_another_currency_is_converted_or_left_out_with_a_note_never_taken_for_zero_silently() -> None:
    found = made(shop("a", currency="USD"), shop("b"), fleet=FleetLimits(rates={"USD": Decimal("0.5")}))
    assert [t.money_at_risk for t in found.targets()] == [Decimal("1250.00"), Decimal("2500.00")]
    assert found.peak.money_at_risk == Money(amount=Decimal("3750.00"), currency="EUR")
    unknown = made(shop("a", currency="USD"), shop("b"))
    assert "USD" in next(n.detail for n in unknown.notes if n.code == "money-not-counted")
    assert left_out(unknown) == {}


@pytest.mark.parametrize("where", ["strategy", "fleet"])
def test_where_money_is_limited_a_target_nobody_can_reckon_stays_out(where: str) -> None:
    cap = {"moneyAtRisk": {"amount": "9000", "currency": "EUR"}} if where == "strategy" else {}
    fleet = FleetLimits(money_at_risk=Decimal(9000)) if where == "fleet" else None
    found = made(shop("a", currency="USD"), shop("b"), fleet=fleet, **cap)
    assert left_out(found) == {"a": "no-rate"}


def test_a_limit_in_a_currency_without_a_rate_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidError, match=r"rates\.USD") as caught:
        made(shop("a"), moneyAtRisk={"amount": "9000", "currency": "USD"})
    assert caught.value.code == "no-rate"


def test_a_limit_in_another_currency_is_resolved_by_the_rate() -> None:
    fleet = FleetLimits(rates={"USD": Decimal("0.5")})
    assert made(shop("a"), fleet=fleet, moneyAtRisk={"amount": "9000", "currency": "USD"}).limits.money_at_risk == 4500


@pytest.mark.parametrize(
    ("limits", "fleet"),
    [
        ({"exposure": 500}, FleetLimits()),
        ({"moneyAtRisk": {"amount": "9000", "currency": "EUR"}}, FleetLimits()),
        ({}, FleetLimits(exposure=500)),
        ({}, FleetLimits(money_at_risk=Decimal(9000))),
    ],
)
def test_a_target_larger_than_a_limit_alone_stays_out_with_what_to_do(limits: Any, fleet: FleetLimits) -> None:
    found = made(shop("large", orders=501), shop("small"), fleet=fleet, **limits)
    assert left_out(found) == {"large": "exceeds-limit"}
    assert "Raise that limit" in found.excluded[0].detail


def test_a_percent_of_exposure_is_of_what_may_go_at_all() -> None:
    found = made(
        shop("a", orders=300), shop("b"), shop("c"), shop("pinned", orders=9999, phase="suspended"), exposure="80%"
    )
    assert found.limits.exposure == 400


def test_pairs_and_brands_are_limited_by_name_and_targets_without_one_are_not() -> None:
    fleet = FleetLimits.model_validate({"regionPairs": {"france": {"regions": ["francecentral", "francesouth"]}}})
    found = made(
        shop("a", labels={"brand": "acme"}),
        shop("b", labels={"brand": "acme"}, region="francesouth"),
        shop("c", region="westeurope"),
        fleet=fleet,
        perRegionPair=1,
        perBrand="50%",
    )
    assert found.limits.per_region_pair == {"france": 1}
    assert found.limits.per_brand == {"acme": 1}
    assert found.peak.in_flight == 2


def test_the_peak_is_bounded_by_what_limits_allow() -> None:
    found = made(*(shop(n) for n in "abcd"), exposure=250, moneyAtRisk={"amount": "6000", "currency": "EUR"})
    assert found.peak.orders_per_hour == 250
    assert found.peak.money_at_risk == Money(amount=Decimal(6000), currency="EUR")


def test_limits_on_what_is_at_stake_change_the_plans_hash() -> None:
    assert made(shop("a")).plan_hash != made(shop("a"), exposure=500).plan_hash


@given(st.integers(0, 10_000), st.decimals(0, 10_000, places=2), st.floats(0, 86_400), st.floats(0, 86_400))
def test_money_at_risk_grows_with_each_factor_and_is_never_rounded_down(
    orders: int, value: Decimal, detection: float, back: float
) -> None:
    times = {**HISTORY, "detection": PhaseDuration(0, detection), "back": PhaseDuration(0, back)}
    one = shop("a", orders, f"{value:.2f}")
    found = money_at_risk(one, inputs([one], durations=times))
    assert found is not None
    exact = Decimal(orders) * value * Decimal(str(round(detection + back, 3))) / 3600
    assert exact <= found < exact + Decimal("0.01") or found == exact == 0
    more = shop("a", orders + 1, f"{value:.2f}")
    assert (money_at_risk(more, inputs([more], durations=times)) or 0) >= found
