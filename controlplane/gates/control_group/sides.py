"""From what was measured per tenant to what a look says of both sides: the evidence that is stored and judged. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .baseline import Baseline, baseline_of, hours_of_week
from .durations import DurationBaseline, duration_baseline_of

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]

PERIOD = 3600
"""Length of a period of history in seconds."""
HORIZON_HOURS = 3.0
"""Weights are chosen for a rollout about this long."""
SHOWN = 10
"""Tenants that evidence names."""


@dataclass(frozen=True)
class Measured:
    """What the metric source gave: arrays [tenant, time], NaN where nothing. `ends`: Unix time at which each look (or period) ends."""

    tenants: tuple[str, ...]
    bad: Floats
    volume: Floats
    ends: NDArray[np.int64]
    history_bad: Floats
    history_volume: Floats
    history_ends: NDArray[np.int64]


@dataclass(frozen=True)
class Members:
    """Who was treated since when (Unix time), and who is untouched still. Everybody else (gone back, left out) is on no side."""

    since: Mapping[str, float]
    untouched: frozenset[str]

    def times(self, tenants: Sequence[str]) -> Floats:
        """Since when each has the release: infinity if it is untouched, NaN if it is on no side."""
        return np.array([self.since.get(t, math.inf if t in self.untouched else math.nan) for t in tenants])


def sides_in(times: Floats, start: float, end: float) -> tuple[Flags, Flags]:
    """Who is treated during all of (start, end], and who is not yet treated at its end."""
    with np.errstate(invalid="ignore"):
        return times <= start, times > end


def weights_of(usual: Floats, drift: Floats) -> Floats:
    """How much of each tenant's events counts, in (0, 1]: big shops drift like small ones, so that beyond some size more events of the same
    shop say little more. `usual`: bad events expected of each over the rollout. Weighted Poisson counts are less spread than Poisson
    counts of the same mean (convexity of the exponential), so the e-value stays one.
    """
    pivot = np.median(usual, axis=-1, keepdims=True)
    return np.asarray(np.minimum(1.0, (1 + drift**2 * pivot) / (1 + drift**2 * usual)))


def count_baseline(measured: Measured) -> Baseline:
    """What each tenant's own past lets expect; it does not change while a rollout runs."""
    hours = hours_of_week(measured.history_ends - PERIOD)
    return baseline_of(measured.history_bad, measured.history_volume, hours)


def duration_baseline(measured: Measured) -> DurationBaseline:
    """The same for durations (`history_volume` holds them)."""
    return duration_baseline_of(measured.history_volume, hours_of_week(measured.history_ends - PERIOD))


def evidence_of_counts(
    measured: Measured, members: Members, interval: int, min_control: int, base: Baseline | None = None
) -> dict[str, Any]:
    """Evidence for counts; `base` if it was learnt already.

    Its `series` has a row per look: seconds since the last one, bad events of both sides, log-odds expected, the sides' drift factor
    (sum of squared shares), and the variance that history leaves.
    """
    base = base or count_baseline(measured)
    known = np.isfinite(measured.volume)
    bad = np.where(known, np.where(np.isfinite(measured.bad), measured.bad, 0.0), np.nan)
    due = measured.volume * base.rate[:, None] * base.profile[:, hours_of_week(measured.ends - interval)]
    return _evidence(_Counts(measured, members, base, bad, due, interval, min_control))


@dataclass(frozen=True)
class _Counts:
    measured: Measured
    members: Members
    base: Baseline
    bad: Floats
    due: Floats
    interval: int
    min_control: int

    @property
    def drift(self) -> float:
        return float(self.base.drift)

    @cached_property
    def times(self) -> Floats:
        """Since when each tenant has the release."""
        return self.members.times(self.measured.tenants)

    @cached_property
    def usual(self) -> Floats:
        """Bad events that each tenant's own past lets expect over a rollout."""
        known = np.isfinite(self.measured.history_volume)
        hourly = np.where(known, self.measured.history_volume, 0.0).sum(1) / np.maximum(known.sum(1), 1)
        return np.asarray(hourly * self.base.rate * HORIZON_HOURS)

    def rows(self, without: int | None = None) -> list[list[float]]:
        """The series, optionally without one tenant."""
        found: list[list[float]] = []
        seconds = 0
        for look, end in enumerate(self.measured.ends.tolist()):
            seconds += self.interval
            row = self._row(look, end, without)
            if row is not None:
                found.append([seconds, *row])
                seconds = 0
        return found

    def _row(self, look: int, end: int, without: int | None) -> list[float] | None:
        treated, control = sides_in(self.times, end - self.interval, end)
        seen = np.isfinite(self.due[:, look]) & (self.due[:, look] > 0)
        treated, control = treated & seen, control & seen
        if without is not None:
            treated[without] = False
        if not treated.any() or control.sum() < self.min_control:
            return None
        sides = [(side, weights_of(self.usual[side], self.base.drift)) for side in (treated, control)]
        events = [float((self.bad[side, look] * q).sum()) for side, q in sides]
        expected = [self.due[side, look] * q for side, q in sides]
        shares = [one / one.sum() for one in expected]
        spread = sum(float((share**2).sum()) for share in shares)
        variance = sum(
            float((share**2 * self.base.rate_variance[side]).sum())
            for share, (side, _) in zip(shares, sides, strict=True)
        )
        return [*events, math.log(float(expected[0].sum()) / float(expected[1].sum())), spread, variance]

    def treated_looks(self) -> Flags:
        """[tenant, look]: treated and measured."""
        marks = [sides_in(self.times, end - self.interval, end)[0] for end in self.measured.ends.tolist()]
        return (
            np.stack(marks, axis=1) & np.isfinite(self.due)
            if marks
            else np.zeros((len(self.measured.tenants), 0), bool)
        )


def _evidence(counts: _Counts) -> dict[str, Any]:
    treated = counts.treated_looks()
    bad = np.where(treated, np.nan_to_num(counts.bad), 0.0).sum(1)
    due = np.where(treated, np.nan_to_num(counts.due), 0.0).sum(1)
    volume = np.where(treated, np.nan_to_num(counts.measured.volume), 0.0).sum(1)
    on = np.flatnonzero(treated.any(1))
    order = on[np.argsort(-(bad - due)[on])]
    series = counts.rows()
    evidence: dict[str, Any] = {
        "kind": "counts",
        "series": _rounded(series),
        "drift": round(counts.drift, 4),
        "treated": len(on),
        "volume": float(volume.sum()),
        "bad": float(bad.sum()),
        "expected": round(float(due.sum()), 3),
        "tenants": [
            {"tenant": counts.measured.tenants[i], "bad": float(bad[i]), "expected": round(float(due[i]), 3)}
            for i in order[:SHOWN].tolist()
        ],
    }
    if len(on) > 1 and series:
        first = int(order[0])
        evidence["alone"] = {"tenant": counts.measured.tenants[first], "series": _rounded(counts.rows(first))}
    return evidence


def _rounded(rows: list[list[float]]) -> list[list[float]]:
    return [[round(value, 6) for value in row] for row in rows]


def evidence_of_durations(
    measured: Measured, members: Members, interval: int, min_control: int, base: DurationBaseline | None = None
) -> dict[str, Any]:
    """Evidence for durations (`volume` holds them); `base` if it was learnt already.

    A row: seconds since the last look, difference of mean log-ratios, its noise, drift factor, variance.
    """
    base = base or duration_baseline(measured)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(measured.volume)
    excess = logs - base.level[:, None] - base.profile[hours_of_week(measured.ends - interval)][None, :]
    excess = np.where(np.isfinite(excess), excess, np.nan)
    found: list[list[float]] = []
    sums, looks = np.zeros(len(measured.tenants)), np.zeros(len(measured.tenants))
    times, seconds = members.times(measured.tenants), 0
    for look, end in enumerate(measured.ends.tolist()):
        seconds += interval
        treated, control = sides_in(times, end - interval, end)
        seen = np.isfinite(excess[:, look])
        treated, control = treated & seen, control & seen
        sums[treated] += excess[treated, look]
        looks[treated] += 1
        if treated.any() and control.sum() >= min_control:
            found.append([seconds, *_duration_row(excess[:, look], treated, control, base, interval)])
            seconds = 0
    on = np.flatnonzero(looks)
    means = {int(i): float(sums[i] / looks[i]) for i in on}
    order = sorted(means, key=lambda i: -means[i])
    return {
        "kind": "durations",
        "series": _rounded(found),
        "drift": round(base.drift, 4),
        "treated": len(on),
        "volume": float(looks.sum()),
        "value": round(float(np.nanmean(measured.volume[on])), 6) if on.size else 0.0,
        "tenants": [{"tenant": measured.tenants[i], "factor": round(math.exp(means[i]), 3)} for i in order[:SHOWN]],
    }


def _duration_row(excess: Floats, treated: Flags, control: Flags, base: DurationBaseline, interval: int) -> list[float]:
    spread = 1 / float(treated.sum()) + 1 / float(control.sum())
    difference = float(excess[treated].mean() - excess[control].mean())
    noise = base.noise * math.sqrt(PERIOD / interval * spread)
    return [difference, noise, spread, base.level_variance * spread]
