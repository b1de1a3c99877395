"""What people see of calendars and windows, and what the feeds tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field

from controlplane.domain.self_service import Schedule
from controlplane.domain.windows import NEVER, Attached, Span, in_utc, opening
from controlplane.domain.wire import Wire

MAX_DAYS = 366
LISTED = 1000
_FEED = {"deny": "Closed", "allow": "Window"}


class Occurrence(Wire):
    """One time an event of a calendar happens; floating times are read in the zone that was asked for."""

    start: datetime
    end: datetime
    summary: str


class CalendarEvents(Wire):
    """When a calendar's events happen, at most 1,000. `error`: why they can't be worked out."""

    name: str
    effect: str
    selector: str
    zone: str
    items: list[Occurrence]
    error: str = ""


class OpenWindow(Wire):
    """A stretch of time in which changes may start. None: no beginning, or no end."""

    start: datetime | None
    end: datetime | None


class TenantWindows(Wire):
    """When changes may start on a tenant. `until`: when that changes next; `reason`: why it is closed."""

    tenant: str
    environment: str
    zone: str
    open: bool
    until: datetime | None
    reason: str
    windows: list[OpenWindow] = Field(description="Open windows of the days asked for, at most 1,000.")


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event of a feed. Its times may float, as a calendar's do; `busy`: nothing forward happens then."""

    uid: str
    start: datetime
    end: datetime
    summary: str
    description: str = ""
    busy: bool = False


@dataclass(frozen=True, slots=True)
class WaveAhead:
    """A wave of a rollout that is not over, with when it should run."""

    rollout: str
    what: str
    wave: str
    state: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class FreezeAhead:
    """A freeze in force."""

    id: str
    selector: str
    reason: str
    start: datetime
    until: datetime | None


def occurrences(spans: Iterable[Span], zone: str, start: datetime, end: datetime) -> list[Occurrence]:
    """The spans that touch [start, end), in order, in UTC."""
    found = [(*in_utc(span, zone), span.summary) for span in spans]
    touching = sorted(one for one in found if one[0] < end and one[1] > start)
    return [Occurrence(start=s, end=e, summary=text) for s, e, text in touching[:LISTED]]


def tenant_windows(
    attached: Attached, tenant: str, environment: str, zone: str, now: datetime, until: datetime
) -> TenantWindows:
    """A tenant's open windows from now on."""
    mine = attached.windows(tenant)
    if mine is None:
        whole = [OpenWindow(start=None, end=None)]
        return TenantWindows(
            tenant=tenant, environment=environment, zone=zone, open=True, until=None, reason="", windows=whole
        )
    found = opening(mine, now)
    opens = [s for s in mine.opens if s[0] < until and s[1] > now][:LISTED]
    return TenantWindows(
        tenant=tenant,
        environment=environment,
        zone=zone,
        open=found.open,
        until=found.until,
        reason=found.reason,
        windows=[OpenWindow(start=max(now, s), end=None if e == NEVER else e) for s, e in opens],
    )


def tenant_feed(schedule: Schedule, windows: Sequence[TenantWindows]) -> list[FeedEvent]:
    """What a tenant's owner subscribes to: planned changes and open windows."""
    found = []
    for item in schedule.items:
        if item.expected:
            waits = "; ".join(f"waits for {w.gate}: {w.reason}" for w in item.waiting_for)
            uid = f"change-{item.rollout}-{item.environment}-{schedule.tenant}"
            says = "\n".join(part for part in (item.why, waits) if part)
            found.append(FeedEvent(uid, item.expected[0], item.expected[-1], f"{item.release} ({item.kind})", says))
    for one in windows:
        for window in one.windows:
            if window.start is not None and window.end is not None:
                uid = f"window-{one.tenant}-{one.environment}-{window.start:%Y%m%dT%H%M%S}"
                found.append(FeedEvent(uid, window.start, window.end, f"Window open ({one.environment})"))
    return found


def fleet_feed(
    waves: Iterable[WaveAhead],
    freezes: Iterable[FreezeAhead],
    calendars: Iterable[tuple[str, str, Sequence[Span]]],
    now: datetime,
) -> list[FeedEvent]:
    """What the operators subscribe to: expected waves, freezes in force, and every calendar's events (name, effect or what they mark, spans)."""
    found = [
        FeedEvent(f"wave-{w.rollout}-{w.wave}", w.start, w.end, f"{w.what} {w.wave}", f"rollout {w.rollout}, {w.state}")
        for w in waves
    ]
    for freeze in freezes:
        end = freeze.until or now + timedelta(days=1)
        whom = freeze.selector or "the whole fleet"
        until = "" if freeze.until else " (until it is lifted)"
        found.append(
            FeedEvent(f"freeze-{freeze.id}", freeze.start, end, f"Freeze: {whom}{until}", freeze.reason, busy=True)
        )
    for name, effect, spans in calendars:
        for span in spans[:LISTED]:
            uid = f"calendar-{name}-{span.start:%Y%m%dT%H%M%S}-{span.end:%Y%m%dT%H%M%S}"
            says = f"{_FEED.get(effect, effect.capitalize())}: {span.summary or name}"
            found.append(FeedEvent(uid, span.start, span.end, says, f"calendar {name}", busy=effect == "deny"))
    return found
