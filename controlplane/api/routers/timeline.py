"""What changed and what was seen, of one tenant or the fleet, on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response

from controlplane.adapters.metric_sources import DEFAULT
from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.links import absolute
from controlplane.api.paging import Cursor, Limit, decode, encode
from controlplane.api.routers.looks import Since, parse_since
from controlplane.api.routing import feature_router
from controlplane.domain.correlation import Signal, Timeline, checked_span
from controlplane.domain.errors import InvalidError
from controlplane.domain.names import Name
from controlplane.domain.tenants import EnvironmentName
from controlplane.ports.gates import Metrics
from controlplane.services import correlation
from controlplane.services.signal_lines import Asked, checked_filling, checked_names, lines

router = feature_router("look")
Names = Annotated[
    list[str] | None,
    Query(max_length=20, description="Named queries of the catalogue; absent: errors, response time, orders."),
]

Filling = Annotated[
    list[str] | None,
    Query(
        alias="with",
        max_length=20,
        description="Fills a query's own placeholder: service=web.",
        examples=[["service=web"]],
    ),
]


@router.get("/v1/timeline", operation_id="getTimeline", response_model=Timeline)
async def timeline(
    request: Request,
    call: Annotated[Call, may("timelines.read")],
    tenant: Annotated[Name | None, Query(description="Absent: the fleet.")] = None,
    since: Since = "PT2H",
    until: Annotated[str | None, Query(max_length=64, description="As `since`; absent, or ahead of now: now.")] = None,
    signal: Names = None,
    with_: Filling = None,
    environment: Annotated[EnvironmentName, Query(description="Whose signals and windows are shown.")] = "production",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Show changes and signals on one axis, newest first; a tenant's owner must name a tenant of its own.

    Series come with the first page. A source that is away gives `unknown`, and the rest is shown.
    """
    wanted = Wanted(tenant, since, until, signal or (), with_ or (), environment, limit, cursor)
    found, following = await read_timeline(call, wanted)
    if following is None:
        return respond(found)
    return respond(found.model_copy(update={"next": _next(request, found, following, limit)}))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks of a timeline, as it stands in an address."""

    tenant: str | None = None
    since: str | None = None
    until: str | None = None
    signals: Sequence[str] = ()
    filling: Sequence[str] = ()
    environment: str = "production"
    limit: int = 100
    cursor: str | None = None


async def read_timeline(call: Call, asked: Wanted) -> tuple[Timeline, str | None]:
    """Read a page of a timeline, and the cursor of the next one. Raises InvalidError, NotFoundError."""
    after: Any = decode(asked.cursor, datetime, str, str, int)
    names = checked_names(asked.signals)
    filling = checked_filling(asked.filling, names)
    tenant, environment = asked.tenant, asked.environment
    async with call.transaction(tenant) as uow:
        end = _end(asked.until, uow.now)
        span = checked_span(parse_since(asked.since or "PT2H", uow.now), end)
        wanted = correlation.Wanted(tenant, span, after, asked.limit)
        sources = await correlation.recorded(uow, wanted)
    source = _source(call) if after is None else "series come with the first page"
    async with call.platform() as uow:  # calendars are nobody's own; the caller's right to the tenant was checked above
        attached = await uow.windows.attachments([tenant] if tenant else [], environment)
        whom = [tenant] if tenant else [] if isinstance(source, str) else await uow.correlation.tenants(environment)
    windows, notes = await correlation.calendar_entries(attached, call.container.calendars, tenant, span)
    shown: tuple[Signal, ...] = ()
    if after is None:
        shown = await lines(names, Asked(whom, environment, span, filling), source)
    entries, more = correlation.page_of([*sources, windows], wanted)
    known = all(one.state == "measured" for one in shown)
    found = Timeline(
        tenant=tenant,
        since=span.since,
        until=span.until,
        step=span.step,
        items=entries,
        signals=shown,
        complete=not more and known and not notes,
        notes=tuple(notes),
    )
    last = entries[-1].position if more else None
    return found, encode([last[0].isoformat(), *last[1:]]) if last else None


def _end(until: str | None, now: datetime) -> datetime:
    """Now, if nothing else is said; a time ahead of our clock (a chart's right edge) is now as well."""
    if not until:
        return now
    with suppress(ValueError):
        moment = datetime.fromisoformat(until)
        if moment.tzinfo is not None and moment > now:
            return now
    return parse_since(until, now, "until")


def _source(call: Call) -> Metrics | str:
    """The metric source of this process, or why there is none: the rest of a timeline is shown all the same."""
    try:
        found = call.container.metric_sources.get(DEFAULT)
    except InvalidError as error:
        return error.detail
    return found or "no metric source is configured where the API runs (SEAWALL_METRICS_SOURCE)"


def _next(request: Request, found: Timeline, cursor: str, limit: int) -> str:
    """The next page, over the same span: what happens meanwhile belongs to neither."""
    fixed = {"since": found.since.isoformat(), "until": found.until.isoformat()}
    url = request.url.include_query_params(**fixed, cursor=cursor, limit=limit)
    return absolute(request, f"{url.path}?{url.query}")
