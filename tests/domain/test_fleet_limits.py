from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.errors import InvalidError
from controlplane.domain.fleet_limits import FleetLimits, FleetSize, check_name
from controlplane.domain.quantities import Money

PAIR = {"france": {"regions": ["francecentral", "francesouth"], "inFlight": 10}}


def limits(**spec: Any) -> FleetLimits:
    return FleetLimits.model_validate(spec)


def test_nothing_is_capped_until_somebody_says_so() -> None:
    assert limits().caps(FleetSize()) == {}
    assert limits().breaker.at_least == 10


def test_every_cap_is_a_budget_in_lock_order() -> None:
    found = limits(
        inFlight=50,
        unverified=200,
        exposure=20000,
        moneyAtRisk="50000.00",
        clusters={"aks-1": {"inFlight": 20, "rollback": 5}, "aks-2": {}},
        regions={"westeurope": 30},
        regionPairs=PAIR,
        brands={"acme": 4},
    ).caps(FleetSize())
    assert found == {
        "brand:acme/inFlight": 4,
        "cluster:aks-1/inFlight": 20,
        "cluster:aks-1/rollback": 5,
        "fleet/exposure": 20000,
        "fleet/inFlight": 50,
        "fleet/moneyAtRisk": Decimal("50000.00"),
        "fleet/unverified": 200,
        "pair:france/inFlight": 10,
        "region:westeurope/inFlight": 30,
    }
    assert list(found) == sorted(found)


SIZE = FleetSize(80, {"aks-1": 50}, {"francecentral": 30, "francesouth": 11, "westeurope": 39}, {"acme": 9})


def test_a_percent_is_of_the_environments_that_the_budget_is_about_rounded_down_and_at_least_one() -> None:
    found = limits(
        inFlight="10%",
        unverified=["25%", 15],
        clusters={"aks-1": {"inFlight": "5%", "rollback": "50%"}, "aks-9": {"inFlight": "50%"}},
        regions={"westeurope": "50%"},
        regionPairs={"france": {**PAIR["france"], "inFlight": "10%"}},
        brands={"acme": "5%"},
    )
    assert found.follows_the_fleet()
    assert found.caps(SIZE) == {
        "brand:acme/inFlight": 1,
        "cluster:aks-1/inFlight": 2,
        "cluster:aks-1/rollback": 25,
        "cluster:aks-9/inFlight": 1,
        "fleet/inFlight": 8,
        "fleet/unverified": 15,
        "pair:france/inFlight": 4,
        "region:westeurope/inFlight": 19,
    }
    assert (found.rollback_cap("aks-1", 50), found.rollback_cap("aks-9", 50), found.rollback_cap("else", 9)) == (
        25,
        None,
        None,
    )
    assert not limits(inFlight=3, moneyAtRisk="5").follows_the_fleet()


def test_a_pair_is_found_by_either_region() -> None:
    spec = limits(regionPairs=PAIR)
    assert [spec.pair_of(r) for r in ("francecentral", "francesouth", "westeurope")] == ["france", "france", ""]


def test_money_is_converted_by_a_rate_and_unknown_without_one() -> None:
    spec = limits(currency="EUR", rates={"USD": "0.92"})
    assert spec.converted(Money(amount=Decimal(10), currency="EUR")) == 10
    assert spec.converted(Money(amount=Decimal(10), currency="USD")) == Decimal("9.20")
    assert spec.converted(Money(amount=Decimal(10), currency="GBP")) is None


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"inFlight": 0}, "greater than or equal to 1"),
        ({"clusters": {"aks-1": {"inFlight": 0}}}, "greater than or equal to 1"),
        ({"moneyAtRisk": "0"}, "greater than 0"),
        ({"moneyAtRisk": 50000}, "decimal string"),
        ({"rates": {"USD": "0"}}, "greater than 0"),
        ({"rates": {"usd": "1"}}, "pattern"),
        ({"rates": {"EUR": "1"}}, "needs no rate"),
        ({"regionPairs": {"a": {"regions": ["x", "x"]}}}, "two different regions"),
        ({"regionPairs": {"a": {"regions": ["x", "y"]}, "b": {"regions": ["y", "z"]}}}, "belongs to one pair"),
        ({"regionPairs": {"a": {"regions": ["x"]}}}, "at least 2"),
        ({"breaker": {"unhealthy": "0%"}}, "0%"),
        ({"breaker": {"burn": {"rate": "0.5"}}}, "greater than or equal to 1"),
        ({"inFlight": "0%"}, "0%"),
        ({"inFlight": ["10%", 0]}, "greater than or equal to 1"),
        ({"inFlight": "110%"}, "above 100%"),
        ({"inFlight": []}, "empty list"),
        ({"exposure": "10%"}, "integer"),
        ({"inflight": 3}, "Extra"),
    ],
)
def test_what_would_stop_everything_or_means_nothing_is_refused(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        limits(**spec)


def test_only_limits_named_fleet_are_obeyed_so_others_are_refused() -> None:
    check_name("fleet")
    with pytest.raises(InvalidError, match="named 'prod'") as caught:
        check_name("prod")
    assert caught.value.code == "invalid-limits"
