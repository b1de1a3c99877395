"""Calendars worked out for people: what happens when, when a tenant is open, and the feeds."""

from __future__ import annotations

from datetime import datetime, timedelta

from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.errors import FieldError, InvalidError, NotFoundError
from controlplane.domain.window_views import (
    CalendarEvents,
    FeedEvent,
    FreezeAhead,
    TenantWindows,
    fleet_feed,
    occurrences,
    tenant_windows,
)
from controlplane.domain.windows import HORIZON, Span
from controlplane.ports.calendars import Calendars
from controlplane.ports.stores.configuration import ConfigRecord
from controlplane.ports.stores.windows import Attachments
from controlplane.ports.uow import UnitOfWork
from controlplane.services.windows import attach

FEED_DAYS = 60


async def calendar_events(
    record: ConfigRecord, calendars: Calendars, zone: str, start: datetime, days: int, now: datetime
) -> CalendarEvents:
    """When a calendar's events happen from `start` on, over `days`. Raises InvalidError for a start outside the horizon."""
    spec = CalendarSpec.model_validate(record.spec)
    found, _ = await calendars.expand({record.digest: spec.ics}, now)
    spans = found[record.digest]
    if not now - timedelta(days=1) <= start <= now + HORIZON:
        detail = f"Calendars are worked out from today on, for {HORIZON.days} days."
        raise InvalidError(detail, errors=[FieldError("/from", "is not within them")])
    shown = CalendarEvents(name=record.name, effect=spec.effect, selector=spec.selector, zone=zone, items=[])
    if isinstance(spans, str):
        return shown.model_copy(update={"error": spans})
    return shown.model_copy(update={"items": occurrences(spans, zone, start, start + timedelta(days=days))})


async def windows_of_tenant(
    found: Attachments, calendars: Calendars, tenant: str, environment: str, zone: str, days: int, now: datetime
) -> TenantWindows:
    """When changes may start on a tenant, over `days` from now on."""
    attached = await attach(found, calendars, "open", now)
    return tenant_windows(attached, tenant, environment, zone, now, now + timedelta(days=days))


async def zone_of(uow: UnitOfWork, tenant: str) -> str:
    """A tenant's time zone. Raises NotFoundError."""
    record = await uow.tenants.get(tenant)
    if record is None:
        raise NotFoundError(f"There is no tenant {tenant!r} that you may see.")
    return record.spec.time_zone


async def feed_of_fleet(uow: UnitOfWork, calendars: Calendars) -> list[FeedEvent]:
    """Expected waves, freezes and calendars of the next 60 days."""
    now = uow.now
    rows = await _calendars(uow)
    worked, _ = await calendars.expand({row.digest: str(row.spec["ics"]) for row in rows}, now)
    until = now + timedelta(days=FEED_DAYS)
    listed: list[tuple[str, str, list[Span]]] = []
    for row in rows:
        spans = worked[row.digest]
        soon = [s for s in spans if _before(s, until)] if not isinstance(spans, str) else []
        effect = str(row.spec.get("effect", "allow"))
        listed.append((row.name, str(row.spec["marks"]) if effect == "none" else effect, soon))
    freezes = [
        FreezeAhead(str(f.id), f.selector, f.reason, f.created_at, f.until)
        for f in await uow.freezes.page(None, 200, ended=False)
    ]
    return fleet_feed(await uow.windows.waves_ahead(), freezes, listed, now)


async def _calendars(uow: UnitOfWork) -> list[ConfigRecord]:
    found: list[ConfigRecord] = []
    while page := await uow.configuration.page("calendars", found[-1].name if found else None, 200):
        found += page
    return found


def _before(span: Span, until: datetime) -> bool:
    return span.start.replace(tzinfo=None) < until.replace(tzinfo=None)
