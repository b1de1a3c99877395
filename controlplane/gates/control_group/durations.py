"""What each tenant's own past lets expect of a duration, and how much of its movement is drift and how much noise. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .baseline import HOURS, LEAST_DRIFT, UPPER

type Floats = NDArray[np.float64]

LEAST_NOISE = 0.01
SHRINK = 8.0
"""So many hours' weight has a flat profile at an hour of the week."""


@dataclass(frozen=True)
class DurationBaseline:
    """`level`: mean log-duration of each tenant; `profile`: the fleet's log-factor by hour of the week; `drift`, `noise`: standard deviations of a
    tenant's own log-duration that last from one hour to the next, and that do not; `level_variance`: of a level.
    """

    level: Floats
    profile: Floats
    drift: float
    noise: float
    level_variance: float


def duration_baseline_of(values: Floats, hours: NDArray[np.int64]) -> DurationBaseline:
    """Learn from hourly durations [tenant, period]; NaN or not positive: nothing was measured.

    What lasts and what does not are told apart by the autocovariance at lag one: noise has none. Drift is raised to an upper 95% bound over tenants.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    logs = np.where(np.isfinite(logs), logs, np.nan)
    level = _mean(logs, 1)
    profile = _profile(logs - level[:, None], hours)
    left = logs - level[:, None] - profile[hours][None, :]
    left = left - _mean(left, 0)[None, :]
    per_tenant = _mean(left[:, 1:] * left[:, :-1], 1)
    whole = float(np.nanmean(left**2)) if np.isfinite(left).any() else 1.0
    lasting = float(np.nanmean(per_tenant)) if per_tenant.size else 0.0
    error = float(np.nanstd(per_tenant)) / math.sqrt(max(per_tenant.size, 1))
    drift = math.sqrt(max(lasting + UPPER * error, LEAST_DRIFT**2))
    noise = math.sqrt(max(whole - max(lasting, 0.0), LEAST_NOISE**2))
    return DurationBaseline(level, profile, drift, noise, whole / max(values.shape[1] / 24, 1.0))


def _mean(values: Floats, axis: int) -> Floats:
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis) / np.maximum(known.sum(axis), 1))


def _profile(excess: Floats, hours: NDArray[np.int64]) -> Floats:
    fleet = _mean(excess, 0)
    sums, seen = np.zeros(HOURS), np.zeros(HOURS)
    np.add.at(sums, hours, fleet)
    np.add.at(seen, hours, 1.0)
    by_day = np.zeros(24)
    for hour in range(24):
        mine = hours % 24 == hour
        by_day[hour] = fleet[mine].mean() if mine.any() else 0.0
    flat = by_day[np.arange(HOURS) % 24]
    return np.asarray((sums + SHRINK * flat) / (seen + SHRINK))
