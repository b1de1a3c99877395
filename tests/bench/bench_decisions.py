"""Decision quality on simulated fleets (see tests/bench/decisions), and what judging costs. `SEAWALL_BENCH_REPLAYS` (2000) sets the runs per cell."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from controlplane.gates.control_group.sides import Measured, Members, count_baseline, evidence_of_counts
from controlplane.gates.control_group.spec import ControlGroupSpec
from controlplane.gates.control_group.verdict import judge
from tests.bench.decisions.replay import WORLDS, Cell, replay, write
from tests.bench.rows import Row, cpu_seconds, row

FALSE_WORLDS = tuple(WORLDS)
GOALS = {
    ("4 of 40", "bad release x2"): 0.95,
    ("4 of 40", "bad release x2 under the shock"): 0.95,
    ("4 of 40, drift 0.3 that stands still", "bad release x2"): 0.70,
    ("4 of 40, drift 0.3 that moves", "bad release x2"): 0.70,
    ("8 of 40, drift 0.3 that stands still", "bad release x2"): 0.95,
    ("8 of 40, drift 0.3 that moves", "bad release x2"): 0.95,
}


def measure() -> list[Row]:
    """Replay every world, then time the judge."""
    runs = int(os.environ.get("SEAWALL_BENCH_REPLAYS", "2000"))
    cells: list[Cell] = []
    largest = {}
    for name, world in WORLDS.items():
        found, largest[name] = replay(name, world, runs, seed=20_261_124)
        cells += found
        write(cells, largest, Path("build/decisions.json"))
    return [*quality(cells), _cost()]


def quality(cells: list[Cell]) -> list[Row]:
    """The rows with a goal: good releases stopped (at most 1%), bad ones stopped (at least so many)."""
    rows = []
    for cell in cells:
        if cell.judge != "Seawall":
            continue
        goal = GOALS.get((cell.world, cell.scenario))
        harmless = cell.scenario in ("calm", "fleet-wide shock x2")
        if goal is None and not harmless:
            continue
        target = "<= 1%" if harmless else f">= {100 * (goal or 0):.0f}%"
        ok = cell.rate <= 0.01 if harmless else cell.rate >= (goal or 0)
        spread = f"{100 * cell.low:.1f} to {100 * cell.high:.1f} (95%)"
        what = f"{cell.world}; {cell.runs} replays, alpha 0.01, 36 looks of 5 min"
        rows.append(Row(f"stopped: {cell.scenario}", round(100 * cell.rate, 2), "%", spread, target, ok, what))
    return rows


def _cost() -> Row:
    """1,000 tenants, 36 looks, 100 of them treated; their past is learnt once per rollout and not counted."""
    rng, began = np.random.default_rng(1), 19_007 * 86_400
    names = tuple(f"t{n:04}" for n in range(1000))
    history, volume = rng.poisson(720, (1000, 168)).astype(np.float64), rng.poisson(60, (1000, 36)).astype(np.float64)
    data = Measured(
        names,
        rng.poisson(volume * 0.01).astype(np.float64),
        volume,
        began + 300 * np.arange(1, 37),
        rng.poisson(history * 0.01).astype(np.float64),
        history,
        began - 3600 * np.arange(168)[::-1],
    )
    who = Members(dict.fromkeys(names[:100], float(began)), frozenset(names[100:]))
    spec, base = ControlGroupSpec(bad="bad", volume="all"), count_baseline(data)

    def once() -> None:
        judge(spec, {**evidence_of_counts(data, who, 300, 3, base), "missing": []})

    taken = cpu_seconds(once, 21)
    return row(
        "control group: 1,000 tenants judged", taken, scale=1000, unit="ms", at_most=50, conditions="36 looks, CPU time"
    )
