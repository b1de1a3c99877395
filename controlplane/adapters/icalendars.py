"""iCalendar (RFC 5545) by the libraries `icalendar` and `recurring-ical-events`, in a limited process (`icalendar_worker.py`)."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.names import digest_of
from controlplane.domain.rule_variables import CalendarTime
from controlplane.domain.window_views import FeedEvent
from controlplane.domain.windows import HORIZON, Span, during, in_utc
from controlplane.ports.calendars import WorkedOut

_WORKER = Path(__file__).with_name("icalendar_worker.py")
CHECK_CPU: Final = 5
"""Seconds of processor time that a text may take when it is stored."""
USE_CPU: Final = 20
"""As above when it is used: what passed the check once must not fail on a slower machine."""
_WALL: Final = 60
_DAY = timedelta(days=1)

log = structlog.get_logger(__name__)


class ICalendars:
    """See `controlplane.ports.calendars.Calendars`."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, datetime], WorkedOut] = {}
        self._working = asyncio.Lock()

    def check(self, ics: str, pointer: str) -> None:
        """Work it out once. Blocks: belongs in a thread."""
        start = _day_before(datetime.now(UTC))
        answer = _ask([_item(ics, start)], CHECK_CPU)[0]
        if "error" in answer:
            detail = str(answer["error"])
            raise InvalidError(detail, code="invalid-calendar", errors=[FieldError(pointer, detail)])

    async def expand(self, texts: Mapping[str, str], now: datetime) -> tuple[Mapping[str, WorkedOut], datetime]:
        """Work out what isn't known yet, all in one process; alone those that it did not get to."""
        start = _day_before(now)
        keys = {name: (digest_of(ics), start) for name, ics in texts.items()}
        async with self._working:
            self._known = {key: value for key, value in self._known.items() if key[1] >= start - _DAY}
            missing = {keys[name]: ics for name, ics in texts.items() if keys[name] not in self._known}
            if missing:
                found = await asyncio.to_thread(_expand, list(missing.values()), start)
                self._known |= dict(zip(missing, found, strict=True))
            return {name: self._known[key] for name, key in keys.items()}, start + 2 * _DAY

    async def at(self, calendars: Mapping[str, CalendarSpec], zone: str, now: datetime) -> Mapping[str, CalendarTime]:
        """What each calendar says at a moment (see `controlplane.ports.calendar_times`)."""
        found, _ = await self.expand({name: spec.ics for name, spec in calendars.items()}, now)
        times = {}
        for name, spans in found.items():
            if isinstance(spans, str):
                raise InvalidError(f"Calendar {name} can't be used: {spans}", code="invalid-calendar")
            ends, starts = during([in_utc(span, zone) for span in spans], now)
            times[name] = CalendarTime(active=ends is not None, ends=ends, starts=starts)
        return times

    def write(self, events: Sequence[FeedEvent], name: str) -> bytes:
        """Write a feed. An event's stamp is its own start, so that what has not changed gives the same bytes."""
        import icalendar  # 6 MB that only feeds need: what is read is read in a process of its own

        feed = icalendar.Calendar()
        feed.add("prodid", "-//Seawall//schedule//EN")
        feed.add("version", "2.0")
        feed.add("x-wr-calname", name)
        for one in sorted(events, key=lambda e: e.uid):
            event = icalendar.Event()
            event.add("uid", f"{one.uid}@seawall.dev")
            event.add(
                "dtstamp", one.start.replace(tzinfo=UTC) if one.start.tzinfo is None else one.start.astimezone(UTC)
            )
            event.add("dtstart", one.start)
            event.add("dtend", one.end)
            event.add("summary", one.summary)
            event.add("transp", "OPAQUE" if one.busy else "TRANSPARENT")
            if one.description:
                event.add("description", one.description)
            feed.add_component(event)
        written: bytes = feed.to_ical()
        return written


def _day_before(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - _DAY


def _item(ics: str, start: datetime) -> dict[str, str]:
    return {"ics": ics, "from": start.isoformat(), "to": (start + HORIZON).isoformat()}


def _expand(texts: Sequence[str], start: datetime) -> list[WorkedOut]:
    answers = _ask([_item(ics, start) for ics in texts], USE_CPU)
    if len(texts) > 1 and all("ended" in answer for answer in answers):
        return [_expand([ics], start)[0] for ics in texts]
    return [_worked(answer) for answer in answers]


def _worked(answer: Mapping[str, Any]) -> WorkedOut:
    if "error" in answer:
        return str(answer["error"])
    return tuple(Span(datetime.fromisoformat(s), datetime.fromisoformat(e), text) for s, e, text in answer["spans"])


def _ask(items: Sequence[Mapping[str, str]], cpu_seconds: float) -> list[dict[str, Any]]:
    """Run one process over the texts. If it ends by its limits, every answer is that error."""
    request = json.dumps({"cpuSeconds": cpu_seconds, "items": items})
    seconds = _WALL + 3 * cpu_seconds * len(items)
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(_WORKER)],
            input=request,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
        )
        return list(json.loads(done.stdout))
    except (subprocess.SubprocessError, ValueError) as error:
        log.warning("working calendars out was ended", texts=len(items), error=type(error).__name__)
        sentence = "Working its events out took too much time or memory; use coarser rules."
        return [{"error": sentence, "ended": True} for _ in items]
