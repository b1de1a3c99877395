"""Reads and expands iCalendar texts in a process of its own, whose time and memory are limited: a recurrence rule may be a bomb.

One JSON request on stdin, `{"cpuSeconds", "items": [{"ics", "from", "to"}]}`; one JSON answer on stdout, a list with
`{"events": n, "spans": [[start, end, summary], ...]}` or `{"error": sentence}` for each item. A span's times are ISO 8601: with an
offset where the event has a zone, without one where it floats (RFC 5545, 3.3.5), and a whole day is from midnight to midnight.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from datetime import UTC, date, datetime, time
from typing import Any

import icalendar
import recurring_ical_events

MAX_EVENTS = 10_000
MAX_SPANS = 20_000
MEMORY = 1 << 30
FOREVER = 3500
"""What ends in this year or later never ends; the library counts back and forth by an event's length, so it must not be longer."""
_TIMES = ("DTSTART", "DTEND", "RECURRENCE-ID", "EXDATE", "RDATE")


class RefusedError(Exception):
    """The text can't be used; the message says why."""


class TooLongError(BaseException):
    """The processor time for one text is used up. No `Exception`, so that no library swallows it."""


def expand(item: dict[str, Any]) -> dict[str, Any]:
    """Check one text and list its spans between two instants."""
    calendar = parsed(item["ics"])
    events = calendar.walk("VEVENT")
    start, end = datetime.fromisoformat(item["from"]), datetime.fromisoformat(item["to"])
    spans = []
    for event in recurring_ical_events.of(calendar).between(start, end):
        begin, finish = _moment(event["DTSTART"].dt), _moment(event["DTEND"].dt)
        if str(event.get("STATUS", "")).upper() != "CANCELLED":
            spans.append([begin.isoformat(), finish.isoformat(), str(event.get("SUMMARY", ""))[:200]])
        if len(spans) > MAX_SPANS:
            days = (end - start).days
            raise RefusedError(f"Its events happen more than {MAX_SPANS} times in {days} days; use a coarser rule.")
    return {"events": len(events), "spans": spans}


def parsed(ics: str) -> Any:
    """Read a text; raises `RefusedError`."""
    calendar: Any = icalendar.Calendar.from_ical(ics)
    if calendar.name != "VCALENDAR":
        raise RefusedError("It is not one VCALENDAR.")
    events = calendar.walk("VEVENT")
    if not events:
        raise RefusedError("It has no event (VEVENT), so it would never say anything.")
    if len(events) > MAX_EVENTS:
        raise RefusedError(f"It has {len(events)} events; the limit is {MAX_EVENTS}.")
    for event in events:
        if event.errors:
            raise RefusedError(f"An event has a property that can't be read: {str(event.errors[0][1])[:200]}")
        if "DTSTART" not in event:
            raise RefusedError("An event has no DTSTART.")
        _check_zones(event)
        if event.end < event.start:
            raise RefusedError(f"An event ends before it starts: {event.get('SUMMARY', event['DTSTART'].dt)}")
        if event.end.year >= FOREVER and "DTEND" in event:
            event["DTEND"] = icalendar.vDDDTypes(event["DTEND"].dt.replace(year=FOREVER, month=1, day=1))
    return calendar


def _check_zones(event: Any) -> None:
    """A zone that nobody knows would silently make its times float."""
    for name in _TIMES:
        for zone, when in _times(event.get(name)):
            if zone and isinstance(when, datetime) and when.tzinfo is None:
                raise RefusedError(f"{name} names the time zone {zone!r}, which nobody knows.")


def _times(found: Any) -> list[tuple[str | None, Any]]:
    """The times of a property, which may stand there several times and hold several each, with the zone they name."""
    times: list[tuple[str | None, Any]] = []
    for one in found if isinstance(found, list) else [found] if found is not None else []:
        held = [each.dt for each in one.dts] if hasattr(one, "dts") else [one.dt]
        times += [(one.params.get("TZID"), when) for when in held]
    return times


def _moment(when: Any) -> datetime:
    """In UTC, or floating."""
    if when.year >= FOREVER:
        return datetime(FOREVER, 1, 1, tzinfo=UTC)
    if isinstance(when, datetime):
        return when if when.tzinfo is None else when.astimezone(UTC)
    if isinstance(when, date):
        return datetime.combine(when, time())
    raise RefusedError(f"{when!r} is no time.")


def answer(item: dict[str, Any], cpu_seconds: float) -> dict[str, Any]:
    """Expand one text within its processor time."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        return expand(item)
    except TooLongError:
        return {
            "error": f"Its events take more than {cpu_seconds:g} s of processor time to work out; use a coarser rule."
        }
    except RefusedError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "Its events take too much memory to work out; use a coarser rule."}
    except Exception as error:  # noqa: BLE001 -- whatever the libraries say of a text is said of the text
        return {"error": f"It can't be read as a VCALENDAR: {str(error)[:200]}"}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_long(_signal: int, _frame: object) -> None:
    raise TooLongError


def main() -> None:
    """Serve one request."""
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, _too_long)
    json.dump([answer(item, request["cpuSeconds"]) for item in request["items"]], sys.stdout)


if __name__ == "__main__":
    main()
