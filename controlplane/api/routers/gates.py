"""Gates: what each said on which evidence, and what is outstanding."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routers.rollouts import visible
from controlplane.api.routing import feature_router
from controlplane.domain.wire import Wire
from controlplane.ports.stores.gates import GateRecord

router = feature_router("rollouts")


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
