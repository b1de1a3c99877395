"""Gates: what each said on which evidence, and what is outstanding."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import Field, ValidationError

from controlplane.adapters.webhooks import verify
from controlplane.api.dependencies import Call, container_of, may
from controlplane.api.etags import respond
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routers.rollouts import visible
from controlplane.api.routing import OpenRoute, feature_router
from controlplane.domain.endpoints import LateAnswer
from controlplane.domain.errors import InvalidError
from controlplane.domain.wire import Wire, field_errors
from controlplane.ports.stores.gates import GateRecord
from controlplane.services.answers import asked, take_answer

router = feature_router("rollouts")
answers = feature_router("rollouts", route_class=OpenRoute)


class GateView(Wire):
    """A gate and what it last said. `since`: when it began to say so; `who`: who can end the wait."""

    rollout: uuid.UUID
    release: str
    environment: str
    change_ref: str
    plan_hash: str
    requested_by: str
    wave: str
    place: str
    index: int
    kind: str
    verdict: str = Field(description="pass, wait, fail or unknown (it could not be measured).")
    reason: str
    who: str
    since: datetime | None
    until: datetime | None
    evidence: dict[str, Any] = Field(description="What was measured; its shape depends on the kind.")


@router.get("/v1/rollouts/{rollout_id}/gates", operation_id="listRolloutGates", response_model=Page[GateView])
async def list_gates(rollout_id: uuid.UUID, call: Annotated[Call, may("rollouts.read")]) -> Response:
    """List the gates of a rollout that were looked at, with their evidence; there are never so many that they need pages."""
    async with call.platform() as uow:
        await visible(uow, call, rollout_id)
        rows = await uow.gates.of_rollout(rollout_id)
    return respond(Page[GateView](items=[_view(row) for row in rows]))


@router.get("/v1/gates", operation_id="listOutstandingGates", response_model=Page[GateView])
async def list_outstanding(
    request: Request, call: Annotated[Call, may("rollouts.read")], limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List gates of unfinished rollouts that wait for somebody to answer: approvals, and tickets in other systems."""
    after: Any = decode(cursor, uuid.UUID, int, str, int)
    apps = sorted(call.principal.apps) if call.bound else None
    async with call.platform() as uow:
        rows = await uow.gates.outstanding(apps, tuple(after) if after else None, limit + 1)
    return respond(page(request, rows, limit, show=_view, position=lambda r: [r.rollout_id, r.wave, r.place, r.index]))


class TakenAnswer(Wire):
    """The answer that stands: the one sent, or the one it repeats."""

    ask: uuid.UUID
    verdict: str
    reason: str
    by: str
    at: datetime | None


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


@answers.post("/v1/gates/{ask_id}:answer", operation_id="answerGate", response_model=TakenAnswer, openapi_extra=_BODY)
async def answer(request: Request, ask_id: uuid.UUID) -> Response:
    """Take an endpoint's answer to a question it was sent; signed as Standard Webhooks 1.0 with the endpoint's secret."""
    body, container = await request.body(), container_of(request)
    async with container.database.platform() as uow:
        ask, endpoint = await asked(uow, ask_id)
    message_id = verify(endpoint.secrets, container.secrets, request.headers, body)
    try:
        said = LateAnswer.model_validate_json(body)
    except ValidationError as error:
        detail = (
            'The answer is not {"verdict": "pass|wait|fail", "planHash": "sha256:...", "reason": "...", "by": "..."}.'
        )
        raise InvalidError(detail, code="answer-unreadable", errors=field_errors(error)) from error
    async with container.database.platform() as uow:
        taken = await take_answer(uow, ask, message_id, said)
    return respond(TakenAnswer(ask=ask_id, verdict=taken.verdict, reason=taken.reason, by=taken.by, at=taken.at))


def _view(row: GateRecord) -> GateView:
    return GateView(
        rollout=row.rollout_id,
        release=f"{row.app}/{row.version}",
        environment=row.environment,
        change_ref=row.change_ref,
        plan_hash=row.plan_hash,
        requested_by=row.requested_by,
        wave=row.wave_name,
        place=row.place,
        index=row.index,
        kind=row.kind,
        verdict=row.verdict,
        reason=row.reason,
        who=row.who,
        since=row.since,
        until=row.until,
        evidence=row.evidence,
    )
