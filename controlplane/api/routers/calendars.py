"""Calendars worked out: when their events happen, when a tenant is open, and feeds to subscribe to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from zoneinfo import available_timezones

from fastapi import Query, Response
from pydantic import AwareDatetime

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.routing import content_tag, feature_router
from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.names import Name
from controlplane.domain.self_service import Schedule, schedule_of
from controlplane.domain.tenants import EnvironmentName
from controlplane.domain.window_views import MAX_DAYS, CalendarEvents, FeedEvent, TenantWindows, tenant_feed
from controlplane.services import schedules, self_service
from controlplane.services.configuration.objects import get_object

router = feature_router("calendars")
_ICS: Final = "text/calendar"
_FEED: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {_ICS: {}}, "description": "An iCalendar feed."}}
Days = Annotated[int, Query(ge=1, le=MAX_DAYS, description="So many days.")]
Environment = Annotated[EnvironmentName, Query()]


@router.get("/v1/calendars/{name}/events", operation_id="listCalendarEvents", response_model=CalendarEvents)
async def events(
    name: Name,
    call: Annotated[Call, may("calendars.read")],
    start: Annotated[AwareDatetime | None, Query(alias="from", description="From then on; absent: now.")] = None,
    days: Days = 30,
    zone: Annotated[str, Query(max_length=64, description="Where floating times are read.")] = "UTC",
) -> Response:
    """Work out when a calendar's events happen."""
    if zone not in available_timezones():
        raise InvalidError(f"Nobody knows the time zone {zone!r}.", errors=[FieldError("/zone", "is not known")])
    async with call.platform() as uow:
        record, now = await get_object(uow, "calendars", name), uow.now
    calendars = call.container.calendars
    return respond(await schedules.calendar_events(record, calendars, zone, start or now, days, now))


@router.get("/v1/tenants/{tenant}/windows", operation_id="getTenantWindows", response_model=TenantWindows)
async def windows(
    tenant: Name,
    call: Annotated[Call, may("tenants.read")],
    environment: Environment = "production",
    days: Days = 30,
) -> Response:
    """Say whether changes may start on the tenant now, when that changes, and when its windows are open."""
    shown, now = await _windows(call, tenant, environment, days)
    return respond(shown, etag=content_tag(f"{shown.open} {shown.reason} {now:%Y-%m-%dT%H:%M}".encode()))


@router.get("/v1/tenants/{tenant}/schedule.ics", operation_id="getTenantFeed", response_class=Response, responses=_FEED)
async def tenant_schedule(tenant: Name, call: Annotated[Call, may("tenants.read")]) -> Response:
    """Give planned changes and open windows of the tenant as an iCalendar feed."""
    shown, _ = await _windows(call, tenant, "production", schedules.FEED_DAYS)
    return _feed(call, tenant_feed(await _schedule(call, tenant), [shown]), f"Changes of {tenant}")


@router.get("/v1/schedule.ics", operation_id="getFleetFeed", response_class=Response, responses=_FEED)
async def fleet_schedule(call: Annotated[Call, may("changes.read")]) -> Response:
    """Give expected waves, freezes and calendars as an iCalendar feed."""
    async with call.platform() as uow:
        found = await schedules.feed_of_fleet(uow, call.container.calendars)
    return _feed(call, found, "Seawall")


async def _windows(call: Call, tenant: str, environment: str, days: int) -> tuple[TenantWindows, datetime]:
    """Read as a fleet role after the caller's right to this tenant was checked: calendars are nobody's own."""
    call.check_tenant(tenant)
    async with call.platform() as uow:
        zone, now = await schedules.zone_of(uow, tenant), uow.now
        found = await uow.windows.attachments([tenant], environment)
    return await schedules.windows_of_tenant(found, call.container.calendars, tenant, environment, zone, days, now), now


async def _schedule(call: Call, tenant: str) -> Schedule:
    async with call.platform() as uow:
        allowance = await self_service.allowance_of(uow, tenant)
    async with call.transaction(tenant) as uow:
        return schedule_of(await self_service.row_of(uow, tenant), allowance.defer)


def _feed(call: Call, found: list[FeedEvent], name: str) -> Response:
    body = call.container.calendars.write(found, name)
    return Response(body, headers={"ETag": content_tag(body)}, media_type=_ICS)
