"""The stop button."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import Query, Request, Response
from pydantic import AwareDatetime, Field, model_validator

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.links import absolute
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import feature_router
from controlplane.domain.errors import NotFoundError
from controlplane.domain.selectors import SelectorText
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire
from controlplane.ports.stores.freezes import FreezeRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services import freezes as service

router = feature_router("freezes")


class FreezeRequest(Wire):
    """What to freeze: `all: true`, or a selector."""

    all: bool = False
    selector: SelectorText | None = None
    reason: Annotated[PlainText, Field(min_length=1)]
    until: AwareDatetime | None = Field(default=None, description="It ends by itself then.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.all == (self.selector is not None):
            raise ValueError("say all: true, or give a selector")
        return self


class Freeze(Wire):
    """Nothing forward starts on what it selects; ways back go on."""

    id: uuid.UUID
    all: bool
    selector: str
    reason: str
    until: datetime | None
    created_at: datetime
    created_by: str
    state: Literal["inForce", "expired", "lifted"]
    lifted_at: datetime | None
    lifted_by: str


@router.post("/v1/freezes", operation_id="createFreeze", status_code=201, response_model=Freeze)
async def create(
    request: Request, body: FreezeRequest, key: IdempotencyKey, call: Annotated[Call, may("freezes.write")]
) -> Response:
    """Freeze: once answered, nothing forward starts; ways back go on."""

    async def effect(uow: UnitOfWork) -> Answer:
        wish = service.FreezeWish(body.selector, body.reason, body.until)
        record = await service.freeze(uow, wish, actor=call.actor)
        return Answer(201, _shown(record, uow.now), {"Location": absolute(request, f"/v1/freezes/{record.id}")})

    return await once(call, key, effect)


@router.get("/v1/freezes", operation_id="listFreezes", response_model=Page[Freeze])
async def list_freezes(
    request: Request,
    call: Annotated[Call, may("freezes.read")],
    ended: Annotated[bool, Query(description="Lifted and expired ones too.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List freezes in force, newest first."""
    after = decode(cursor, uuid.UUID)
    async with call.transaction() as uow:
        rows = await uow.freezes.page(after[0] if after else None, limit + 1, ended=ended)
    return respond(page(request, rows, limit, show=lambda r: _shown(r, uow.now), position=lambda r: [r.id]))


@router.get("/v1/freezes/{freeze_id}", operation_id="getFreeze", response_model=Freeze)
async def get(freeze_id: uuid.UUID, call: Annotated[Call, may("freezes.read")]) -> Response:
    """Show a freeze."""
    async with call.transaction() as uow:
        record = await uow.freezes.get(freeze_id)
    if record is None:
        raise NotFoundError(f"There is no freeze {freeze_id}.")
    return respond(_shown(record, uow.now))


@router.delete("/v1/freezes/{freeze_id}", operation_id="liftFreeze", status_code=204, response_class=Response)
async def lift(freeze_id: uuid.UUID, call: Annotated[Call, may("freezes.write")]) -> Response:
    """Thaw: forward work may start again."""
    async with call.transaction() as uow:
        await service.thaw(uow, freeze_id, actor=call.actor)
    return Response(status_code=204)


def _shown(record: FreezeRecord, now: datetime) -> Freeze:
    ended: Literal["expired", "lifted"] = "lifted" if record.lifted_at else "expired"
    return Freeze(**vars(record), all=not record.selector, state="inForce" if record.in_force(now) else ended)
