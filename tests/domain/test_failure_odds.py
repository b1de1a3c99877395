"""Failures that come together."""

from __future__ import annotations

import random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.failure_odds import MOST_RHO, FailureOdds, odds_from


def recorded(odds: FailureOdds, rollouts: int, targets: int, seed: int) -> list[tuple[int, int]]:
    dice = random.Random(seed)
    found = []
    for _ in range(rollouts):
        rate = odds.drawn(dice)
        found.append((targets, sum(dice.random() < rate for _ in range(targets))))
    return found


@pytest.mark.parametrize(("rate", "rho"), [(0.05, 0.0), (0.05, 0.3), (0.2, 0.6)])
def test_what_was_drawn_is_found_again(rate: float, rho: float) -> None:
    found = [odds_from(recorded(FailureOdds(rate, rho), 400, 40, seed)) for seed in range(8)]
    assert mean(one.rate for one in found) == pytest.approx(rate, rel=0.15)
    assert mean(one.rho for one in found) == pytest.approx(rho, abs=0.05)


def test_few_rollouts_or_no_failures_say_nothing_of_clusters() -> None:
    assert odds_from([(10, 10), (10, 0)]) == FailureOdds(0.5, 0.0)
    assert odds_from([(10, 0)] * 20) == FailureOdds(0.0, 0.0)
    assert odds_from([]) == FailureOdds()
    assert odds_from([(0, 0)]) == FailureOdds()


@given(
    st.lists(st.integers(1, 50).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=20),
    st.integers(0, 100),
)
def test_odds_are_odds_whatever_is_recorded(rollouts: list[tuple[int, int]], seed: int) -> None:
    odds = odds_from(rollouts)
    assert 0 <= odds.rate <= 1
    assert 0 <= odds.rho <= MOST_RHO
    assert 0 <= odds.drawn(random.Random(seed)) <= 1
