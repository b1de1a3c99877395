"""iCalendar (RFC 5545) by the library `icalendar`."""

from __future__ import annotations

from typing import Final

import icalendar

from controlplane.domain.errors import FieldError, InvalidError

MAX_EVENTS: Final = 10_000


class ICalendars:
    """See `controlplane.ports.calendars.CalendarSyntax`."""

    def check(self, ics: str, pointer: str) -> None:
        """Parse; raises InvalidError."""
        try:
            calendar = icalendar.Calendar.from_ical(ics)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _invalid(f"It can't be read as a VCALENDAR: {str(error)[:200]}", pointer) from error
        if calendar.name != "VCALENDAR":
            raise _invalid("It is not one VCALENDAR.", pointer)
        broken = [str(problem[1]) for event in calendar.walk("VEVENT") for problem in event.errors]
        events = calendar.walk("VEVENT")
        if broken:
            raise _invalid(f"An event has a property that can't be read: {broken[0][:200]}", pointer)
        if not events:
            raise _invalid("It has no event (VEVENT), so it would never say anything.", pointer)
        if len(events) > MAX_EVENTS:
            raise _invalid(f"It has {len(events)} events; the limit is {MAX_EVENTS}.", pointer)
        if any("DTSTART" not in event for event in events):
            raise _invalid("An event has no DTSTART.", pointer)


def _invalid(detail: str, pointer: str) -> InvalidError:
    return InvalidError(detail, code="invalid-calendar", errors=[FieldError(pointer, detail)])
