"""Approvals: who voted for which gate of which plan. The record outlives the rollout."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query, Request, Response
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
from controlplane.services.approvals import Ballot, Voter, vote, votes_of, withdraw

router = feature_router("rollouts")


class ApprovalBody(Wire):
    """A vote at a group's approval gates, bound to the plan's hash. Without `wave`: at all that ask now."""

    group: Name
    plan_hash: Digest
    wave: Name | None = None
    vote: Literal["approve", "reject"] = Field(
        default="approve", description="reject fails the gate at once, and needs a reason."
    )
    reason: Sentence = ""


class VoteView(Wire):
    """One vote on record; a withdrawn one says when. `actor`: the key or token it was said with."""

    id: uuid.UUID
    vote: str
    wave: int
    wave_name: str
    place: str
    group: str
    person: str
    actor: str
    release: str
    environment: str
    change_ref: str
    plan_hash: str
    reason: str
    at: datetime | None
    withdrawn_at: datetime | None = None


class VoteList(Wire):
    """Every vote, oldest first."""

    items: list[VoteView] = Field(default_factory=list)


@router.get("/v1/rollouts/{rollout_id}/approvals", operation_id="listApprovals", response_model=VoteList)
async def approvals(rollout_id: uuid.UUID, call: Annotated[Call, may("rollouts.read")]) -> Response:
    """Every vote on a rollout's gates, also when the rollout is gone."""
    async with call.platform() as uow:
        rows = await votes_of(uow, rollout_id)
    if call.bound:
        for row in rows:
            call.check_app(row.app)
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
    """Approve or reject: never approve one's own change, one vote per person and gate."""

    async def effect(uow: UnitOfWork) -> Answer:
        ballot = Ballot(body.group, body.wave, body.plan_hash, body.reason, body.vote)
        await vote(uow, rollout_id, ballot, _voter(call))
        rows = await votes_of(uow, rollout_id)
        return Answer(201, VoteList(items=[_view(row) for row in rows]))

    return await once(call, key, effect, transaction=call.platform())


@router.delete("/v1/rollouts/{rollout_id}/approvals/{vote_id}", operation_id="withdrawApproval", status_code=204)
async def take_back(
    rollout_id: uuid.UUID,
    vote_id: uuid.UUID,
    call: Annotated[Call, may("rollouts.withdraw")],
    reason: Annotated[str, Query(max_length=500, description="Needed to take back somebody else's.")] = "",
) -> Response:
    """Withdraw one's own vote before the gate has decided; a platform admin withdraws that of somebody who lost the role."""
    anybody = "platform-admin" in call.principal.families
    async with call.platform() as uow:
        await withdraw(uow, rollout_id, vote_id, _voter(call), any_vote=anybody, reason=reason)
    return Response(status_code=204)


def _voter(call: Call) -> Voter:
    return Voter(call.actor, call.principal.email, call.principal.groups)


def _view(row: VoteRow) -> VoteView:
    return VoteView(
        id=row.id,
        vote=row.word,
        wave=row.wave,
        wave_name=row.wave_name,
        place=row.place,
        group=row.group,
        person=row.person,
        actor=row.actor,
        release=f"{row.app}/{row.version}",
        environment=row.environment,
        change_ref=row.change_ref,
        plan_hash=row.plan_hash,
        reason=row.reason,
        at=row.at,
        withdrawn_at=row.withdrawn_at,
    )
