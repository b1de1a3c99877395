"""Reading looks and pasts of both sides, and comparing them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controlplane.ports.gates import Evidence, GateScene, Metrics, MetricsError, RangeSeries

from .baseline import Baseline
from .duration_sides import duration_baseline, evidence_of_durations
from .durations import DurationBaseline
from .sides import PERIOD, Measured, Members, count_baseline, evidence_of_counts
from .spec import ControlGroupSpec, Measure

type Floats = NDArray[np.float64]
type Table = dict[str, Floats]

MOST_LOOKS = 2000
"""A longer rollout is judged by its last so many looks."""
PASTS_KEPT = 64
UNMEASURED_LOOKS = 3
"""A changed tenant without data in so many last looks makes the verdict unknown."""


@dataclass
class _Past:
    """Tenants' history before a rollout began, and what was learnt of it last, for which tenants: who is compared changes with each wave."""

    tables: tuple[Table, Table]
    learnt_of: tuple[str, ...] = ()
    learnt: Baseline | DurationBaseline | None = None


class Comparison:
    """Compares for every rollout of this process, and keeps what it learnt of their pasts."""

    def __init__(self) -> None:
        self._pasts: OrderedDict[tuple[str, str, str, int], _Past] = OrderedDict()

    async def observe(self, spec: ControlGroupSpec, scene: GateScene, source: Metrics) -> Evidence:
        """Read looks since the rollout began and, once, each tenant's own past; give what both sides show. Raises MetricsError."""
        fleet = scene.fleet()
        members = Members({t: at.timestamp() for t, at in fleet.changed.items()}, fleet.untouched)
        if not members.since:
            return {"treated": 0}
        found = [await self._compare(spec, one, scene, source, members) for one in spec.measures]
        if len(found) == 1:
            return found[0]
        return {**found[0], "missing": sorted({*found[0]["missing"], *found[1]["missing"]}), "also": found[1]}

    async def _compare(
        self, spec: ControlGroupSpec, measure: Measure, scene: GateScene, source: Metrics, members: Members
    ) -> dict[str, Any]:
        began, interval = min(members.since.values()), int(spec.interval.total_seconds())
        past = await self._past(spec, measure, scene, source, began)
        ends = _ends(began, scene.now.timestamp(), interval)
        looks = await _tables(measure, source, ends, interval) if ends.size else ({}, {})
        measured = _measured(members, ends, looks, _before(spec, began), past.tables)
        return await asyncio.to_thread(_evidence, spec, measure, measured, members, past)

    async def _past(
        self, spec: ControlGroupSpec, measure: Measure, scene: GateScene, source: Metrics, began: float
    ) -> _Past:
        """What lies before a rollout's beginning does not change any more, so it is read once. The beginning does: it moves when the first
        tenant goes back, and then other hours count.
        """
        key = (str(scene.rollout_id), spec.model_dump_json(), measure.kind, int(began))
        if key not in self._pasts:
            self._pasts[key] = _Past(await _tables(measure, source, _before(spec, began), PERIOD))
        self._pasts.move_to_end(key)
        while len(self._pasts) > PASTS_KEPT:
            self._pasts.popitem(last=False)
        return self._pasts[key]


def _evidence(
    spec: ControlGroupSpec, measure: Measure, measured: Measured, members: Members, past: _Past
) -> dict[str, Any]:
    """Evidence over the tenants compared now; what their past lets expect is learnt again only when they are others."""
    interval = int(spec.interval.total_seconds())
    if past.learnt is None or past.learnt_of != measured.tenants:
        past.learnt = count_baseline(measured) if measure.kind == "counts" else duration_baseline(measured)
        past.learnt_of = measured.tenants
    if isinstance(past.learnt, DurationBaseline):
        evidence = evidence_of_durations(measured, members, interval, spec.min_control, past.learnt)
    else:
        evidence = evidence_of_counts(measured, members, interval, spec.min_control, past.learnt)
    return {**evidence, "missing": _missing(measured, members, interval)}


def _measured(
    members: Members,
    ends: NDArray[np.int64],
    looks: tuple[Table, Table],
    before: NDArray[np.int64],
    history: tuple[Table, Table],
) -> Measured:
    """Tables as grids over everybody who is compared."""
    tenants = tuple(sorted({*members.since, *members.untouched}))
    bad, volume = (_grid(table, tenants, ends) for table in looks)
    history_bad, history_volume = (_grid(table, tenants, before) for table in history)
    return Measured(tenants, bad, volume, ends, history_bad, history_volume, before)


def _before(spec: ControlGroupSpec, began: float) -> NDArray[np.int64]:
    """When each hour of history before a rollout's beginning ends."""
    return _ends(began - spec.history.total_seconds(), began, PERIOD)


def _ends(start: float, end: float, step: int) -> NDArray[np.int64]:
    """When each whole span of `step` seconds after `start` ends; the newest `MOST_LOOKS`."""
    first = int(start) + step
    return np.arange(first, int(end) + 1, step, dtype=np.int64)[-MOST_LOOKS:]


async def _tables(measure: Measure, source: Metrics, ends: NDArray[np.int64], window: int) -> tuple[Table, Table]:
    """(bad, volume) per tenant and time; for durations the second is the duration and the first is empty."""
    start, end = (datetime.fromtimestamp(int(at), tz=UTC) for at in (ends[0], ends[-1]))
    step = timedelta(seconds=int(ends[1] - ends[0]) if ends.size > 1 else window)
    found = [
        _table(await source.range(query.replace("{window}", f"{window}s"), start, end, step)) if query else {}
        for query in (measure.bad, measure.volume)
    ]
    return found[0], found[1]


def _table(series: Sequence[RangeSeries]) -> Table:
    found: Table = {}
    for one in series:
        tenant = one.labels.get("tenant", "")
        if not tenant or tenant in found:
            raise MetricsError("the query gives series that no tenant label tells apart")
        found[tenant] = np.array(one.points, dtype=np.float64).reshape(-1, 2)
    return found


def _grid(table: Table, tenants: Sequence[str], ends: NDArray[np.int64]) -> Floats:
    """Values at the ends of looks: [tenant, time], NaN where there is none."""
    grid = np.full((len(tenants), ends.size), np.nan)
    for row, tenant in enumerate(tenants):
        points = table.get(tenant)
        if points is None or not points.size or not ends.size:
            continue
        at = np.searchsorted(ends, np.rint(points[:, 0]).astype(np.int64))
        fits = (at < ends.size) & (ends[np.minimum(at, ends.size - 1)] == np.rint(points[:, 0]).astype(np.int64))
        grid[row, at[fits]] = points[fits, 1]
    return grid


def _missing(measured: Measured, members: Members, interval: int) -> list[str]:
    """Changed tenants whose last looks have no data: they may be too broken to say so."""
    last = measured.volume[:, -UNMEASURED_LOOKS:]
    if last.shape[1] < UNMEASURED_LOOKS:
        return []
    begun = float(measured.ends[-UNMEASURED_LOOKS]) - interval
    dark = ~np.isfinite(last).any(axis=1)
    return [t for t, no in zip(measured.tenants, dark, strict=True) if no and members.since.get(t, np.inf) <= begun]
