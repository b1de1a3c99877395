"""What changed and what was seen, of one tenant or the fleet, on one axis."""

from __future__ import annotations

from contextlib import suppress
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
from controlplane.domain.correlation import Position, Signal, Span, Timeline, checked_span
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
    after: Any = decode(cursor, datetime, str, str, int)
    names = checked_names(signal or [])
    filling = checked_filling(with_ or [], names)
    async with call.transaction(tenant) as uow:
        end = _end(until, uow.now)
        span = checked_span(parse_since(since or "PT2H", uow.now), end)
        wanted = correlation.Wanted(tenant, span, after, limit)
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
    following = _next(request, span, entries[-1].position, limit) if more else None
    known = all(one.state == "measured" for one in shown)
    return respond(
        Timeline(
            tenant=tenant,
            since=span.since,
            until=span.until,
            step=span.step,
            items=entries,
            signals=shown,
            complete=following is None and known and not notes,
            notes=tuple(notes),
            next=following,
        )
    )


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


def _next(request: Request, span: Span, last: Position, limit: int) -> str:
    """The next page, over the same span: what happens meanwhile belongs to neither."""
    fixed = {"since": span.since.isoformat(), "until": span.until.isoformat()}
    cursor = encode([last[0].isoformat(), *last[1:]])
    url = request.url.include_query_params(**fixed, cursor=cursor, limit=limit)
    return absolute(request, f"{url.path}?{url.query}")
