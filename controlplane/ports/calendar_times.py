"""When calendars have events, for rules that ask."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.rule_variables import CalendarTime


class CalendarTimes(Protocol):
    """Looks calendars up at a moment."""

    async def at(self, calendars: Mapping[str, CalendarSpec], zone: str, now: datetime) -> Mapping[str, CalendarTime]:
        """What each calendar says to somebody in this time zone (floating times are local). Raises InvalidError where one can't be expanded."""
        ...
