"""The page of a timeline: what changed and what was seen, of one tenant or the fleet, on one axis."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from controlplane.api.dependencies import Call, may
from controlplane.api.paging import Cursor
from controlplane.api.routers.timeline import Wanted, read_timeline
from controlplane.api.routing import feature_router
from controlplane.domain.timeline_marks import LEGEND
from controlplane.gates.catalogue import CATALOGUE
from controlplane.services.signal_lines import USUAL

from .axis import LEFT, RIGHT, WIDTH, draw
from .render import link, show
from .route import Page
from .session import PATH

router = feature_router("console", route_class=Page)
_ENTRIES: Final = 100
type Text = Annotated[str, Query(max_length=2000)]


@router.get(f"{PATH}/timeline", include_in_schema=False)
async def timeline(
    request: Request,
    call: Annotated[Call, may("timelines.read")],
    tenant: Text = "",
    since: Text = "PT2H",
    until: Text = "",
    signal: Text = "",
    filling: Annotated[str, Query(alias="with", max_length=2000)] = "",
    environment: Text = "production",
    cursor: Cursor = None,
) -> Response:
    """Show what `GET /v1/timeline` gives: a drawing, the signals in words, and each entry. An owner names a tenant of its own."""
    wanted = Wanted(
        tenant=tenant or None,
        since=since,
        until=until or None,
        signals=_words(signal),
        filling=_words(filling),
        environment=environment,
        limit=_ENTRIES,
        cursor=cursor,
    )
    found, following = await read_timeline(call, wanted)
    chosen = {"tenant": tenant, "since": since, "until": until, "environment": environment}
    chosen |= {"signal": signal, "with": filling}
    span = {"since": found.since.isoformat(), "until": found.until.isoformat()}
    context: dict[str, Any] = {
        "found": found,
        "drawing": draw(found),
        "frame": {"width": WIDTH, "left": LEFT, "right": RIGHT},
        "legend": LEGEND,
        "chosen": chosen,
        "usual": ", ".join(USUAL),
        "names": sorted(CATALOGUE),
        "first": cursor is None,
        "more": link("/timeline", chosen, **span, cursor=following) if following else "",
        "now": found.until,
    }
    title = f"Timeline of {tenant}" if tenant else "Timeline of the fleet"
    return show(request, "timeline.html", title=title, **context)


def _words(text: str) -> tuple[str, ...]:
    """Words between commas or spaces."""
    return tuple(text.replace(",", " ").split())
