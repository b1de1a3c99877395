"""Calendars that people write."""

from __future__ import annotations

from typing import Protocol


class CalendarSyntax(Protocol):
    """Reads iCalendar texts."""

    def check(self, ics: str, pointer: str) -> None:
        """Read it; raises InvalidError `invalid-calendar` with `pointer` where that fails."""
        ...
