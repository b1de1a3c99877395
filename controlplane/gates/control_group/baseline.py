"""What each tenant's own past lets expect now, and how far tenants drift by themselves. Pure.

History is counted in periods of equal length (an hour): `bad[i, p]` bad events among `volume[i, p]` of tenant i. Expected now is

    rate_i * profile_i(hour of the week) * volume now,

the rate and the profile shrunk towards the fleet's (empirical Bayes, Gamma-Poisson) as far as a tenant's own numbers are thin. Drift is the
over-dispersion that is left between like periods after the fleet's own movement in each period is taken out: method of moments, corrected for
what fitting took away, and raised to an upper 95% bound by a jackknife over tenants, since an underestimated drift is a false alarm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

HOURS = 168
"""Hours of the week."""
SHRINK_RATE = 4.0
"""So many bad events' weight has the fleet's rate in a tenant's."""
SHRINK_PROFILE = 30.0
"""So many bad events' weight has the fleet's profile in a tenant's at an hour."""
UPPER = 1.645
"""One-sided 95%."""
LEAST_DRIFT = 0.01
"""Nobody is known better than this (standard deviation of the log-rate)."""


@dataclass(frozen=True)
class Baseline:
    """What history says. Arrays over tenants; `profile[i, h]` over hours of the week (mean 1, weighted by volume).

    `rate`: bad events per unit of volume; `rate_variance`: of its logarithm, from counting; `drift`: standard deviation of a tenant's own
    log-rate between like periods (upper bound); `periods`: how many were used.
    """

    rate: Floats
    profile: Floats
    rate_variance: Floats
    drift: Floats
    periods: int

    def expected(self, volume: Floats, hour: int) -> Floats:
        """Bad events that this volume lets expect at an hour of the week."""
        return np.asarray(volume * self.rate * self.profile[..., hour], dtype=np.float64)


def hours_of_week(starts: Ints) -> Ints:
    """Hour of the week (0 = Thursday 00:00 UTC, where Unix time began) of each Unix time in seconds."""
    return (starts // 3600) % HOURS


def baseline_of(bad: Floats, volume: Floats, hours: Ints) -> Baseline:
    """Learn from history: `bad` and `volume` [..., tenant, period], `hours` [period] as `hours_of_week` gives.

    Leading dimensions are fleets learnt side by side; `drift` has their shape. NaN: nothing was measured.
    """
    known = np.isfinite(bad) & np.isfinite(volume)
    bad, volume = np.where(known, bad, 0.0), np.where(known, volume, 0.0)
    fleet_rate = _ratio(bad.sum((-1, -2)), volume.sum((-1, -2)))[..., None]
    fleet = _fleet_profile(bad, volume, hours, fleet_rate)
    weighted = (volume * fleet[..., None, hours]).sum(-1)
    total = bad.sum(-1)
    rate = (total + SHRINK_RATE) / np.maximum(weighted + SHRINK_RATE / np.maximum(fleet_rate, 1e-12), 1e-12)
    profile, kept = _own_profiles(bad, volume, hours, rate, fleet)
    drift = _drift(bad, volume, rate[..., None] * profile[..., hours], kept)
    return Baseline(rate, profile, 1 / (total + SHRINK_RATE), drift, bad.shape[-1])


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.asarray(a / np.maximum(b, 1e-12), dtype=np.float64)


def _by_hour(values: Floats, hours: Ints) -> Floats:
    """Sum the last axis by hour of the week."""
    marks = np.zeros((hours.size, HOURS))
    marks[np.arange(hours.size), hours] = 1.0
    return np.asarray(values @ marks, dtype=np.float64)


def _fleet_profile(bad: Floats, volume: Floats, hours: Ints, rate: Floats) -> Floats:
    """The fleet's rate at each hour of the week, relative to its mean, shrunk towards flat."""
    seen, due = _by_hour(bad.sum(-2), hours), _by_hour(volume.sum(-2), hours) * rate
    return (seen + SHRINK_PROFILE) / (due + SHRINK_PROFILE)


def _own_profiles(bad: Floats, volume: Floats, hours: Ints, rate: Floats, fleet: Floats) -> tuple[Floats, Floats]:
    """Each tenant's own hours, from the same hour of the day (all days), shrunk towards the fleet's; and which part of the spread about them
    is left after fitting: each hour's mean over `n` days takes (2w - w^2) / n of it, where w is the own numbers' weight.
    """
    day = hours % 24
    due = volume * rate[..., None] * fleet[..., None, hours]
    marks = np.zeros((hours.size, 24))
    marks[np.arange(hours.size), day] = 1.0
    expected = due @ marks
    own = (bad @ marks + SHRINK_PROFILE) / (expected + SHRINK_PROFILE)
    weight = expected / (expected + SHRINK_PROFILE)
    taken = ((2 * weight - weight**2).sum(-1) + 1) / max(hours.size, 1)
    profile = np.asarray(own[..., np.arange(HOURS) % 24] * fleet[..., None, :], dtype=np.float64)
    return profile, np.maximum(1 - taken, 0.2)


def _drift(bad: Floats, volume: Floats, factor: Floats, kept: Floats) -> Floats:
    """Standard deviation of tenants' own log-rates between like periods: upper bound. `kept`: part of each tenant's spread that fitting left."""
    due = volume * factor
    fleet = _ratio(bad.sum(-2), due.sum(-2))[..., None, :]
    due = due * np.maximum(fleet, 1e-12)
    tenants = bad.shape[-2]
    freedom = (1 - 1 / max(tenants, 2)) * kept[..., None]
    excess = ((bad - due) ** 2 / freedom - due).sum(-1)
    weight = (due**2).sum(-1)
    whole = excess.sum(-1) / np.maximum(weight.sum(-1), 1e-12)
    without = (excess.sum(-1)[..., None] - excess) / np.maximum(weight.sum(-1)[..., None] - weight, 1e-12)
    error = np.sqrt((tenants - 1) / max(tenants, 1) * ((without - without.mean(-1, keepdims=True)) ** 2).sum(-1))
    relative = np.maximum(whole + UPPER * error, 0.0)
    return np.asarray(np.maximum(np.sqrt(np.log1p(relative)), LEAST_DRIFT), dtype=np.float64)


def within_period(tau: float, period: float) -> float:
    """Part of a drift's variance that is left in the mean over one period, for correlation time `tau` (both in seconds).

    The variance of the time average of an Ornstein-Uhlenbeck process: 2 (tau/T)^2 (T/tau - 1 + exp(-T/tau)).
    """
    if math.isinf(tau):
        return 1.0
    x = period / tau
    return 2 * (x - 1 + math.exp(-x)) / x**2
