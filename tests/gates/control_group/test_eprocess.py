"""The e-process against independent computations, and what it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from savvi.multinomial import Multinomial
from scipy.integrate import quad
from scipy.stats import beta, binom, norm

from controlplane.gates.control_group.eprocess import FIXED, SPEEDS, EProcess, Harm, rouwenhorst, smallest

CERTAIN = 1e-9
"""A drift so small that there is none."""


def test_without_drift_the_e_value_of_a_look_has_mean_one() -> None:
    share = 0.1
    mean = 0.0
    for treated in range(13):
        process = EProcess(FIXED, Harm.spread())
        process.count(treated, 12 - treated, math.log(share / (1 - share)), CERTAIN, 300)
        mean += float(binom.pmf(treated, 12, share)) * math.exp(float(process.log_e))
    assert mean == pytest.approx(1.0, abs=1e-9)


def test_it_agrees_with_an_independent_implementation_of_the_multinomial_test() -> None:
    share, k = 0.125, 40.0
    p = np.linspace(0.0005, 0.9995, 2000)
    weight = beta.pdf(p, k * share, k * (1 - share))
    log_odds = math.log(share / (1 - share))
    harm = Harm(np.log(p / (1 - p)) - log_odds, weight / weight.sum())
    ours, theirs = EProcess(FIXED, harm), Multinomial(0.01, np.array([share, 1 - share]), k=k)
    for look in ([3, 9], [5, 12], [2, 20], [9, 11]):
        ours.count(look[0], look[1], log_odds, CERTAIN, 300)
        theirs.update(np.array(look))
        assert float(ours.log_e) == pytest.approx(math.log(theirs.odds), abs=2e-3)


def test_with_drift_it_agrees_with_numerical_integration() -> None:
    treated, control, log_odds, s = 24, 150, math.log(0.1 / 0.9), 0.25
    harm = Harm(np.array([math.log(2.0)]), np.array([1.0]))

    def marginal(theta: float) -> float:
        def integrand(d: float) -> float:
            share = 1 / (1 + math.exp(-(log_odds + theta + d)))
            return float(binom.pmf(treated, treated + control, share) * norm.pdf(d, 0, s))

        return float(quad(integrand, -2, 2, epsabs=1e-14, limit=200)[0])

    process = EProcess(FIXED, harm)
    process.count(treated, control, log_odds, s, 300)
    assert float(process.log_e) == pytest.approx(math.log(marginal(math.log(2.0)) / marginal(0.0)), abs=0.05)


@pytest.mark.parametrize("rho", [0.2, 0.92, 1.0])
def test_the_grid_has_the_drift_s_variance_and_autocorrelation(rho: float) -> None:
    step, stationary = rouwenhorst(rho)
    z = np.linspace(-math.sqrt(30), math.sqrt(30), 31)
    assert stationary @ step == pytest.approx(stationary)
    assert float(stationary @ z**2) == pytest.approx(1.0)
    assert float((stationary * z) @ step @ z) == pytest.approx(rho)


def test_a_shock_that_hits_both_sides_is_no_evidence_of_harm_however_large() -> None:
    processes = [EProcess(tau, Harm.spread()) for tau in SPEEDS]
    for process in processes:
        for _ in range(20):
            process.count(50, 450, math.log(0.1 / 0.9), 0.05, 300)
    assert float(smallest(processes)) < 0


def test_a_doubled_rate_of_the_treated_is_proven_within_half_an_hour() -> None:
    processes = [EProcess(tau, Harm.spread()) for tau in SPEEDS]
    for process in processes:
        for _ in range(6):
            process.count(20, 90, math.log(0.1 / 0.9), 0.05, 300)
    assert float(smallest(processes)) > math.log(100)


def test_what_drift_explains_is_no_proof_however_long_it_lasts() -> None:
    process = EProcess(FIXED, Harm.spread())
    for _ in range(400):
        process.count(13, 90, math.log(0.1 / 0.9), 0.3, 300)
    assert float(process.log_e) < math.log(100)


def test_it_measures_differences_of_durations_the_same_way() -> None:
    slow, same = EProcess(FIXED, Harm.spread()), EProcess(FIXED, Harm.spread())
    for _ in range(12):
        slow.measure(math.log(2.0), 0.3, 0.1, 300)
        same.measure(0.0, 0.3, 0.1, 300)
    assert float(slow.log_e) > math.log(100)
    assert float(same.log_e) < math.log(0.05)
