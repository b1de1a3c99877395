"""Timelines: order, pages, steps of series."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.correlation import (
    POINTS,
    STEPS,
    Entry,
    Position,
    checked_span,
    finite,
    merged,
    newest_first,
    reason_of,
    role_of,
)
from controlplane.domain.errors import InvalidError
from controlplane.domain.event_catalogue import KNOWN

NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)


def entry(minute: int, kind: str, name: str, seq: int) -> Entry:
    return Entry(
        at=NOW + timedelta(minutes=minute), role="change", kind=kind, id=name, seq=seq, change="changed", what=""
    )


_PLACES = st.tuples(st.integers(0, 3), st.sampled_from(["gate", "rollout"]), st.sampled_from("abc"), st.integers(0, 3))
_SOURCES = st.lists(st.integers(0, 2), min_size=1).flatmap(
    lambda owners: st.lists(_PLACES, min_size=len(owners), max_size=len(owners), unique=True).map(
        lambda places: [[entry(*p) for p, o in zip(places, owners, strict=True) if o == n] for n in range(3)]
    )
)


@given(_SOURCES, st.integers(1, 4))
def test_page_by_page_everything_comes_once_and_in_order(sources: list[list[Entry]], limit: int) -> None:
    def read(source: list[Entry], after: Position | None) -> list[Entry]:
        """As a store reads: older than the position, newest first, cut one after the page."""
        return [e for e in newest_first(source) if after is None or e.position < after][: limit + 1]

    seen: list[Entry] = []
    after: Position | None = None
    more = True
    while more:
        page, more = merged([read(source, after) for source in sources], limit, after)
        assert len(page) <= limit
        assert page or not more
        seen += page
        after = page[-1].position if page else after
    assert seen == newest_first(e for source in sources for e in source)


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=92)))
def test_a_step_is_one_that_people_count_in_and_gives_no_more_points_than_fit(length: timedelta) -> None:
    step = checked_span(NOW - length, NOW).step
    assert step in STEPS
    assert length / step <= POINTS * 16 / 15


@pytest.mark.parametrize("length", [timedelta(0), timedelta(days=93), timedelta(hours=-1)])
def test_an_empty_or_endless_span_is_refused(length: timedelta) -> None:
    with pytest.raises(InvalidError):
        checked_span(NOW - length, NOW)


def test_every_change_has_a_role_and_ill_health_is_a_signal() -> None:
    assert {role_of(thing, change) for thing, change in KNOWN} == {"change", "signal"}
    assert role_of("rollout", "target-failed") == "signal"
    assert role_of("rollout", "target-rolled-back") == "change"


def test_what_is_no_number_is_left_out_of_a_series() -> None:
    assert finite([(0.0, 1.5), (15.0, float("nan")), (30.0, float("inf"))], UTC) == (
        (datetime(1970, 1, 1, tzinfo=UTC), 1.5),
    )


def test_a_reason_names_its_gate_or_person() -> None:
    assert reason_of({"gate": "metric", "reason": "0.04 > 0.01"}) == "metric: 0.04 > 0.01"
    assert reason_of({"by": "mia", "code": "aborted"}) == "mia: aborted"
    assert reason_of({"targets": 4}) == ""
