"""Voting on a gate: checked when the vote is cast, and again (pure) each time the gate is judged."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from controlplane.domain.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from controlplane.domain.gating import GateNow, gates_of
from controlplane.domain.plans import Plan
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState
from controlplane.ports.stores.approvals import GateHead, NewVote, VoteRow
from controlplane.ports.uow import UnitOfWork


@dataclass(frozen=True)
class Ballot:
    """What a person wants to approve: a group's gates of a wave (all waves: None), under a plan's hash."""

    group: str
    wave: str | None
    plan_hash: str
    reason: str = ""


async def approve(
    uow: UnitOfWork, rollout_id: uuid.UUID, ballot: Ballot, *, actor: str, email: str, groups: Collection[str]
) -> list[NewVote]:
    """Cast votes for every approval gate of the group in the wave; a second vote of the same person changes nothing.

    Raises NotFoundError, ConflictError `rollout-over`, `plan-changed` (another hash), ForbiddenError `not-in-group`, `own-change`
    (the requester, or an author of the release, also through another key), InvalidError `no-such-gate`.
    """
    head = await _head(uow, rollout_id)
    person = await uow.approvals.person_behind(actor)
    _check(head, ballot, person, email, groups)
    gates = _gates(head, ballot)
    votes = [
        NewVote(
            uow.new_id(),
            rollout_id,
            g.key.wave,
            g.key.place,
            g.key.index,
            ballot.group,
            person,
            head.plan_hash,
            ballot.reason,
        )
        for g in gates
    ]
    cast = [vote for vote in votes if await uow.approvals.add(vote)]
    if cast:
        waves = sorted({vote.wave for vote in cast})
        detail = {
            "group": ballot.group,
            "waves": waves,
            "planHash": head.plan_hash,
            "person": person,
            "reason": ballot.reason,
        }
        await uow.audit(actor, "rollout.approve", f"rollouts/{rollout_id}", detail=detail)
        await uow.wake("rollout", str(rollout_id))
    return cast


async def withdraw(uow: UnitOfWork, rollout_id: uuid.UUID, vote_id: uuid.UUID, *, actor: str) -> None:
    """Take one's own vote back; a gate that opened on it stays open. Raises NotFoundError."""
    person = await uow.approvals.person_behind(actor)
    if not await uow.approvals.withdraw(rollout_id, vote_id, person):
        raise NotFoundError("There is no vote of yours in force under this id.")
    await uow.audit(
        actor, "rollout.withdraw", f"rollouts/{rollout_id}", detail={"vote": str(vote_id), "person": person}
    )


async def votes_of(uow: UnitOfWork, rollout_id: uuid.UUID) -> Sequence[VoteRow]:
    """Every vote on record. Raises NotFoundError."""
    await _head(uow, rollout_id)
    return await uow.approvals.all(rollout_id)


async def _head(uow: UnitOfWork, rollout_id: uuid.UUID) -> GateHead:
    head = await uow.approvals.head(rollout_id)
    if head is None:
        raise NotFoundError(f"There is no rollout {rollout_id}.")
    return head


def _check(head: GateHead, ballot: Ballot, person: str, email: str, groups: Collection[str]) -> None:
    if RolloutState(head.state) in ROLLOUT_OVER:
        raise ConflictError(f"The rollout is over ({head.state}); there is nothing to approve.", code="rollout-over")
    if ballot.group not in groups:
        raise ForbiddenError(
            f"You don't vote for group {ballot.group}: that takes role approver:{ballot.group}.", code="not-in-group"
        )
    if ballot.plan_hash != head.plan_hash:
        raise ConflictError(
            "The vote names another plan than this rollout's. Read the plan, then vote for its hash.",
            code="plan-changed",
        )
    names = {person.lower(), email.lower()} - {""}
    if names & {head.requester.lower(), *(author.lower() for author in head.authors)}:
        detail = "You asked for this rollout, or wrote its release; somebody else of the group must approve it."
        raise ForbiddenError(detail, code="own-change")


def _gates(head: GateHead, ballot: Ballot) -> list[GateNow]:
    plan = Plan.model_validate(head.plan)
    found = [
        gate
        for gate in gates_of(plan).values()
        if gate.kind == "approval"
        and gate.spec.get("group") == ballot.group
        and ballot.wave in (None, plan.waves[gate.key.wave].name)
    ]
    if not found:
        where = f"wave {ballot.wave}" if ballot.wave else "this rollout"
        raise InvalidError(f"No gate of {where} asks group {ballot.group} for an approval.", code="no-such-gate")
    return found
