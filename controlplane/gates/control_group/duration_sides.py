"""The same for durations: from what was measured per tenant to what a look says of both sides. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .baseline import hours_of_week
from .durations import DurationBaseline, duration_baseline_of
from .sides import PERIOD, SHOWN, Flags, Measured, Members, rounded, sides_in

type Floats = NDArray[np.float64]


def duration_baseline(measured: Measured) -> DurationBaseline:
    """What each tenant's own past (`history_volume` holds durations) lets expect; it does not change while a rollout runs."""
    return duration_baseline_of(measured.history_volume, hours_of_week(measured.history_ends - PERIOD))


def evidence_of_durations(
    measured: Measured, members: Members, interval: int, min_control: int, base: DurationBaseline | None = None
) -> dict[str, Any]:
    """Evidence for durations (`volume` holds them); `base` if it was learnt already.

    A row: seconds since the last look, difference of mean log-ratios, its noise, drift factor, variance.
    """
    base = base or duration_baseline(measured)
    sides = _Durations(
        members.times(measured.tenants), measured.ends, _excess(measured, base, interval), base, interval
    )
    treated = sides.treated()
    on = np.flatnonzero(treated.any(1))
    means = np.where(treated, np.nan_to_num(sides.excess), 0.0).sum(1)[on] / np.maximum(treated.sum(1)[on], 1)
    order = on[np.argsort(-means)].tolist()
    factor = dict(zip(on.tolist(), np.exp(means).tolist(), strict=True))
    evidence: dict[str, Any] = {
        "kind": "durations",
        "series": rounded(sides.rows(min_control)),
        "drift": round(base.drift, 4),
        "treated": len(on),
        "volume": float(treated.sum()),
        "value": round(float(np.nanmean(measured.volume[on])), 6) if on.size else 0.0,
        "tenants": [{"tenant": measured.tenants[i], "factor": round(factor[i], 3)} for i in order[:SHOWN]],
    }
    if len(on) > 1 and evidence["series"]:
        alone = {
            "tenant": measured.tenants[order[0]],
            "series": rounded(sides.rows(min_control, order[0])),
            "surge": 1.0,
        }
        evidence["alone"] = alone
    return evidence


def _excess(measured: Measured, base: DurationBaseline, interval: int) -> Floats:
    """Log-duration above what is expected of each tenant at each look; NaN: not measured."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(measured.volume)
    excess = logs - base.level[:, None] - base.profile[hours_of_week(measured.ends - interval)][None, :]
    return np.where(np.isfinite(excess), excess, np.nan)


@dataclass(frozen=True)
class _Durations:
    times: Floats
    ends: NDArray[np.int64]
    excess: Floats
    base: DurationBaseline
    interval: int

    def treated(self) -> Flags:
        """[tenant, look]: treated and measured."""
        marks = [sides_in(self.times, end - self.interval, end)[0] for end in self.ends.tolist()]
        return np.array(marks, dtype=bool).reshape(len(marks), self.times.size).T & np.isfinite(self.excess)

    def rows(self, min_control: int, without: int | None = None) -> list[list[float]]:
        """The series, optionally without one tenant."""
        found: list[list[float]] = []
        seconds = 0
        for look, end in enumerate(self.ends.tolist()):
            seconds += self.interval
            seen = np.isfinite(self.excess[:, look])
            treated, control = (side & seen for side in sides_in(self.times, end - self.interval, end))
            if without is not None:
                treated[without] = False
            if treated.any() and control.sum() >= min_control:
                found.append([seconds, *self._row(self.excess[:, look], treated, control)])
                seconds = 0
        return found

    def _row(self, excess: Floats, treated: Flags, control: Flags) -> list[float]:
        spread = 1 / float(treated.sum()) + 1 / float(control.sum())
        difference = float(excess[treated].mean() - excess[control].mean())
        noise = self.base.noise * math.sqrt(PERIOD / self.interval * spread)
        return [difference, noise, spread, self.base.level_variance * spread]
