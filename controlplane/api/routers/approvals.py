"""Approvals: who voted for which gate of which plan. The record outlives the rollout."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import Request, Response
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import body_of
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.routing import feature_router
from controlplane.domain.names import Digest, Name
from controlplane.domain.requests import Sentence
from controlplane.domain.wire import Wire
from controlplane.ports.stores.approvals import VoteRow
from controlplane.ports.uow import UnitOfWork
from controlplane.services.approvals import Ballot, approve, votes_of, withdraw

router = feature_router("rollouts")


class ApprovalBody(Wire):
    """A vote for a group's approval gates, bound to the plan's hash. Without `wave`: those of all waves."""

    group: Name
    plan_hash: Digest
    wave: Name | None = None
    reason: Sentence = ""


class VoteView(Wire):
    """One vote on record; a withdrawn one says when."""

    id: uuid.UUID
    wave: int
    place: str
    group: str
    person: str
    plan_hash: str
    reason: str
    at: datetime
    withdrawn_at: datetime | None = None


class VoteList(Wire):
    """Every vote, oldest first."""

    items: list[VoteView] = Field(default_factory=list)


@router.get("/v1/rollouts/{rollout_id}/approvals", operation_id="listApprovals", response_model=VoteList)
async def approvals(rollout_id: uuid.UUID, call: Annotated[Call, may("rollouts.read")]) -> Response:
    """Every vote on a rollout's gates."""
    async with call.platform() as uow:
        rows = await votes_of(uow, rollout_id)
    return Response(body_of(VoteList(items=[_view(row) for row in rows])), media_type="application/json")


@router.post(
    "/v1/rollouts/{rollout_id}/approvals", operation_id="approveRollout", status_code=201, response_model=VoteList
)
async def cast(
    request: Request,
    rollout_id: uuid.UUID,
    key: IdempotencyKey,
    call: Annotated[Call, may("rollouts.approve")],
    body: ApprovalBody,
) -> Response:
    """Approve: never one's own change, one vote per person and gate."""

    async def effect(uow: UnitOfWork) -> Answer:
        ballot = Ballot(body.group, body.wave, body.plan_hash, body.reason)
        await approve(
            uow, rollout_id, ballot, actor=call.actor, email=call.principal.email, groups=call.principal.groups
        )
        rows = await votes_of(uow, rollout_id)
        return Answer(201, VoteList(items=[_view(row) for row in rows]))

    return await once(call, key, effect, transaction=call.platform())


@router.delete("/v1/rollouts/{rollout_id}/approvals/{vote_id}", operation_id="withdrawApproval", status_code=204)
async def take_back(
    rollout_id: uuid.UUID, vote_id: uuid.UUID, call: Annotated[Call, may("rollouts.approve")]
) -> Response:
    """Withdraw one's own vote, before the gate opens."""
    async with call.platform() as uow:
        await withdraw(uow, rollout_id, vote_id, actor=call.actor)
    return Response(status_code=204)


def _view(row: VoteRow) -> VoteView:
    return VoteView(
        id=row.id,
        wave=row.wave,
        place=row.place,
        group=row.group,
        person=row.person,
        plan_hash=row.plan_hash,
        reason=row.reason,
        at=row.at,
        withdrawn_at=row.withdrawn_at,
    )
