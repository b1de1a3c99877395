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

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
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


def usual_volume(history: Floats, hours: Ints, look_hours: Ints, interval: float) -> Floats:
    """Volume that each look of `interval` seconds usually has, by the tenant's own mean at that hour of the day: [..., tenant, look].

    `history` [..., tenant, period] at `hours` of the week; NaN: not measured.
    """
    known = np.isfinite(history)
    marks = (hours[:, None] % 24 == np.arange(24)).astype(np.float64)
    mean = (np.where(known, history, 0.0) @ marks) / np.maximum(known @ marks, 1.0)
    return np.asarray(mean[..., look_hours % 24] * (interval / PERIOD))


def surge(times_usual: Floats, who: int) -> Floats:
    """How a tenant's volume has grown against how the others' has: `times_usual` [..., tenant], at least two of them.

    Against the others, so that what a release does to the volume of all (orders tried again, say) is nobody's surge.
    """
    others = np.median(np.delete(times_usual, who, axis=-1), axis=-1)
    return np.asarray(times_usual[..., who] / np.maximum(others, 1e-12))


def count_baseline(measured: Measured) -> Baseline:
    """What each tenant's own past lets expect; it does not change while a rollout runs."""
    hours = hours_of_week(measured.history_ends - PERIOD)
    return baseline_of(measured.history_bad, measured.history_volume, hours)


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

    def times_usual(self, looks: Flags) -> Floats:
        """Volume over these looks [tenant, look] as a multiple of the usual; nothing usual is known of: many times."""
        data = self.measured
        hours, now = hours_of_week(data.history_ends - PERIOD), hours_of_week(data.ends - self.interval)
        usual = np.where(looks, usual_volume(data.history_volume, hours, now, self.interval), 0.0).sum(1)
        return np.asarray(np.where(looks, np.nan_to_num(data.volume), 0.0).sum(1) / np.maximum(usual, 1e-9))

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
        "series": rounded(series),
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
        evidence["alone"] = {
            "tenant": counts.measured.tenants[first],
            "series": rounded(counts.rows(first)),
            "surge": round(float(surge(counts.times_usual(treated)[on], int(np.argmax(on == first)))), 2),
        }
    return evidence


def rounded(rows: list[list[float]]) -> list[list[float]]:
    """A series as it is stored."""
    return [[round(value, 6) for value in row] for row in rows]
