"""The history of a rollout, as a stream (server-sent events) or as a list."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Final

import orjson
from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routers.rollouts import visible
from controlplane.api.routing import feature_router
from controlplane.domain.rollout_views import RolloutEvent
from controlplane.services.rollouts import reads

router = feature_router("rollouts")
POLL_SECONDS: Final = 0.5
HEARTBEAT_SECONDS: Final = 15.0
_BATCH: Final = 500
_SSE: Final = "text/event-stream"


@router.get(
    "/v1/rollouts/{rollout_id}/events",
    operation_id="listRolloutEvents",
    response_model=Page[RolloutEvent],
    responses={
        200: {"content": {_SSE: {"schema": {"type": "string"}}}, "description": "A page, or a stream of events."},
        410: {
            "description": "`events-expired`: events after this id are no longer kept; read the rollout and start anew."
        },
    },
)
async def list_events(
    request: Request,
    rollout_id: uuid.UUID,
    call: Annotated[Call, may("rollouts.read")],
    after: Annotated[int, Query(ge=0, le=2**62, description="Only events with a higher id.")] = 0,
    last_event_id: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=2**62)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Follow a rollout. `Accept: text/event-stream` streams until it is over; otherwise a page of its history."""
    begin = last_event_id if last_event_id is not None else after
    async with call.platform() as uow:
        await visible(uow, call, rollout_id)
        await reads.check_kept(uow, rollout_id, begin)
    if _SSE in request.headers.get("accept", ""):
        return StreamingResponse(
            _stream(call, rollout_id, begin), media_type=_SSE, headers={"Cache-Control": "no-store"}
        )
    position = decode(cursor, int)
    async with call.platform() as uow:
        rows = await uow.rollouts.events(rollout_id, int(position[0]) if position else begin, limit + 1)
    return respond(page(request, rows, limit, show=reads.event_of, position=lambda r: [r.seq]))


async def _stream(call: Call, rollout_id: uuid.UUID, after: int) -> AsyncIterator[bytes]:
    """History from `after` on, then what is added, until the rollout is over and everything was sent, or the process drains."""
    quiet = 0.0
    draining = call.container.draining
    yield b"retry: 1000\n\n"
    while not draining.is_set():
        async with call.platform() as uow:
            rows = await uow.rollouts.events(rollout_id, after, _BATCH)
            over = not rows and (await uow.rollouts.event_range(rollout_id))[2]
        for row in rows:
            after = row.seq
            data = orjson.dumps(reads.event_of(row).model_dump(mode="json", by_alias=True))
            yield b"id: %d\nevent: %s\ndata: %s\n\n" % (row.seq, row.type.encode(), data)
        if over:
            return
        quiet = 0.0 if rows else quiet + POLL_SECONDS
        if quiet >= HEARTBEAT_SECONDS:
            quiet = 0.0
            yield b": still here\n\n"
        if len(rows) < _BATCH:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(draining.wait(), POLL_SECONDS)
