"""Simulated order streams of a fleet: a week of hourly history, then a rollout of 36 looks of five minutes.

What a scenario changes is written here and nowhere else. Everything is drawn from one seed; arrays are [run, tenant, time].
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

LOOKS = 36
LOOK_SECONDS = 300.0
HISTORY = 168
START = 19_000 * 86_400
"""Unix time at which history begins; the rollout follows it at once."""

NOON = 11
"""Hour of the day at which history begins, and so the rollout."""

type Drift = Literal["none", "fixed", "moving"]


@dataclass(frozen=True)
class World:
    """What does not depend on the release: tenants, treated ones first, orders per look, how tenants
    drift (sd of log-rate), seasons, how unequal shops are (sd of log-size)."""

    tenants: int
    treated: int
    orders: float = 60.0
    drift: Drift = "none"
    sd: float = 0.3
    season: bool = False
    unequal: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """What happens during the rollout: the bad rate of treated tenants times `harm`, of all times `shock`, six looks lost, a campaign."""

    name: str
    harm: float = 1.0
    shock: float = 1.0
    outage: bool = False
    campaign: bool = False


@dataclass(frozen=True)
class Data:
    """Counts: `volume` orders, `bad` failed ones. NaN: nothing was measured."""

    history_bad: Floats
    history_volume: Floats
    bad: Floats
    volume: Floats
    treated: int


class Generator:
    """Draws one world's history once, and any scenario's rollout on top of it."""

    def __init__(self, world: World, runs: int, seed: int) -> None:
        self.world = world
        self._rng = np.random.default_rng(seed)
        shape = (runs, world.tenants)
        self._size = world.orders * self._rng.lognormal(-(world.unequal**2) / 2, world.unequal, shape)
        self._rate = 0.01 * self._rng.lognormal(-0.045, 0.3, shape)
        self._phase = self._rng.uniform(0, 2 * math.pi, shape)
        hours = np.arange(HISTORY, dtype=np.float64)
        self.history_volume = self._rng.poisson(12 * self._size[..., None] * self._traffic(hours)).astype(np.float64)
        rate = self._rate[..., None] * self._rates(hours) * np.exp(self._past_drift(runs))
        self.history_bad = self._rng.poisson(self.history_volume * rate).astype(np.float64)

    def _traffic(self, hours: Floats) -> Floats:
        if not self.world.season:
            return np.ones_like(hours)
        weekend = np.where((hours // 24) % 7 >= 5, 0.6, 1.0)
        return np.asarray((1 + 0.7 * np.sin(2 * math.pi * (hours + NOON - 9) / 24)) * weekend)

    def _rates(self, hours: Floats) -> Floats:
        """The bad rate's own season: the fleet's, and each tenant's with a phase of its own."""
        if not self.world.season:
            return np.ones((1, 1, hours.size))
        fleet = 1 + 0.3 * np.sin(2 * math.pi * (hours + NOON - 6) / 24)
        own = 1 + 0.2 * np.sin(2 * math.pi * hours / 24 + self._phase[..., None])
        return np.asarray(fleet * own)

    def _past_drift(self, runs: int) -> Floats:
        world, rng = self.world, self._rng
        shape = (runs, world.tenants)
        if world.drift == "none":
            return np.zeros((*shape, HISTORY))
        if world.drift == "fixed":  # stands still for the length of a rollout, then is another
            blocks = rng.normal(0, world.sd, (*shape, HISTORY // 3))
            return np.repeat(blocks, 3, axis=-1)
        # Hourly means of a process of correlation time one hour: 74% of its variance (Ornstein-Uhlenbeck), correlated like its samples.
        return _ar1(rng, shape, HISTORY, math.exp(-1.0), world.sd * math.sqrt(2 * math.exp(-1)))

    def _drift_now(self) -> Floats:
        world, shape = self.world, self._size.shape
        if world.drift == "none":
            return np.zeros((*shape, LOOKS))
        if world.drift == "fixed":
            return np.repeat(self._rng.normal(0, world.sd, shape)[..., None], LOOKS, axis=-1)
        return _ar1(self._rng, shape, LOOKS, math.exp(-LOOK_SECONDS / 3600), world.sd)

    def roll_out(self, scenario: Scenario) -> Data:
        """Draw the rollout."""
        world = self.world
        hours = HISTORY + np.arange(LOOKS) * LOOK_SECONDS / 3600
        due = self._size[..., None] * self._traffic(hours)
        rate = self._rate[..., None] * self._rates(hours) * np.exp(self._drift_now()) * scenario.shock
        if (
            scenario.campaign
        ):  # one treated tenant sells five times as much, to people whose orders fail three times as often
            due = due.copy() if due.base is None else np.array(due)
            due[:, 0] *= 5
            rate[:, 0] *= 3
        rate[:, : world.treated] *= scenario.harm
        volume = self._rng.poisson(due).astype(np.float64)
        bad = self._rng.poisson(volume * rate).astype(np.float64)
        if scenario.outage:
            volume[..., 6:12] = np.nan
            bad[..., 6:12] = np.nan
        return Data(self.history_bad, self.history_volume, bad, volume, world.treated)


def _ar1(rng: np.random.Generator, shape: tuple[int, ...], length: int, rho: float, sd: float) -> Floats:
    steps = rng.normal(0, sd * math.sqrt(1 - rho**2), (*shape, length))
    steps[..., 0] = rng.normal(0, sd, shape)
    for t in range(1, length):
        steps[..., t] += rho * steps[..., t - 1]
    return np.asarray(steps)


SCENARIOS = {
    "calm": Scenario("calm"),
    "shock": Scenario("fleet-wide shock x2", shock=2.0),
    "outage": Scenario("metric source away for 30 min", outage=True),
    "campaign": Scenario("one treated tenant's campaign", campaign=True),
    "x1.5": Scenario("bad release x1.5", harm=1.5),
    "x2": Scenario("bad release x2", harm=2.0),
    "x5": Scenario("bad release x5", harm=5.0),
    "x2+shock": Scenario("bad release x2 under the shock", harm=2.0, shock=2.0),
}


def low_traffic(world: World) -> World:
    """A tenth of the orders."""
    return replace(world, orders=world.orders / 10)
