"""Windows: when forward work may start on a tenant, from the calendars attached to it. Pure; ways back never ask.

Deny beats allow. A tenant with an allow calendar is open inside its events only; one without follows the strategy's default. An event
is half open, [start, end). Times without a zone are the tenant's own; one that a clock change skips is read with the offset before it,
one that happens twice is the first (RFC 5545, 3.3.5).
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal
from zoneinfo import ZoneInfo

ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
HORIZON = timedelta(days=400)
"""So far ahead calendars are worked out: more than a year, so that what happens yearly is seen."""

SOON = timedelta(days=1)
"""People are asked for approvals this long before the window opens in which their yes counts."""
FOREVER = 3500
"""The year from which on an event's end means that it never ends."""

type Default = Literal["open", "closed"]
type Stretch = tuple[datetime, datetime]
"""[start, end) in UTC."""


@dataclass(frozen=True, slots=True)
class Span:
    """One time an event happens. Without an offset its times float: they are the tenant's own."""

    start: datetime
    end: datetime
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Worked:
    """A calendar worked out over the horizon. `error`: why it can't be; whoever it is about stays closed."""

    name: str
    effect: Literal["allow", "deny"]
    spans: tuple[Span, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """A stretch of time with the calendar and the event it comes from."""

    start: datetime
    end: datetime
    calendar: str
    summary: str


@dataclass(frozen=True, slots=True)
class Windows:
    """When tenants with the same calendars and zone are open: `opens` in order, apart from each other; and what decides it."""

    zone: str
    opens: tuple[Stretch, ...] = ((ALWAYS, NEVER),)
    denies: tuple[Named, ...] = ()
    allows: tuple[Named, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether a window is open at a moment. `until`: when that changes (None: not within the horizon); `reason` for a person."""

    open: bool
    until: datetime | None
    reason: str = ""
    calendar: str = ""


def windows_of(calendars: Sequence[Worked], zone: str, default: Default = "open") -> Windows:
    """Join calendars, in whatever order they come, for tenants of one time zone."""
    broken = sorted((c.name, c.error) for c in calendars if c.error)
    denies = tuple(sorted(_named(calendars, "deny", zone), key=_by_time))
    allows = tuple(sorted(_named(calendars, "allow", zone), key=_by_time))
    if broken:
        return Windows(zone, (), denies, allows, f"calendar {broken[0][0]} can't be used: {broken[0][1]}")
    allowing = any(c.effect == "allow" for c in calendars)
    whole: tuple[Stretch, ...] = ((ALWAYS, NEVER),) if default == "open" else ()
    opens = _merged((n.start, n.end) for n in allows) if allowing else whole
    return Windows(zone, _without(opens, _merged((n.start, n.end) for n in denies)), denies, allows)


def _by_time(named: Named) -> tuple[datetime, datetime, str, str]:
    return named.start, named.end, named.calendar, named.summary


def _named(calendars: Iterable[Worked], effect: str, zone: str) -> Iterable[Named]:
    for calendar in calendars:
        if calendar.effect == effect:
            for span in calendar.spans:
                start, end = in_utc(span, zone)
                if start < end:
                    yield Named(start, end, calendar.name, span.summary)


def in_utc(span: Span, zone: str) -> Stretch:
    """A span's stretch for a tenant of this zone. One whose start a clock change skips keeps its length."""
    own = ZoneInfo(zone)
    start, end = _instant(span.start, own), _instant(span.end, own)
    if end <= start and span.end.replace(tzinfo=None) > span.start.replace(tzinfo=None):
        end = start + (span.end.replace(tzinfo=None) - span.start.replace(tzinfo=None))
    return start, end


def _instant(when: datetime, own: ZoneInfo) -> datetime:
    """Python's `fold=0` is the RFC's rule: the offset before a gap, the first of two."""
    return (when if when.tzinfo is not None else when.replace(tzinfo=own, fold=0)).astimezone(UTC)


def _merged(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def _without(opens: Sequence[Stretch], denied: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """What is left of `opens` outside of `denied`; both in order and apart from each other."""
    found: list[Stretch] = []
    first = 0
    for start, end in opens:
        while first < len(denied) and denied[first][1] <= start:
            first += 1
        at, index = start, first
        while index < len(denied) and denied[index][0] < end:
            if at < denied[index][0]:
                found.append((at, denied[index][0]))
            at = max(at, denied[index][1])
            index += 1
        if at < end:
            found.append((at, end))
    return tuple(found)


def during(stretches: Iterable[Stretch], now: datetime) -> tuple[datetime | None, datetime | None]:
    """Of overlapping stretches: when what is on now ends (None: nothing is on), and when the next one begins."""
    merged = _merged(stretches)
    ends = next((end for start, end in merged if start <= now < end), None)
    return ends, next((start for start, _ in merged if start > now), None)


def opening(windows: Windows, now: datetime, needs: timedelta = timedelta(0)) -> Opening:
    """Whether work that takes up to `needs` may start now: its window must stay open for so long."""
    index = bisect.bisect_right(windows.opens, now, key=lambda stretch: stretch[0]) - 1
    inside = index >= 0 and now < windows.opens[index][1]
    if inside and _fits(windows.opens[index], now, needs):
        return Opening(open=True, until=_last_start(windows.opens[index], needs))
    later: Stretch | None = next((s for s in islice(windows.opens, index + 1, None) if _fits(s, s[0], needs)), None)
    reason, calendar = _why_closed(windows, now, windows.opens[index] if inside else None, needs)
    if later is None or later[0].year >= FOREVER:
        tail = windows.error or f"no window {'long enough ' if needs else ''}opens within {HORIZON.days} days"
        return Opening(open=False, until=None, reason=_joined(reason, tail), calendar=calendar)
    opener = next((n.calendar for n in windows.allows if n.start <= later[0] < n.end), calendar)
    says = f"opens {said(later[0], windows.zone, now)}"
    return Opening(open=False, until=later[0], reason=_joined(reason, says), calendar=calendar or opener)


def _fits(stretch: Stretch, start: datetime, needs: timedelta) -> bool:
    return stretch[1] == NEVER or stretch[1] - start >= needs


def _last_start(stretch: Stretch, needs: timedelta) -> datetime | None:
    """The first moment at which it is too late; with `needs`, just after the last one that still fits."""
    if stretch[1] == NEVER:
        return None
    return stretch[1] - needs + (timedelta(microseconds=1) if needs else timedelta(0))


def _why_closed(windows: Windows, now: datetime, inside: Stretch | None, needs: timedelta) -> tuple[str, str]:
    if inside is not None:
        closes = said(inside[1], windows.zone, now)
        return f"the change may take {written(needs)} and the window closes {closes}", ""
    end = bisect.bisect_right(windows.denies, now, key=lambda n: n.start)
    denied = [n for n in windows.denies[:end] if now < n.end]
    if not denied:
        return "", ""
    last = max(denied, key=lambda n: (n.end, n.calendar))
    return f"calendar {last.calendar}" + (f" ({last.summary})" if last.summary else ""), last.calendar


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def said(when: datetime, zone: str, now: datetime) -> str:
    """A time as a person of the zone says it: `Tue 23:00 Europe/Paris`, with the date if it is a week away or more."""
    local = when.astimezone(ZoneInfo(zone))
    far = when - now >= timedelta(days=6)
    return f"{local:%a %Y-%m-%d %H:%M} {zone}" if far else f"{local:%a %H:%M} {zone}"


def written(span: timedelta) -> str:
    """A duration in a person's words: `3 h 20 min`."""
    minutes = -(-int(span.total_seconds()) // 60)
    hours, rest = divmod(minutes, 60)
    return " ".join(
        part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else "") if part
    )


@dataclass(frozen=True, slots=True)
class Attached:
    """The windows of a rollout's tenants: `of` says which of `groups` each has. A tenant that is not named is always open.

    `version` is the fleet budget row's when the calendars were read; `good_until`: when they must be worked out again.
    """

    groups: tuple[Windows, ...] = ()
    of: Mapping[str, int] = field(default_factory=dict)
    version: int = -1
    good_until: datetime = NEVER

    def windows(self, tenant: str) -> Windows | None:
        """A tenant's windows; None: always open."""
        group = self.of.get(tenant)
        return None if group is None else self.groups[group]


def starts(
    attached: Attached, tenants: Iterable[str], at: datetime, needs: timedelta, patience: timedelta
) -> tuple[datetime, datetime]:
    """When the first and the last of these tenants may start from `at` on; whoever waits longer than `patience` is not waited for."""
    times = []
    for group in {attached.of.get(tenant) for tenant in tenants}:
        found = None if group is None else opening(attached.groups[group], at, needs)
        if found is None or found.open:
            times.append(at)
        elif found.until is not None and found.until - at <= patience:
            times.append(found.until)
    return (min(times), max(times)) if times else (at, at)


@dataclass(frozen=True, slots=True)
class WaveNeeds:
    """What a wave needs of windows: whose they are, how long one target takes, how long the wave (None: nobody asks)."""

    groups: frozenset[int | None]
    target: timedelta
    wave: timedelta | None


@dataclass(frozen=True, slots=True)
class Closed:
    """What windows forbid at a moment (`at`): targets by (group, wave), and waves that may not begin. `until`: when to look again."""

    of: Mapping[str, int] = field(default_factory=dict)
    shut: Mapping[tuple[int, int], Opening] = field(default_factory=dict)
    waves: Mapping[int, Opening] = field(default_factory=dict)
    until: datetime | None = None
    at: datetime | None = None

    def opens_soon(self, wave: int) -> bool:
        """Whether a wave may begin now or within a day, as far as windows go: worth asking people about."""
        kept = self.waves.get(wave)
        return kept is None or (kept.until is not None and self.at is not None and kept.until - self.at <= SOON)

    def keeps(self, tenant: str, wave: int) -> Opening | None:
        """What keeps a target of a wave from starting; None: nothing."""
        group = self.of.get(tenant)
        return None if group is None else self.shut.get((group, wave))

    def stale(self, now: datetime) -> bool:
        """Whether a window has opened or closed since."""
        return self.until is not None and self.until <= now


def closed_at(attached: Attached, needs: Sequence[WaveNeeds], now: datetime) -> Closed:
    """Look at every group's window once for each wave: costs waves x groups, never the number of targets."""
    shut: dict[tuple[int, int], Opening] = {}
    waves: dict[int, Opening] = {}
    turns: list[datetime] = []
    for number, wave in enumerate(needs):
        found = {g: opening(attached.groups[g], now, wave.target) for g in wave.groups if g is not None}
        shut |= {(g, number): one for g, one in found.items() if not one.open}
        kept = _keeps_wave(attached, wave, found, now)
        if kept is not None:
            waves[number] = kept
        if kept is not None and kept.until is not None and kept.until - SOON > now:
            turns.append(kept.until - SOON)
        turns += [one.until for one in (*found.values(), kept) if one is not None and one.until is not None]
    return Closed(attached.of, shut, waves, min(turns, default=None), now)


def _keeps_wave(attached: Attached, wave: WaveNeeds, found: Mapping[int, Opening], now: datetime) -> Opening | None:
    """A wave may begin when one of its targets may start, and those that may have open windows for as long as the wave takes."""
    closed = [one for one in found.values() if not one.open]
    if found and len(closed) == len(wave.groups):
        return min(closed, key=lambda one: (one.until or NEVER, one.reason))
    if wave.wave is None:
        return None
    whole = [opening(attached.groups[g], now, wave.wave) for g, one in found.items() if one.open]
    short = [one for one in whole if not one.open]
    return min(short, key=lambda one: (one.until or NEVER, one.reason)) if short else None
