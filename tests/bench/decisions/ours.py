"""Our rule on simulated data: the very functions that the control-group gate calls, for many runs side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controlplane.gates.control_group.baseline import Baseline, baseline_of, hours_of_week, within_period
from controlplane.gates.control_group.eprocess import SPEEDS, EProcess, Harm, smallest
from tests.bench.decisions.fleet import HISTORY, LOOK_SECONDS, LOOKS, START, Data

type Floats = NDArray[np.float64]

HARM = Harm.spread()


def learn(data: Data) -> Baseline:
    """The baseline of each run's fleet."""
    hours = hours_of_week(START + 3600 * np.arange(HISTORY))
    return baseline_of(data.history_bad, data.history_volume, hours)


class Sides:
    """Per look and run: bad events of both sides, expected ones, and what the sides' log-ratio does by itself."""

    def __init__(self, data: Data, base: Baseline, leave_out: NDArray[np.int64] | None = None) -> None:
        k = data.treated
        times = START + HISTORY * 3600 + np.arange(LOOKS) * int(LOOK_SECONDS)
        due = data.volume * base.rate[..., None] * base.profile[..., hours_of_week(times)]
        keep = np.ones(data.bad.shape[:2])
        if leave_out is not None:
            keep[np.arange(keep.shape[0]), leave_out] = 0.0
        keep = keep * weights(data, base)
        bad, due = data.bad * keep[..., None], due * keep[..., None]
        self.due = due
        self.seen = ~np.isnan(bad).any(axis=(0, 1))
        self.treated, self.control = bad[:, :k].sum(1), bad[:, k:].sum(1)
        self.log_odds = np.log(due[:, :k].sum(1) / due[:, k:].sum(1))
        own = (base.drift[:, None] if isinstance(base.drift, np.ndarray) else base.drift) ** 2
        self._spread = _squares(due[:, :k]) + _squares(due[:, k:])
        self._known = _squares(due[:, :k], base.rate_variance[:, :k]) + _squares(due[:, k:], base.rate_variance[:, k:])
        self._own = own

    def s(self, look: int, tau: float) -> Floats:
        """The drift of the sides' log-ratio at a look."""
        own = self._own[:, 0] / within_period(tau, 3600.0)
        return np.asarray(np.sqrt(own * self._spread[:, look] + self._known[:, look]))


def weights(data, base):
    """q"""
    usual = data.history_volume.mean(-1) * base.rate * HORIZON
    own = (base.drift[:, None] if isinstance(base.drift, np.ndarray) else base.drift) ** 2
    out = np.ones(usual.shape)
    for side in (slice(None, data.treated), slice(data.treated, None)):
        u = usual[:, side]
        pivot = np.quantile(u, PIVOT, axis=1, keepdims=True)
        out[:, side] = np.minimum(1.0, (1 + own * pivot) / (1 + own * u))
    return out

ALONE = 10.0
HORIZON = 3.0
PIVOT = 0.5

def _squares(due: Floats, weight: Floats | None = None) -> Floats:
    share = due / due.sum(1, keepdims=True)
    return np.asarray((share**2 * (1.0 if weight is None else weight[..., None])).sum(1))


def log_e(sides: Sides) -> Floats:
    """The log-e-value after each look: [run, look]."""
    runs = sides.treated.shape[0]
    processes = [EProcess(tau, HARM, (runs,)) for tau in SPEEDS]
    found, since = np.zeros((runs, LOOKS)), LOOK_SECONDS
    for look in range(LOOKS):
        if sides.seen[look]:
            for one in processes:
                one.count(
                    sides.treated[:, look],
                    sides.control[:, look],
                    sides.log_odds[:, look],
                    sides.s(look, one.tau),
                    since,
                )
            since = LOOK_SECONDS
        else:
            since += LOOK_SECONDS
        found[:, look] = smallest(processes)
    return found


def detect(data: Data, base: Baseline, alpha: float = 0.01) -> Floats:
    """The look (from 1) at which each run's rollout is stopped; NaN: never. Also one tenant alone must not carry the verdict."""
    sides = Sides(data, base)
    whole = log_e(sides)
    threshold, alone = -np.log(alpha), np.log(ALONE)
    stopped = np.full(whole.shape[0], np.nan)
    if data.treated == 1:
        crossed = whole >= threshold
        hit = crossed.any(1)
        stopped[hit] = crossed.argmax(1)[hit] + 1
        return stopped
    excess = np.nancumsum((np.nan_to_num(data.bad) - np.nan_to_num(sides.due))[:, : data.treated], axis=-1)
    for look in range(LOOKS):
        open_ = np.flatnonzero(np.isnan(stopped) & (whole[:, look] >= threshold))
        if not open_.size:
            continue
        top = excess[open_, :, look].argmax(1)
        rest = log_e(Sides(_some(data, open_), _runs(base, open_), top))[:, look]
        stopped[open_[rest >= alone]] = look + 1
    return stopped


def _some(data: Data, runs: NDArray[np.int64]) -> Data:
    return Data(
        data.history_bad[runs], data.history_volume[runs], data.bad[runs], data.volume[runs], data.treated
    )


def _runs(base: Baseline, runs: NDArray[np.int64]) -> Baseline:
    drift = base.drift[runs] if isinstance(base.drift, np.ndarray) else base.drift
    return Baseline(base.rate[runs], base.profile[runs], base.rate_variance[runs], drift, base.periods)
