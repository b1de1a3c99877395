"""A timeline as a drawing: where each lane, mark and curve stands. Numbers are units of the drawing's own width and height. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from controlplane.domain.correlation import Entry, Signal, SignalSeries, Timeline
from controlplane.domain.timeline_marks import MARKS, lane_of, mark_of

WIDTH: Final = 1200
LEFT: Final = 250
"""Where the axis begins; names stand before it."""
RIGHT: Final = 1060
"""Where it ends; values stand behind it."""
TOP: Final = 30
LANE: Final = 24
CURVE: Final = 44
_TICKS: Final = 6
_NAME: Final = 34
_CLASSES: Final = {
    "x": "bad",
    "!": "bad",
    "<": "warn",
    "?": "warn",
    "+": "good",
    ">": "move",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A sign at a place, and what it says when one points at it."""

    x: float
    sign: str
    says: str

    @property
    def kind(self) -> str:
        """Its colour's class; the sign says the same without."""
        return _CLASSES.get(self.sign, "dim")


@dataclass(frozen=True, slots=True)
class Bar:
    """What lasts."""

    x: float
    width: float
    says: str


@dataclass(slots=True)
class Lane:
    """One thing's marks. `y`: the line that they stand on."""

    name: str
    y: float
    marks: dict[int, Mark] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Curve:
    """One series: its lines (a gap where nothing was measured), its limit, its worst value. `unknown`: why there is none."""

    name: str
    tenant: str
    unit: str
    y: float
    lines: tuple[str, ...] = ()
    limit_y: float = 0
    limit: str = ""
    worst: str = ""
    bad: bool = False
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything, from top to bottom."""

    height: float
    ticks: tuple[tuple[float, str], ...]
    lanes: tuple[Lane, ...]
    curves: tuple[Curve, ...]


def draw(found: Timeline) -> Drawing:
    """Place everything under one axis of time."""
    place = _Place(found.since, found.until)
    lanes = _lanes(reversed(found.items), place)
    curves = _curves(found, place, TOP + LANE * len(lanes))
    return Drawing(TOP + LANE * len(lanes) + CURVE * len(curves) + 10, place.ticks(), lanes, curves)


@dataclass(frozen=True, slots=True)
class _Place:
    since: datetime
    until: datetime

    def x(self, at: datetime) -> float:
        share = (at - self.since) / (self.until - self.since)
        return round(LEFT + (RIGHT - LEFT) * max(0.0, min(1.0, share)), 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        form = "%H:%M" if self.until - self.since <= timedelta(days=2) else "%m-%d %H:%M"
        times = [self.since + (self.until - self.since) * n / _TICKS for n in range(_TICKS + 1)]
        return tuple((self.x(at), at.strftime(form)) for at in times)


def _lanes(items: Iterable[Entry], place: _Place) -> tuple[Lane, ...]:
    """In the order of their first mark."""
    found: dict[str, Lane] = {}
    for item in items:
        key, name = lane_of(item.role, item.kind, item.id, item.what)
        lane = found.setdefault(key, Lane(_short(name), TOP + LANE * (len(found) + 0.5)))
        if item.until is not None:
            start = place.x(item.at)
            lane.bars.append(Bar(start, max(2.0, place.x(item.until) - start), _says(item)))
        else:
            _put(lane, Mark(place.x(item.at), mark_of(item.change), _says(item)))
    return tuple(found.values())


def _put(lane: Lane, mark: Mark) -> None:
    """Of several in one place the worst is drawn, and how many more there are is said."""
    place = int(mark.x // 10)
    there = lane.marks.get(place)
    if there is None:
        lane.marks[place] = mark
        return
    worst = min(there, mark, key=lambda one: MARKS.index(one.sign))
    lane.marks[place] = Mark(worst.x, worst.sign, f"{worst.says} (and others: see the list)")


def _says(item: Entry) -> str:
    end = f" until {item.until:%Y-%m-%d %H:%M}" if item.until else ""
    why = f": {item.reason}" if item.reason else ""
    return f"{item.at:%Y-%m-%d %H:%M:%S}{end} {item.what} {item.change}{why}"


def _curves(found: Timeline, place: _Place, top: float) -> tuple[Curve, ...]:
    rows = [(signal, series) for signal in found.signals for series in (signal.series or (None,))]
    return tuple(_curve(signal, series, place, top + CURVE * n, found.step) for n, (signal, series) in enumerate(rows))


def _curve(signal: Signal, series: SignalSeries | None, place: _Place, top: float, step: timedelta) -> Curve:
    if series is None:
        return Curve(signal.name, "", signal.unit, top + CURVE / 2, unknown=signal.reason or "nothing was measured")
    high = signal.max is not None
    limit = float((signal.max if high else signal.min) or 0.0)
    values = [value for _, value in series.points]
    worst = max(values) if high else min(values)
    scale = max([*values, limit, 0.0]) or 1.0

    def y(value: float) -> float:
        return round(top + CURVE - 8 - (CURVE - 14) * max(0.0, value) / scale, 1)

    parts = _runs(series.points, step * 1.5)
    return Curve(
        name=signal.name,
        tenant=series.tenant or "",
        unit=signal.unit,
        y=top + CURVE / 2,
        lines=tuple(" ".join(f"{place.x(at)},{y(value)}" for at, value in run) for run in parts),
        limit_y=y(limit),
        limit=f"{'at most' if high else 'at least'} {limit:.3g}",
        worst=f"{'max' if high else 'min'} {worst:.3g}",
        bad=worst > limit if high else worst < limit,
    )


def _runs(points: Sequence[tuple[datetime, float]], gap: timedelta) -> list[list[tuple[datetime, float]]]:
    """Points that follow each other; what was not measured is not bridged. A point alone becomes a short line."""
    runs: list[list[tuple[datetime, float]]] = []
    for at, value in points:
        if runs and at - runs[-1][-1][0] <= gap:
            runs[-1].append((at, value))
        else:
            runs.append([(at, value)])
    return [run if len(run) > 1 else [run[0], (run[0][0] + gap / 3, run[0][1])] for run in runs]


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
