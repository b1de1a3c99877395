"""Our rule on simulated data: the very functions that the control-group gate calls, for many runs side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controlplane.gates.control_group.baseline import Baseline, baseline_of, hours_of_week, within_period
from controlplane.gates.control_group.eprocess import SPEEDS, EProcess, smallest
from controlplane.gates.control_group.sides import HORIZON_HOURS, PERIOD, surge, usual_volume, weights_of
from controlplane.gates.control_group.spec import ControlGroupSpec
from controlplane.gates.control_group.verdict import harm_of, least_of_others
from tests.bench.decisions.fleet import HISTORY, LOOK_SECONDS, LOOKS, START, Data

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

HARM = harm_of(ControlGroupSpec(duration="as every spec: the harm is the default one"))


def learn(data: Data) -> Baseline:
    """The baseline of each run's fleet."""
    return baseline_of(data.history_bad, data.history_volume, hours_of_week(START + PERIOD * np.arange(HISTORY)))


class Sides:
    """Per look and run: bad events of both sides, expected ones, and what the sides' log-ratio does by itself."""

    def __init__(self, data: Data, base: Baseline, leave_out: Ints | None = None) -> None:
        k = data.treated
        times = START + HISTORY * PERIOD + np.arange(LOOKS) * int(LOOK_SECONDS)
        usual = data.history_volume.mean(-1) * base.rate * HORIZON_HOURS
        drift = base.drift[:, None]
        weights = np.concatenate([weights_of(usual[:, :k], drift), weights_of(usual[:, k:], drift)], axis=1)
        if leave_out is not None:
            weights[np.arange(weights.shape[0]), leave_out] = 0.0
        self.due = data.volume * base.rate[..., None] * base.profile[..., hours_of_week(times)]
        bad, due = data.bad * weights[..., None], self.due * weights[..., None]
        self.seen = ~np.isnan(bad).any(axis=(0, 1))
        self.treated, self.control = bad[:, :k].sum(1), bad[:, k:].sum(1)
        self.log_odds = np.log(due[:, :k].sum(1) / due[:, k:].sum(1))
        self._own = base.drift**2
        self._spread = _squares(due[:, :k]) + _squares(due[:, k:])
        self._known = _squares(due[:, :k], base.rate_variance[:, :k]) + _squares(due[:, k:], base.rate_variance[:, k:])

    def s(self, look: int, tau: float) -> Floats:
        """The drift of the sides' log-ratio at a look."""
        own = self._own / within_period(tau, PERIOD)
        return np.asarray(np.sqrt(own * self._spread[:, look] + self._known[:, look]))


def _squares(due: Floats, weight: Floats | None = None) -> Floats:
    share = due / due.sum(1, keepdims=True)
    return np.asarray((share**2 * (1.0 if weight is None else weight[..., None])).sum(1))


def log_e(sides: Sides) -> Floats:
    """The log-e-value after each look: [run, look]."""
    runs = sides.treated.shape[0]
    processes = [EProcess(tau, HARM, (runs,)) for tau in SPEEDS]
    found, since = np.zeros((runs, LOOKS)), 0.0
    for look in range(LOOKS):
        since += LOOK_SECONDS
        if sides.seen[look]:
            for one in processes:
                one.count(
                    sides.treated[:, look],
                    sides.control[:, look],
                    sides.log_odds[:, look],
                    sides.s(look, one.tau),
                    since,
                )
            since = 0.0
        found[:, look] = smallest(processes)
    return found


def detect(data: Data, base: Baseline, whole: Floats, alpha: float = 0.01) -> Floats:
    """The look (from 1) at which each run's rollout is stopped; NaN: never. One tenant alone must not carry the verdict.

    `whole` is `log_e` of everybody.
    """
    threshold = -np.log(alpha)
    stopped = np.full(whole.shape[0], np.nan)
    if data.treated == 1:
        hit = (whole >= threshold).any(1)
        stopped[hit] = (whole >= threshold).argmax(1)[hit] + 1
        return stopped
    due = Sides(data, base).due
    excess = np.cumsum(np.nan_to_num(data.bad - due)[:, : data.treated], axis=-1)
    rest = np.full((data.treated, *whole.shape), np.nan)
    least = _least(data, alpha)
    for look in range(LOOKS):
        open_ = np.flatnonzero(np.isnan(stopped) & (whole[:, look] >= threshold))
        top = excess[open_, :, look].argmax(1)
        for tenant in np.unique(top):
            runs = open_[(top == tenant) & np.isnan(rest[tenant, open_, 0])]
            if runs.size:
                left = Sides(_some(data, runs), _runs(base, runs), np.full(runs.size, tenant))
                rest[tenant, runs] = log_e(left)
        stopped[open_[rest[top, open_, look] >= least[top, open_, look]]] = look + 1
    return stopped


def _least(data: Data, alpha: float) -> Floats:
    """What the others must prove without a tenant: [tenant, run, look]."""
    k = data.treated
    hours = hours_of_week(START + PERIOD * np.arange(HISTORY))
    now = hours_of_week(START + HISTORY * PERIOD + np.arange(LOOKS) * int(LOOK_SECONDS))
    usual = usual_volume(data.history_volume[:, :k], hours, now, LOOK_SECONDS)
    seen = np.isfinite(data.volume[:, :k])
    times = np.nancumsum(data.volume[:, :k], -1) / np.maximum(np.cumsum(np.where(seen, usual, 0.0), -1), 1e-9)
    found = [surge(times.transpose(0, 2, 1), tenant) for tenant in range(k)]
    return np.asarray(np.vectorize(least_of_others, otypes=[np.float64])(alpha, np.stack(found)))


def _some(data: Data, runs: Ints) -> Data:
    return Data(data.history_bad[runs], data.history_volume[runs], data.bad[runs], data.volume[runs], data.treated)


def _runs(base: Baseline, runs: Ints) -> Baseline:
    return Baseline(base.rate[runs], base.profile[runs], base.rate_variance[runs], base.drift[runs], base.periods)
