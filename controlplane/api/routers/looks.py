"""Looking back: what changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import feature_router
from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.names import Name
from controlplane.domain.quantities import parse_duration
from controlplane.domain.wire import Wire
from controlplane.ports.stores.looks import ChangeRecord

router = feature_router("look")

Since = Annotated[
    str | None,
    Query(max_length=64, description="A duration back from now (PT2H), or a time with its zone.", examples=["PT2H"]),
]


class Change(Wire):
    """One state change of one thing."""

    at: datetime
    kind: str = Field(description="What kind of thing: rollout, tenant, release, strategy, ...")
    id: str
    seq: int = Field(description="Counts the changes of this thing.")
    type: str = Field(description="Its event type, dev.seawall.<kind>.<change>.v1.")
    tenant: str | None
    data: dict[str, Any]


@router.get("/v1/changes", operation_id="listChanges", response_model=Page[Change])
async def changes(
    request: Request,
    call: Annotated[Call, may("changes.read")],
    since: Since = "PT2H",
    cluster: Annotated[Name | None, Query()] = None,
    app: Annotated[Name | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List what changed, newest first."""
    after: Any = decode(cursor, datetime, str, str, int)
    async with call.transaction() as uow:
        start = parse_since(since or "PT2H", uow.now)
        rows = await uow.looks.changes(start, cluster, app, after, limit + 1)
    return respond(page(request, rows, limit, show=_change, position=lambda r: [r.at.isoformat(), r.kind, r.id, r.seq]))


def parse_since(text: str, now: datetime) -> datetime:
    """Read `PT2H` (so long ago) or an RFC 3339 time. Raises InvalidError."""
    try:
        if text.startswith("P"):
            return now - parse_duration(text)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or not timedelta(0) <= now - moment < timedelta(days=36600):
            raise ValueError("a time of the last century, with its zone")  # noqa: TRY301 -- one answer for all
    except (ValueError, OverflowError) as error:
        detail = "since is a duration such as PT2H, or a past time with its zone such as 2026-11-23T07:00:00Z."
        raise InvalidError(detail, errors=[FieldError("query/since", "neither a duration nor a past time")]) from error
    return moment


def _change(record: ChangeRecord) -> Change:
    return Change(**vars(record))
