"""Calendars that people write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from controlplane.domain.window_views import FeedEvent
from controlplane.domain.windows import Span

type WorkedOut = tuple[Span, ...] | str
"""The times its events happen, or why they can't be worked out."""


class CalendarSyntax(Protocol):
    """Reads iCalendar texts."""

    def check(self, ics: str, pointer: str) -> None:
        """Read it, and work its events out over the horizon; raises InvalidError `invalid-calendar` with `pointer` where that fails."""
        ...


class Calendars(CalendarSyntax, Protocol):
    """Works iCalendar texts out."""

    async def expand(self, texts: Mapping[str, str], now: datetime) -> tuple[Mapping[str, WorkedOut], datetime]:
        """Work texts out, by whatever name they are given under, from a day before `now` over the horizon; and until when that may be used.

        Limited in time and memory; what was worked out is kept.
        """
        ...

    def write(self, events: Sequence[FeedEvent], name: str) -> bytes:
        """Write a feed; equal events give equal bytes."""
        ...
