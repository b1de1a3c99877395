"""Rivals' published rules on the same data. Each gives the look (from 1) at which it stops a run; NaN: never.

Where a rule has a threshold that its operator chooses, `tuned` gives it every benefit: the smallest one that stops at most 1% of calm
rollouts of the same fleet (drawn from another seed). None of them is told the truth about a scenario.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from tests.bench.decisions.fleet import LOOKS, Data

type Floats = NDArray[np.float64]
type Rule = Callable[[Data], Floats]

THRESHOLDS = tuple(
    float(x) for x in np.round(np.concatenate([np.arange(1.1, 3.05, 0.1), np.arange(3.25, 8.1, 0.25)]), 2)
)
NEVER = np.nan


def _first(stops: NDArray[np.bool_]) -> Floats:
    found = np.where(stops.any(1), stops.argmax(1) + 1.0, NEVER)
    return np.asarray(found, dtype=np.float64)


def _own_rate(data: Data) -> Floats:
    """The treated tenants' pooled rate in the week before."""
    k = data.treated
    return np.asarray(data.history_bad[:, :k].sum((1, 2)) / data.history_volume[:, :k].sum((1, 2)))


def _rates(data: Data) -> Floats:
    """The treated tenants' pooled rate at each look; NaN when the source is away or nobody ordered."""
    k = data.treated
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(data.bad[:, :k].sum(1) / data.volume[:, :k].sum(1))


def before_after(data: Data, level: float = 0.01) -> Floats:
    """A test of the treated tenants' count since the start against their own week before, at each look: p < `level` (one-sided Poisson)."""
    k = data.treated
    bad = np.nan_to_num(data.bad[:, :k].sum(1)).cumsum(1)
    due = np.nan_to_num(data.volume[:, :k].sum(1)).cumsum(1) * _own_rate(data)[:, None]
    return _first(poisson.sf(bad - 1, np.maximum(due, 1e-9)) < level)


def argo_rollouts(data: Data, factor: float, failure_limit: int = 3, consecutive_errors: int = 4) -> Floats:
    """Argo Rollouts' analysis run (analysis/analysis.go, `assessMetricStatus`): a measurement whose successCondition is false counts as failed;
    more than `failureLimit` failed ones, not necessarily in a row, fail it; more than `consecutiveErrorLimit` errors in a row (no value)
    are an Error, which aborts the rollout too. successCondition here: the rate is at most `factor` times the week before.
    """
    rate = _rates(data)
    failed = (rate > factor * _own_rate(data)[:, None]).cumsum(1) > failure_limit
    missing = np.isnan(rate)
    errors = np.zeros(missing.shape, dtype=np.int64)
    for look in range(LOOKS):
        errors[:, look] = np.where(missing[:, look], (errors[:, look - 1] if look else 0) + 1, 0)
    return _first(failed | (errors > consecutive_errors))


def flagger(data: Data, factor: float, threshold: int = 5) -> Floats:
    """Flagger's scheduler (pkg/controller/scheduler.go, `runAnalysis`): every check that does not pass adds one to failedChecks, a metric
    without values is such a check (`ErrNoValuesFound`), and at `threshold` of them it rolls back. Metric: at most `factor` times the week before.
    """
    rate = _rates(data)
    bad = np.isnan(rate) | (rate > factor * _own_rate(data)[:, None])
    return _first(bad.cumsum(1) >= threshold)


def kayenta(data: Data, fraction: float = 0.25, confidence_z: float = 2.326) -> Floats:
    """Kayenta's NetflixACAJudge (MannWhitneyClassifier.scala) on one metric: a Mann-Whitney interval (98%) of the difference of canary and baseline,
    High if its lower end is above `fraction` times the Hodges-Lehmann estimate, which makes the score 0 and fails the canary. Judged
    each hour on all points so far. Canary and baseline are the treated and the other tenants' pooled rates: it has no history.
    """
    k = data.treated
    with np.errstate(invalid="ignore", divide="ignore"):
        control = data.bad[:, k:].sum(1) / data.volume[:, k:].sum(1)
    canary = _rates(data)
    stopped = np.full(canary.shape[0], NEVER)
    for look in (12, 24, 36):
        seen = ~np.isnan(canary[:, :look]).any(0)
        high = _high(canary[:, :look][:, seen], control[:, :look][:, seen], fraction, confidence_z)
        stopped[np.isnan(stopped) & high] = look
    return stopped


def _high(canary: Floats, control: Floats, fraction: float, z: float) -> NDArray[np.bool_]:
    n, m = canary.shape[1], control.shape[1]
    pairs = np.sort((canary[:, :, None] - control[:, None, :]).reshape(canary.shape[0], -1), axis=1)
    estimate = np.median(pairs, axis=1)
    index = max(int(n * m / 2 - z * np.sqrt(n * m * (n + m + 1) / 12)), 0)
    return np.asarray(pairs[:, index] > fraction * np.abs(estimate))


@dataclass(frozen=True)
class Rival:
    """A rule, and whether its operator chooses a threshold."""

    name: str
    rule: Callable[..., Floats]
    tuned: bool = False


RIVALS = (
    Rival("before/after test", before_after),
    Rival("Kayenta", kayenta),
    Rival("Argo Rollouts", argo_rollouts, tuned=True),
    Rival("Flagger", flagger, tuned=True),
)


def tuned(rival: Rival, calm: Data) -> tuple[Rule, str]:
    """The rule with its threshold, and how to write it."""
    if not rival.tuned:
        return rival.rule, ""
    for factor in THRESHOLDS:
        rule: Rule = partial(rival.rule, factor=factor)
        if np.isfinite(rule(calm)).mean() <= 0.01:
            return rule, f"limit x{factor:g}"
    return partial(rival.rule, factor=THRESHOLDS[-1]), f"limit x{THRESHOLDS[-1]:g}"
