"""What a figure looks like, and how to take one."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One figure. `spread`: the lowest and highest of the runs; `ok` None: measured, but no target is set."""

    name: str
    value: float
    unit: str
    spread: str
    target: str
    ok: bool | None
    conditions: str

    def as_json(self) -> dict[str, object]:
        """Give the row for `build/bench.json`."""
        return asdict(self)


def cpu_seconds(work: Callable[[], object], runs: int) -> list[float]:
    """Take the CPU time of each run, after one that warms up; garbage of other runs is collected before each."""
    work()
    taken = []
    for _ in range(runs):
        gc.collect()
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return taken


def row(name: str, taken: list[float], *, scale: float, unit: str, at_most: float | None, conditions: str) -> Row:
    """Make a row of runs in seconds: the median, times `scale`, against `at_most` in the row's unit."""
    values = sorted(t * scale for t in taken)
    median = statistics.median(values)
    return Row(
        name=name,
        value=round(median, 3),
        unit=unit,
        spread=f"{values[0]:.3g} to {values[-1]:.3g} ({len(values)} runs)",
        target="" if at_most is None else f"<= {at_most:g} {unit}",
        ok=None if at_most is None else median <= at_most,
        conditions=conditions,
    )


def sizes() -> list[int]:
    """Tenants of each bench that uses the local control plane (`SEAWALL_BENCH_TENANTS`)."""
    return [int(size) for size in os.environ.get("SEAWALL_BENCH_TENANTS", "100,1000").split(",")]


def repeats() -> int:
    """How often each is run (`SEAWALL_BENCH_RUNS`)."""
    return int(os.environ.get("SEAWALL_BENCH_RUNS", "3"))


async def side_by_side(cap: int, work: list[Callable[[], Awaitable[None]]]) -> None:
    """Run all with so many at once."""
    waiting = iter(work)

    async def lane() -> None:
        for one in waiting:
            await one()

    async with asyncio.TaskGroup() as group:
        for _ in range(cap):
            group.create_task(lane())
