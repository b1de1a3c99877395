"""The record of the emergency lane, and the look at each afterwards."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import feature_router
from controlplane.domain.requests import Sentence
from controlplane.domain.wire import Wire
from controlplane.ports.stores.emergencies import EmergencyFilter, EmergencyRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services import emergencies as service

router = feature_router("stop")


class EmergencyView(Wire):
    """A change that took the emergency lane. Open until somebody else than `person` looked at it."""

    rollout: uuid.UUID
    state: Literal["open", "overdue", "reviewed"]
    criterion: str
    reason: str
    release: str
    environment: str
    selector: str
    targets: int
    change_ref: str
    plan_hash: str
    left_out: dict[str, Any] = Field(description="kinds, gates and freezes it did not wait for.")
    actor: str
    person: str
    at: datetime | None
    review_by: datetime | None
    finding: str
    note: str
    reviewed_by: str
    reviewed_at: datetime | None


class ReviewBody(Wire):
    """What a look at it found."""

    finding: Literal["justified", "not-justified"]
    note: Sentence


@router.get("/v1/emergencies", operation_id="listEmergencies", response_model=Page[EmergencyView])
async def list_emergencies(
    request: Request,
    call: Annotated[Call, may("emergencies.read")],
    state: Annotated[Literal["open", "reviewed"] | None, Query(description="open: nobody looked at it yet.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List changes that took the emergency lane, newest first."""
    before = decode(cursor, uuid.UUID)
    wanted = EmergencyFilter(open=None if state is None else state == "open")
    async with call.platform() as uow:
        rows = await uow.emergencies.page(wanted, before[0] if before else None, limit + 1)
        now = uow.now
    return respond(page(request, rows, limit, show=lambda r: _view(r, now), position=lambda r: [r.rollout_id]))


@router.get("/v1/emergencies/{rollout_id}", operation_id="getEmergency", response_model=EmergencyView)
async def get(rollout_id: uuid.UUID, call: Annotated[Call, may("emergencies.read")]) -> Response:
    """Show one, by the id of its rollout."""
    async with call.platform() as uow:
        return respond(_view(await service.get(uow, rollout_id), uow.now))


@router.post("/v1/emergencies/{rollout_id}:review", operation_id="reviewEmergency", response_model=EmergencyView)
async def review(
    rollout_id: uuid.UUID, body: ReviewBody, key: IdempotencyKey, call: Annotated[Call, may("emergencies.review")]
) -> Response:
    """Say what a look at it found, which closes it. Never by whoever started it."""

    async def effect(uow: UnitOfWork) -> Answer:
        looker = service.Looker(call.actor, call.principal.email)
        return Answer(200, _view(await service.review(uow, rollout_id, body.finding, body.note, looker), uow.now))

    return await once(call, key, effect, transaction=call.platform())


def _view(row: EmergencyRecord, now: datetime) -> EmergencyView:
    late = row.review_by is not None and row.review_by <= now
    return EmergencyView(
        rollout=row.rollout_id,
        state="reviewed" if row.finding else "overdue" if late else "open",
        criterion=row.criterion,
        reason=row.reason,
        release=f"{row.app}/{row.version}",
        environment=row.environment,
        selector=row.selector,
        targets=row.targets,
        change_ref=row.change_ref,
        plan_hash=row.plan_hash,
        left_out=row.left_out,
        actor=row.actor,
        person=row.person,
        at=row.at,
        review_by=row.review_by,
        finding=row.finding,
        note=row.note,
        reviewed_by=row.reviewed_by,
        reviewed_at=row.reviewed_at,
    )
