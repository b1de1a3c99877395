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
from controlplane.domain.changes import Told
from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.names import Name
from controlplane.domain.quantities import parse_duration
from controlplane.domain.wire import Wire
from controlplane.ports.stores.looks import ChangeRecord
from controlplane.services.looks import explained

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
    what: str = Field(description="What changed, in a few words.")
    where: list[str] = Field(description="The clusters it concerns.")
    stopped: str = Field(description="What stopped it, where this change says that something does not go on.")
    way_back: str = Field(
        description="What can be done about it as things stand now; empty: nothing, or nothing is needed."
    )


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
    """List what changed, where, what stopped it, and what the way back is now; newest first."""
    after: Any = decode(cursor, datetime, str, str, int)
    async with call.transaction() as uow:
        start = parse_since(since or "PT2H", uow.now)
        rows = await explained(uow, await uow.looks.changes(start, cluster, app, after, limit + 1))
    return respond(page(request, rows, limit, show=_change, position=_position))


def parse_since(text: str, now: datetime, name: str = "since") -> datetime:
    """Read `PT2H` (so long ago) or an RFC 3339 time; `name` is the parameter's. Raises InvalidError."""
    try:
        if text.startswith("P"):
            return now - parse_duration(text)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or not timedelta(0) <= now - moment < timedelta(days=36600):
            raise ValueError("a time of the last century, with its zone")  # noqa: TRY301 -- one answer for all
    except (ValueError, OverflowError) as error:
        detail = f"{name} is a duration such as PT2H, or a past time with its zone such as 2026-11-23T07:00:00Z."
        raise InvalidError(
            detail, errors=[FieldError(f"query/{name}", "neither a duration nor a past time")]
        ) from error
    return moment


def _position(row: tuple[ChangeRecord, Told]) -> list[str | int]:
    record = row[0]
    return [record.at.isoformat(), record.kind, record.id, record.seq]


def _change(row: tuple[ChangeRecord, Told]) -> Change:
    record, told = row
    return Change(**vars(record), what=told.what, where=list(told.where), stopped=told.stopped, way_back=told.way_back)
