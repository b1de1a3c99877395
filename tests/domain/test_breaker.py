from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.breaker import Share, Signs, after_probe, after_quiet, burn_rate, trips, windows_of
from controlplane.domain.exposure import Budget, Candidate, grant
from controlplane.domain.fleet_limits import BreakerSpec
from controlplane.domain.rollouts import TargetState

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def spec(**changes: Any) -> BreakerSpec:
    return BreakerSpec.model_validate({"atLeast": 3, **changes})


def opened(rules: BreakerSpec, **signs: Any) -> dict[str, str]:
    return {trip.scope: trip.code for trip in trips(rules, Signs(**signs))}


def test_an_unhealthy_share_opens_the_fleets_breaker() -> None:
    clusters = {"aks-1": Share(2, 10), "aks-2": Share(1, 2)}
    assert opened(spec(unhealthy="25%"), clusters=clusters) == {"fleet/inFlight": "unhealthy-share"}
    assert opened(spec(unhealthy="26%"), clusters=clusters) == {}


def test_an_unhealthy_cluster_opens_its_own_and_leaves_the_fleet() -> None:
    clusters = {"aks-1": Share(5, 10), "aks-2": Share(0, 90)}
    assert opened(spec(), clusters=clusters) == {"cluster:aks-1/inFlight": "unhealthy-share"}


def test_a_large_share_of_a_small_fleet_opens_nothing_below_the_least_number() -> None:
    assert opened(spec(), clusters={"aks-1": Share(2, 2)}) == {}


def test_an_empty_fleet_opens_nothing() -> None:
    assert opened(spec(), clusters={}) == {}
    assert opened(spec(), clusters={"aks-1": Share(0, 0)}) == {}


def test_so_many_failures_within_a_time_open_it_and_the_sentence_says_which() -> None:
    rules = spec(failures={"count": 5, "within": "PT30M"})
    assert opened(rules, failed=4) == {}
    (trip,) = trips(rules, Signs(failed=5))
    assert (trip.code, "5 targets of all rollouts failed within PT30M, the limit is 5") == (trip.code, trip.reason)
    assert trip.code == "failures"


@pytest.mark.parametrize(
    ("long", "short", "opens"),
    [
        (Share(15, 100), Share(15, 100), True),
        (Share(15, 100), Share(0, 20), False),
        (Share(1, 100), Share(5, 5), False),
        (Share(9, 9), Share(9, 9), False),
        (Share(), Share(), False),
    ],
    ids=["both windows burn", "it is over already", "too little to matter", "too few changes", "no change at all"],
)
def test_it_opens_on_a_burn_rate_only_when_both_windows_burn_and_enough_happened(
    long: Share, short: Share, opens: bool
) -> None:
    rules = spec(burn={"allowed": "1%", "rate": "14.4"})
    assert opened(rules, long=long, short=short) == ({"fleet/inFlight": "burn-rate"} if opens else {})


def test_a_burn_rate_of_one_is_exactly_what_is_allowed() -> None:
    assert burn_rate(Share(2, 100), "2%") == 1


def test_windows_are_looked_at_only_where_a_rule_asks() -> None:
    assert not any(vars_of(windows_of(spec())))
    asked = windows_of(spec(failures={"count": 1, "within": "PT2H"}, burn={}))
    assert vars_of(asked) == [timedelta(hours=2), timedelta(hours=1), timedelta(minutes=5)]


def vars_of(windows: Any) -> list[timedelta]:
    return [windows.failures, windows.long, windows.short]


def test_it_tries_again_after_a_quiet_time_only_if_one_is_named() -> None:
    rules = spec(quiet="PT10M")
    assert not after_quiet(rules, "open", NOW, NOW + timedelta(minutes=9))
    assert after_quiet(rules, "open", NOW, NOW + timedelta(minutes=10))
    assert not after_quiet(rules, "probing", NOW, NOW + timedelta(days=1))
    assert not after_quiet(spec(), "open", NOW, NOW + timedelta(days=365))


def test_only_a_verified_probe_closes_it_and_one_that_was_not_tried_proves_nothing() -> None:
    assert after_probe(TargetState.VERIFIED) == ""
    for state in (TargetState.FAILED, TargetState.ROLLING_BACK, TargetState.ROLLED_BACK, TargetState.STUCK):
        assert after_probe(state) == "open"
    for gone in (TargetState.SKIPPED, TargetState.CANCELLED, TargetState.DEFERRED, TargetState.PENDING, None):
        assert after_probe(gone) == "halfOpen"
    for going in (TargetState.APPLY, TargetState.VERIFY, TargetState.SOAK, TargetState.MIGRATE):
        assert after_probe(going) is None


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=12),
    st.sampled_from(["", "open", "halfOpen", "probing"]),
    st.integers(0, 6),
)
def test_half_open_lets_exactly_one_through_and_open_nobody(amounts: list[int], state: Any, room: int) -> None:
    budgets = {"fleet": Budget(10 + room, 10, breaker=state)}
    found = grant([Candidate(n, {"fleet": amount}) for n, amount in enumerate(amounts)], budgets)
    if state in ("open", "probing"):
        assert not found.granted
        assert {r.why for r in found.refused} == {"tripped"}
    if state == "halfOpen":
        assert len(found.granted) <= 1
        assert (len(found.granted) == 1) == (amounts[0] <= room)
    assert sum(found.reserve.values()) <= room
    assert all(isinstance(v, int | Decimal) for v in found.reserve.values())
