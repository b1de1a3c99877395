"""Windows: deny beats allow, zones and clock changes, what is closed until when, and what no order of calendars changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.windows import (
    NEVER,
    Attached,
    Span,
    WaveNeeds,
    Worked,
    closed_at,
    in_utc,
    opening,
    windows_of,
    written,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)  # a Tuesday
HOUR = timedelta(hours=1)
PARIS = "Europe/Paris"


def span(start: float, end: float, summary: str = "") -> Span:
    """Hours from noon."""
    return Span(NOON + start * HOUR, NOON + end * HOUR, summary)


def calendar(effect: Any, *spans: Span, name: str = "c") -> Worked:
    return Worked(name, effect, spans)


def test_without_calendars_everything_is_open_for_ever_unless_the_default_is_closed() -> None:
    assert opening(windows_of((), "UTC"), NOON, 100 * HOUR) == opening(windows_of((), PARIS), NOON)
    shut = opening(windows_of((), "UTC", "closed"), NOON)
    assert (shut.open, shut.until, shut.reason) == (False, None, "no window opens within 400 days")


def test_an_allow_calendar_says_when_it_opens_in_the_tenants_own_zone() -> None:
    found = opening(windows_of([calendar("allow", span(10, 16), name="nights")], PARIS), NOON)
    assert (found.open, found.until) == (False, NOON + 10 * HOUR)
    assert (found.reason, found.calendar) == ("opens Tue 23:00 Europe/Paris", "nights")
    inside = opening(windows_of([calendar("allow", span(10, 16))], PARIS), NOON + 11 * HOUR)
    assert (inside.open, inside.until) == (True, NOON + 16 * HOUR)


def test_deny_beats_allow_and_says_which_event() -> None:
    allow, deny = calendar("allow", span(-1, 8)), calendar("deny", span(-2, 3, "Black Friday"), name="peaks")
    found = opening(windows_of([allow, deny], "UTC"), NOON)
    assert (found.open, found.until, found.calendar) == (False, NOON + 3 * HOUR, "peaks")
    assert found.reason == "calendar peaks (Black Friday): opens Tue 15:00 UTC"


def test_an_event_ends_just_before_its_end() -> None:
    windows = windows_of([calendar("allow", span(0, 1))], "UTC")
    assert opening(windows, NOON).open
    assert not opening(windows, NOON + HOUR).open
    assert not opening(windows, NOON - timedelta(microseconds=1)).open


def test_work_starts_only_in_a_window_that_is_long_enough_for_it() -> None:
    windows = windows_of([calendar("allow", span(0, 2), span(10, 16))], PARIS)
    assert opening(windows, NOON, 2 * HOUR).open
    short = opening(windows, NOON, 3 * HOUR)
    assert (short.open, short.until) == (False, NOON + 10 * HOUR)
    assert (
        short.reason
        == "the change may take 3 h and the window closes Tue 15:00 Europe/Paris: opens Tue 23:00 Europe/Paris"
    )
    assert opening(windows, NOON, 7 * HOUR).until is None
    assert opening(windows, NOON, 7 * HOUR).reason.endswith("no window long enough opens within 400 days")


def test_a_calendar_that_can_t_be_worked_out_closes_whoever_it_is_about() -> None:
    windows = windows_of([calendar("allow", span(-1, 5)), Worked("feed", "deny", error="too long")], "UTC")
    found = opening(windows, NOON)
    assert (found.open, found.until, found.reason) == (False, None, "calendar feed can't be used: too long")


@pytest.mark.parametrize(
    ("start", "end", "begins", "ends"),
    [
        ((2026, 11, 24, 23), (2026, 11, 25, 5), "2026-11-24T22:00", "2026-11-25T04:00"),
        ((2026, 3, 29, 2, 30), (2026, 3, 29, 3, 30), "2026-03-29T01:30", "2026-03-29T02:30"),  # 02:30 is skipped
        ((2026, 3, 29, 2, 30), (2026, 3, 29, 3, 0), "2026-03-29T01:30", "2026-03-29T02:00"),  # keeps its length
        ((2026, 3, 29, 1, 0), (2026, 3, 29, 4, 0), "2026-03-29T00:00", "2026-03-29T02:00"),  # an hour shorter
        ((2026, 10, 25, 2, 30), (2026, 10, 25, 4, 0), "2026-10-25T00:30", "2026-10-25T03:00"),  # the first 02:30
    ],
)
def test_floating_times_are_the_tenants_own_through_clock_changes(
    start: tuple[int, ...], end: tuple[int, ...], begins: str, ends: str
) -> None:
    naive = Span(datetime(*start), datetime(*end))  # type: ignore[arg-type]  # noqa: DTZ001 -- floating is the point
    found = in_utc(naive, PARIS)
    assert [f"{when:%Y-%m-%dT%H:%M}" for when in found] == [begins, ends]


def test_a_duration_reads_as_people_say_it() -> None:
    assert [written(timedelta(minutes=m)) for m in (0, 5, 60, 200)] == ["0 min", "5 min", "1 h", "3 h 20 min"]


def test_a_wave_begins_when_somebody_may_start_and_it_should_be_done_in_time() -> None:
    night = windows_of([calendar("allow", span(10, 16))], "UTC")
    day = windows_of([calendar("allow", span(-1, 4))], "UTC")
    attached = Attached((night, day), {"a": 0, "b": 1})
    both = WaveNeeds(frozenset({0, 1}), HOUR, 3 * HOUR)
    closed = closed_at(attached, [both, WaveNeeds(frozenset({0}), HOUR, None)], NOON)
    assert [closed.keeps(tenant, 0) is None for tenant in ("a", "b", "nobody")] == [False, True, True]
    assert set(closed.waves) == {1}
    assert closed.until is not None
    assert closed.until <= NOON + 3 * HOUR + timedelta(seconds=1)
    too_long = closed_at(attached, [WaveNeeds(both.groups, HOUR, 5 * HOUR)], NOON)
    assert "may take 5 h" in too_long.waves[0].reason
    untouched = WaveNeeds(frozenset({0, None}), HOUR, 3 * HOUR)
    assert closed_at(attached, [untouched], NOON).waves == {}


ZONES = st.sampled_from(["UTC", PARIS, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
AROUND = [
    NOON,
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Paris skips an hour
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Paris has one twice
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe skips half an hour
]


def scenes(base: datetime) -> st.SearchStrategy[tuple[list[Worked], datetime]]:
    """Calendars with events around a time, some of them floating, and a moment near it."""
    spans = st.builds(
        lambda start, length: Span(base + timedelta(minutes=start), base + timedelta(minutes=start + length)),
        st.integers(-600, 600),
        st.integers(0, 400),
    )
    floating = spans.map(lambda s: Span(s.start.replace(tzinfo=None), s.end.replace(tzinfo=None)))
    calendars = st.builds(
        lambda name, effect, found: Worked(name, effect, tuple(found)),
        st.sampled_from("abc"),
        st.sampled_from(["allow", "deny"]),
        st.lists(spans | floating, max_size=5),
    )
    moments = st.integers(-900, 900).map(lambda minutes: base + timedelta(minutes=minutes))
    return st.tuples(st.lists(calendars, max_size=4), moments)


SCENES = st.sampled_from(AROUND).flatmap(scenes)


@given(SCENES, ZONES, st.integers(0, 300), st.sampled_from(["open", "closed"]))
def test_nothing_starts_in_a_deny_nor_outside_every_allow(
    scene: tuple[list[Worked], datetime], zone: str, minutes: int, default: Any
) -> None:
    calendars, now = scene
    needs = timedelta(minutes=minutes)
    found = opening(windows_of(calendars, zone, default), now, needs)

    def at(effect: str, when: datetime) -> bool:
        stretches = [in_utc(s, zone) for c in calendars if c.effect == effect for s in c.spans]
        return any(start <= when < end for start, end in stretches)

    def may(when: datetime) -> bool:
        allowing = any(c.effect == "allow" for c in calendars)
        return not at("deny", when) and (at("allow", when) if allowing else default == "open")

    if needs == timedelta(0):
        assert found.open == may(now)
    elif found.open:
        assert all(may(now + part * needs / 4) for part in range(4))
    if not found.open and found.until is not None:
        assert found.until > now
        assert may(found.until)
    if found.open and found.until is not None and needs == timedelta(0):
        assert not may(found.until)


@given(SCENES, ZONES, st.randoms())
def test_the_order_of_calendars_does_not_matter(scene: tuple[list[Worked], datetime], zone: str, random: Any) -> None:
    calendars, now = scene
    shuffled = list(calendars)
    random.shuffle(shuffled)
    assert windows_of(calendars, zone) == windows_of(shuffled, zone)
    assert opening(windows_of(calendars, zone), now) == opening(windows_of(shuffled, zone), now)


@given(SCENES, ZONES, st.integers(0, 300))
def test_what_is_closed_opens_when_it_said_it_would(
    scene: tuple[list[Worked], datetime], zone: str, minutes: int
) -> None:
    calendars, now = scene
    windows, needs = windows_of(calendars, zone), timedelta(minutes=minutes)
    found = opening(windows, now, needs)
    if found.until is not None and found.until != NEVER:
        assert opening(windows, found.until, needs).open is not found.open or found.open
        assert opening(windows, found.until - timedelta(microseconds=1), needs).open is found.open


def test_people_are_asked_a_day_before_the_window_in_which_their_yes_counts() -> None:
    attached = Attached((windows_of([calendar("allow", span(72, 80))], "UTC"),), {"a": 0})
    needs = [WaveNeeds(frozenset({0}), HOUR, HOUR)]
    early = closed_at(attached, needs, NOON)
    assert not early.opens_soon(0)
    assert early.until == NOON + 48 * HOUR
    assert closed_at(attached, needs, NOON + 48 * HOUR).opens_soon(0)
    assert early.opens_soon(1)
