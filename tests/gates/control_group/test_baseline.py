"""What history lets expect, learnt from fleets whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controlplane.gates.control_group.baseline import baseline_of, hours_of_week, within_period
from controlplane.gates.control_group.durations import duration_baseline_of

HOURS = hours_of_week(np.arange(168) * 3600)


def fleet(drift: float, tenants: int = 40, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rates = 0.01 * rng.lognormal(0, 0.3, tenants)
    volume = rng.poisson(720, (tenants, 168)).astype(np.float64)
    season = 1 + 0.5 * np.sin(2 * math.pi * np.arange(168) / 24)
    bad = rng.poisson(volume * rates[:, None] * season * np.exp(rng.normal(0, drift, volume.shape))).astype(np.float64)
    return bad, volume, rates


def test_rates_and_hours_are_those_of_each_tenant() -> None:
    bad, volume, rates = fleet(0.0)
    base = baseline_of(bad, volume, HOURS)
    assert np.abs(np.log(base.rate / rates)).mean() < 0.05
    assert float(base.profile[0, 6] / base.profile[0, 18]) == pytest.approx(3.0, rel=0.25)


@pytest.mark.parametrize("drift", [0.15, 0.3])
def test_drift_is_found_and_rather_over_than_underestimated(drift: float) -> None:
    bad, volume, _ = fleet(drift)
    found = float(baseline_of(bad, volume, HOURS).drift)
    assert drift * 0.97 < found < drift * 1.25


def test_a_movement_of_the_whole_fleet_is_no_drift() -> None:
    bad, volume, rates = fleet(0.0)
    shock = np.where(np.arange(168) % 50 == 0, 3.0, 1.0)
    shocked = np.random.default_rng(5).poisson(volume * rates[:, None] * shock).astype(np.float64)
    assert float(baseline_of(shocked, volume, HOURS).drift) < 0.15
    assert bad.shape == shocked.shape


def test_hours_that_were_not_measured_change_little_and_a_new_tenant_gets_the_fleet_s_rate() -> None:
    bad, volume, _ = fleet(0.0)
    whole = baseline_of(bad, volume, HOURS)
    bad[:, 20:60], volume[0] = np.nan, np.nan
    bad[0] = np.nan
    base = baseline_of(bad, volume, HOURS)
    assert np.abs(np.log(base.rate[1:] / whole.rate[1:])).max() < 0.15
    assert float(base.rate[0]) == pytest.approx(
        float(np.nansum(bad) / np.nansum(volume[:, ~np.isnan(bad[1])])), rel=0.2
    )
    assert base.rate_variance[0] > 20 * base.rate_variance[1]


def test_several_fleets_learn_side_by_side_what_each_learns_alone() -> None:
    pairs = [fleet(0.2, seed=seed)[:2] for seed in (1, 2)]
    together = baseline_of(np.stack([b for b, _ in pairs]), np.stack([v for _, v in pairs]), HOURS)
    alone = [baseline_of(b, v, HOURS) for b, v in pairs]
    assert together.drift == pytest.approx([float(one.drift) for one in alone])
    assert together.rate[1] == pytest.approx(alone[1].rate)


def test_an_hourly_mean_keeps_the_known_part_of_a_moving_drift_s_variance() -> None:
    rng = np.random.default_rng(1)
    rho, steps = math.exp(-1 / 60), 60
    path = np.zeros((20_000, steps))
    path[:, 0] = rng.normal(size=20_000)
    for t in range(1, steps):
        path[:, t] = rho * path[:, t - 1] + math.sqrt(1 - rho**2) * rng.normal(size=20_000)
    assert float(path.mean(1).var()) == pytest.approx(within_period(3600.0, 3600.0), rel=0.04)
    assert within_period(math.inf, 3600.0) == 1.0


def test_of_durations_what_lasts_is_told_from_noise() -> None:
    rng = np.random.default_rng(2)
    lasting = np.zeros((60, 168))
    for t in range(1, 168):
        lasting[:, t] = 0.9 * lasting[:, t - 1] + rng.normal(0, 0.2 * math.sqrt(1 - 0.81), 60)
    values = 0.2 * np.exp(lasting + rng.normal(0, 0.1, lasting.shape))
    base = duration_baseline_of(values, HOURS)
    assert 0.16 < base.drift < 0.26
    assert 0.08 < base.noise < 0.16
    assert np.exp(base.level).mean() == pytest.approx(0.2, rel=0.1)
