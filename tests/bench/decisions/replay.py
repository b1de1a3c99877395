"""Replay scenarios, let everybody judge, and count."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tests.bench.decisions import ours
from tests.bench.decisions.fleet import LOOK_SECONDS, SCENARIOS, Data, Generator, World, low_traffic
from tests.bench.decisions.rivals import RIVALS, Rule, tuned

type Floats = NDArray[np.float64]

CHUNK = 100
"""Runs drawn at once: bounds memory at 400 tenants."""

WORLDS = {
    "4 of 40": World(40, 4),
    "4 of 40, drift 0.3 that stands still": World(40, 4, drift="fixed"),
    "4 of 40, drift 0.3 that moves": World(40, 4, drift="moving"),
    "8 of 40, drift 0.3 that stands still": World(40, 8, drift="fixed"),
    "8 of 40, drift 0.3 that moves": World(40, 8, drift="moving"),
    "4 of 40, weekly season": World(40, 4, season=True),
    "4 of 40, unequal shops, drift 0.3": World(40, 4, drift="fixed", unequal=0.5),
    "4 of 40, a tenth of the orders": low_traffic(World(40, 4)),
    "20 of 400, drift 0.3 that stands still": World(400, 20, drift="fixed"),
}


@dataclass(frozen=True)
class Cell:
    """How often a judge stopped one scenario in one world; `low`, `high`: 95% interval (Clopper-Pearson); `minutes`: median time to stop."""

    world: str
    scenario: str
    judge: str
    note: str
    runs: int
    stopped: int
    rate: float
    low: float
    high: float
    minutes: float | None


class Tally:
    """Stops of one judge in one scenario, chunk by chunk."""

    def __init__(self) -> None:
        self.looks: list[Floats] = []

    def cell(self, world: str, scenario: str, judge: str, note: str) -> Cell:
        """Sum up."""
        looks = np.concatenate(self.looks)
        stopped = int(np.isfinite(looks).sum())
        interval = binomtest(stopped, looks.size).proportion_ci(0.95)
        minutes = float(np.nanmedian(looks)) * LOOK_SECONDS / 60 if stopped else None
        return Cell(
            world,
            scenario,
            judge,
            note,
            looks.size,
            stopped,
            stopped / looks.size,
            interval.low,
            interval.high,
            minutes,
        )


def replay(name: str, world: World, runs: int, seed: int) -> tuple[list[Cell], dict[str, Floats]]:
    """Judge every scenario of a world by everybody; also gives our largest log-e of each harmless run, for calibration."""
    rules = _rules(world, seed)
    tallies: dict[tuple[str, str], Tally] = {}
    largest: dict[str, list[Floats]] = {}
    for chunk in range(math.ceil(runs / CHUNK)):
        generator = Generator(world, min(CHUNK, runs - chunk * CHUNK), seed + 1 + chunk)
        base = None
        for key, scenario in SCENARIOS.items():
            data = generator.roll_out(scenario)
            base = base or ours.learn(data)
            whole = ours.log_e(ours.Sides(data, base))
            if key in ("calm", "shock"):
                largest.setdefault(key, []).append(whole.max(1))
            tallies.setdefault((key, "Seawall"), Tally()).looks.append(ours.detect(data, base, whole))
            for rival, (rule, _) in rules.items():
                tallies.setdefault((key, rival), Tally()).looks.append(rule(data))
        print(f"{name}: {min((chunk + 1) * CHUNK, runs)} of {runs}", file=sys.stderr, flush=True)  # noqa: T201 -- progress
    notes = {rival: note for rival, (_, note) in rules.items()} | {"Seawall": "alpha 0.01"}
    cells = [t.cell(name, SCENARIOS[s].name, judge, notes[judge]) for (s, judge), t in tallies.items()]
    return cells, {key: np.concatenate(found) for key, found in largest.items()}


def _rules(world: World, seed: int) -> dict[str, tuple[Rule, str]]:
    """Rivals, tuned on calm rollouts of this world from a seed of their own."""
    chunks = [Generator(world, CHUNK, seed + 90_000 + n).roll_out(SCENARIOS["calm"]) for n in range(5)]
    bad, volume, now_bad, now_volume = (
        np.concatenate([getattr(one, name) for one in chunks])
        for name in ("history_bad", "history_volume", "bad", "volume")
    )
    calm = Data(bad, volume, now_bad, now_volume, world.treated)
    return {rival.name: tuned(rival, calm) for rival in RIVALS}


def write(cells: Iterable[Cell], largest: dict[str, dict[str, Floats]], out: Path) -> None:
    """Keep everything as JSON."""
    body = {
        "cells": [asdict(cell) for cell in cells],
        "largest": {world: {k: np.round(v, 4).tolist() for k, v in kinds.items()} for world, kinds in largest.items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(body) + "\n")


def main() -> None:
    """`python -m tests.bench.decisions.replay [RUNS [WORLD ...]]`: write build/decisions.json."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    wanted = sys.argv[2:] or list(WORLDS)
    cells: list[Cell] = []
    largest: dict[str, dict[str, Floats]] = {}
    for name in wanted:
        found, largest[name] = replay(name, WORLDS[name], runs, seed=20_261_124)
        cells += found
        write(cells, largest, Path("build/decisions.json"))


if __name__ == "__main__":
    main()
