"""Working iCalendar texts out: zones, exceptions, rules without an end; and texts that are broken, huge or bombs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controlplane.adapters import icalendars
from controlplane.adapters.icalendars import ICalendars
from controlplane.domain.errors import InvalidError
from controlplane.domain.window_views import FeedEvent
from controlplane.domain.windows import Worked, opening, windows_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def ics(*events: tuple[str, ...]) -> str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//tests//EN"]
    for number, event in enumerate(events):
        lines += ["BEGIN:VEVENT", f"UID:{number}", "DTSTAMP:20260101T000000Z", *event, "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


NIGHTS = (
    "DTSTART;TZID=Europe/Paris:20260106T230000",
    "DTEND;TZID=Europe/Paris:20260107T050000",
    "RRULE:FREQ=WEEKLY;BYDAY=TU",
    "EXDATE;TZID=Europe/Paris:20261124T230000",
    "SUMMARY:nights",
)
FLOATING = ("DTSTART:20260101T220000", "DURATION:PT6H", "RRULE:FREQ=DAILY")
WHOLE_DAYS = ("DTSTART;VALUE=DATE:20261127", "DTEND;VALUE=DATE:20261201", "SUMMARY:Black Friday")
CANCELLED = ("DTSTART:20261125T000000Z", "DTEND:20261126T000000Z", "STATUS:CANCELLED")


async def test_rules_zones_exceptions_and_whole_days_become_spans_over_more_than_a_year() -> None:
    texts = {"nights": ics(NIGHTS), "floating": ics(FLOATING), "days": ics(WHOLE_DAYS, CANCELLED)}
    found, good_until = await ICalendars().expand(texts, NOW)
    nights, floating, days = found["nights"], found["floating"], found["days"]
    assert not isinstance(nights, str)
    assert not isinstance(floating, str)
    assert not isinstance(days, str)
    assert (nights[0].start.isoformat(), nights[0].end.isoformat()) == (
        "2026-12-01T22:00:00+00:00",
        "2026-12-02T04:00:00+00:00",
    )
    summer = [s for s in nights if s.start.month == 7]
    assert {s.start.hour for s in summer} == {21}
    assert floating[0].start.tzinfo is None
    assert len(floating) >= 400
    assert [(d.start.isoformat(), d.end.isoformat(), d.summary) for d in days] == [
        ("2026-11-27T00:00:00", "2026-12-01T00:00:00", "Black Friday")
    ]
    assert good_until > NOW


async def test_what_never_ends_runs_over_no_edge() -> None:
    texts = {
        "z": ics(("DTSTART:20260101T000000Z", "DTEND:99991231T235959Z")),
        "f": ics(("DTSTART:20260101T000000", "DTEND:99991231T235959")),
    }
    found, _ = await ICalendars().expand(texts, NOW)
    for spans in found.values():
        assert not isinstance(spans, str)
        windows = windows_of([Worked("c", "deny", spans)], "America/New_York")
        assert (opening(windows, NOW).open, opening(windows, NOW).until) == (False, None)


def test_a_feed_can_be_read_again_and_equal_events_give_equal_bytes() -> None:
    events = [
        FeedEvent("b", NOW, NOW + timedelta(hours=2), "odoo/17.0.4 (deploy)", "French VAT change"),
        FeedEvent("a", NOW.replace(tzinfo=None), NOW.replace(tzinfo=None) + timedelta(days=1), "Closed", busy=True),
    ]
    written = ICalendars().write(events, "Changes of acme-fr")
    assert written == ICalendars().write(list(reversed(events)), "Changes of acme-fr")
    ICalendars().check(written.decode(), "/ics")
    assert b"SUMMARY:odoo/17.0.4 (deploy)" in written


async def test_ten_thousand_events_are_fine_and_what_was_worked_out_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    many = ics(*((f"DTSTART:202612{n % 28 + 1:02}T{n % 24:02}0000Z", "DURATION:PT30M") for n in range(10_000)))
    calendars = ICalendars()
    found, _ = await calendars.expand({"many": many}, NOW)
    assert len(found["many"]) == 10_000
    monkeypatch.setattr(icalendars, "_WORKER", "nothing would work any more")
    assert await calendars.expand({"many": many}, NOW) == (found, (await calendars.expand({"many": many}, NOW))[1])


async def test_one_text_that_can_t_be_worked_out_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icalendars, "USE_CPU", 1)
    bomb = ics(("DTSTART:19700101T000000Z", "DURATION:PT1S", "RRULE:FREQ=SECONDLY"))
    found, _ = await ICalendars().expand({"bomb": bomb, "fine": ics(WHOLE_DAYS)}, NOW)
    assert found["bomb"] == "Its events take more than 1 s of processor time to work out; use a coarser rule."
    assert len(found["fine"]) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "can't be read as a VCALENDAR"),
        (ics(), "It has no event"),
        (ics(("SUMMARY:when?",)), "no DTSTART"),
        (ics(("DTSTART:20260101T000000Z", "RRULE:FREQ=SOMETIMES")), "can't be read"),
        (ics(("DTSTART;TZID=Mars/Olympus:20260101T000000", "DURATION:PT1H")), "'Mars/Olympus', which nobody knows"),
        (ics(("DTSTART:20260102T000000Z", "DTEND:20260101T000000Z")), "ends before it starts"),
        (ics(*(("DTSTART:20260101T000000Z",) for _ in range(10_001))), "10001 events; the limit is 10000"),
        (
            ics(("DTSTART:20260101T000000Z", "DURATION:PT1S", "RRULE:FREQ=MINUTELY;INTERVAL=20")),
            "more than 20000 times",
        ),
        (ics(("DTSTART:19700101T000000Z", "DURATION:PT1S", "RRULE:FREQ=SECONDLY")), "processor time"),
    ],
    ids=["nonsense", "empty", "no start", "rule", "zone", "backwards", "too many", "too often", "bomb"],
)
def test_what_can_t_be_used_is_refused_with_the_reason(text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "SECONDLY" in text:
        monkeypatch.setattr(icalendars, "CHECK_CPU", 1)
    with pytest.raises(InvalidError) as refused:
        ICalendars().check(text, "/ics")
    assert refused.value.code == "invalid-calendar"
    assert says in refused.value.detail
    assert refused.value.errors[0].pointer == "/ics"
