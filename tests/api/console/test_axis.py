"""A timeline as a drawing: everything under one axis, gaps not bridged, what could not be measured said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.api.console.axis import LEFT, RIGHT, draw
from controlplane.domain.correlation import Entry, Signal, SignalSeries, Timeline

SINCE = datetime(2026, 11, 25, 6, tzinfo=UTC)
MIDDLE = (LEFT + RIGHT) / 2


def at(minute: float) -> datetime:
    return SINCE + timedelta(minutes=minute)


def entry(minute: float, change: str, **other: Any) -> Entry:
    given: dict[str, Any] = {"role": "change", "kind": "rollout", "id": "r-12345678", "what": "deploy of odoo/17 in x"}
    return Entry.model_validate({**given, "at": at(minute), "change": change, **other})


def signal(points: list[tuple[datetime, float]], **other: Any) -> Signal:
    series = (SignalSeries(tenant="shop", points=tuple(points)),) if points else ()
    given = {"name": "errors", "says": "", "unit": "share", "max": 0.01, "min": None, "state": "measured"}
    return Signal.model_validate({**given, "series": series, **other})


def timeline(items: list[Entry], *signals: Signal) -> Timeline:
    return Timeline(
        tenant=None,
        since=SINCE,
        until=at(120),
        step=timedelta(minutes=1),
        items=items[::-1],
        signals=signals,
        complete=True,
    )


def test_a_mark_a_window_and_a_curve_of_one_moment_stand_at_one_place() -> None:
    window = entry(60, "deny", role="window", kind="calendar", id="sale/x", until=at(200), what="calendar sale")
    drawn = draw(timeline([entry(60, "target-failed"), window], signal([(at(60), 0.02), (at(61), 0.02)])))
    rollout, calendar = drawn.lanes
    (mark,) = rollout.marks.values()
    assert (mark.x, mark.sign, mark.kind) == (MIDDLE, "x", "bad")
    assert rollout.name == "odoo/17 12345678"
    assert (calendar.bars[0].x, calendar.bars[0].x + calendar.bars[0].width) == (MIDDLE, RIGHT)
    assert drawn.curves[0].lines[0].startswith(f"{MIDDLE},")
    assert dict(drawn.ticks)[MIDDLE] == "07:00"
    assert len({*(lane.y for lane in drawn.lanes), drawn.curves[0].y}) == 3
    assert max(drawn.curves[0].y, drawn.curves[0].limit_y) < drawn.height


def test_what_was_not_measured_is_not_bridged_and_a_lone_point_is_seen() -> None:
    points = [(at(m), 0.001) for m in (0, 1, 2, 10, 11, 20)]
    (curve,) = draw(timeline([], signal(points))).curves
    assert [len(line.split()) for line in curve.lines] == [3, 2, 2]
    assert (curve.bad, curve.worst) == (False, "max 0.001")


def test_of_marks_in_one_place_the_worst_is_drawn_and_says_that_there_are_others() -> None:
    (lane,) = draw(timeline([entry(30, "started"), entry(30.1, "target-failed"), entry(30.2, "target-verified")])).lanes
    (mark,) = lane.marks.values()
    assert mark.sign == "x"
    assert "and others" in mark.says


def test_a_signal_below_its_least_is_bad_and_one_that_is_unknown_has_no_curve() -> None:
    low = signal([(at(1), 0.2), (at(2), 0.9)], max=None, min=0.5)
    away = signal([], state="unknown", reason="it did not answer")
    first, second = draw(timeline([], low, away)).curves
    assert (first.bad, first.worst, first.limit) == (True, "min 0.2", "at least 0.5")
    assert (second.lines, second.unknown, second.bad) == ((), "it did not answer", False)
