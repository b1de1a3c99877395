"""Voting on a gate: checked when the vote is cast, and again (pure) each time the gate is judged.

Each change of the record locks the rollout as every driver does. A reject, and a vote taken back, are commands to the driver too: it
can't open a gate on votes it read before.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from controlplane.domain.errors import ConflictError, FieldError, ForbiddenError, InvalidError, NotFoundError
from controlplane.domain.gating import GateNow, gates_of
from controlplane.domain.people import one_name
from controlplane.domain.plans import Plan
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState
from controlplane.gates.approval import ApprovalSpec
from controlplane.ports.stores.approvals import GateHead, GateState, VoteRow
from controlplane.ports.uow import UnitOfWork
from controlplane.services.people import all_names

RECOUNT: Final = "recount"
"""The command that makes a driver forget what it read of votes."""
_DECIDED: Final = ("pass", "fail")


@dataclass(frozen=True)
class Ballot:
    """What a person says to a group's gates of a wave (all that ask now: None), under a plan's hash."""

    group: str
    wave: str | None
    plan_hash: str
    reason: str = ""
    word: Literal["approve", "reject"] = "approve"


@dataclass(frozen=True)
class Voter:
    """Who votes: the credential's id, the e-mail address it vouches for, the groups it may vote for."""

    actor: str
    email: str = ""
    groups: Collection[str] = ()


async def vote(uow: UnitOfWork, rollout_id: uuid.UUID, ballot: Ballot, voter: Voter) -> list[VoteRow]:
    """Vote at every approval gate of the group that asks; saying the same again changes nothing.

    Raises NotFoundError, ConflictError `rollout-over`, `plan-changed` (another hash), `gate-decided`, `not-asked-yet`,
    `already-voted` (for another group), ForbiddenError `not-in-group`, `own-change` (the requester, or an author of the release, also
    through another key or name), InvalidError `no-such-gate`, `reason-needed` (a reject says why).
    """
    head = await _locked(uow, rollout_id)
    _check(head, ballot, voter)
    person, names = await _who(uow, voter)
    requester, authors = await all_names(uow, [head.requester], head.authors)
    if ballot.word == "approve" and names & (requester | authors):
        detail = "You asked for this rollout, or wrote its release; somebody else of the group must approve it."
        raise ForbiddenError(detail, code="own-change")
    gates = await _asking(uow, rollout_id, head, ballot)
    record = await uow.approvals.all(rollout_id)
    cast = []
    for gate in gates:
        key = (gate.key.wave, gate.key.place, gate.key.index)
        mine = [v for v in record if v.gate == key and v.withdrawn_at is None and names & set(v.names)]
        if await _said_already(uow, ballot, mine, voter.actor):
            continue
        new = _row(uow, rollout_id, head, gate, ballot, person, names, voter.actor)
        await uow.approvals.add(new)
        cast.append(new)
    if cast:
        await _tell(uow, rollout_id, cast[0], [v.wave_name for v in cast])
        if ballot.word == "reject":
            await uow.rollouts.command(rollout_id, RECOUNT, {}, voter.actor)
        await uow.wake("rollout", str(rollout_id))
    return cast


async def withdraw(
    uow: UnitOfWork,
    rollout_id: uuid.UUID,
    vote_id: uuid.UUID,
    voter: Voter,
    *,
    any_vote: bool = False,
    reason: str = "",
) -> None:
    """Take a vote back before its gate has decided: one's own, or with `any_vote` anybody's, with a reason.

    Raises NotFoundError, ConflictError `rollout-over`, `gate-decided`, InvalidError `reason-needed`.
    """
    head = await _locked(uow, rollout_id)
    _, names = await _who(uow, voter)
    found = next((v for v in await uow.approvals.all(rollout_id) if v.id == vote_id and v.withdrawn_at is None), None)
    mine = found is not None and bool(names & set(found.names))
    if found is None or not (mine or any_vote):
        raise NotFoundError("There is no vote of yours in force under this id.")
    if not mine and not reason.strip():
        raise _reason_needed("Taking back somebody else's vote needs a reason.")
    _refuse_over(head)
    state = (await uow.approvals.states(rollout_id)).get(found.gate)
    if state is not None and state.verdict in _DECIDED:
        detail = f"The gate has decided already ({state.reason}), so the vote stays. Abort the rollout to stop it."
        raise ConflictError(detail, code="gate-decided")
    await _take_back(uow, found, voter.actor, reason)


async def void_votes_of(uow: UnitOfWork, actor: str, *, by: str, reason: str) -> int:
    """Take back the votes said with a key whose holder lost the role, where the gate has not decided. Returns how many."""
    voided = 0
    for found in await uow.approvals.of_actor(actor):
        await uow.rollouts.lock(found.rollout_id)
        state = (await uow.approvals.states(found.rollout_id)).get(found.gate)
        if state is None or state.verdict not in _DECIDED:
            await _take_back(uow, found, by, reason)
            voided += 1
    return voided


async def void_lost_votes(uow: UnitOfWork, actor: str, groups: Collection[str], as_of: datetime) -> int:
    """Take back what a person voted, before `as_of`, for groups that her token of that moment does not name any more. Returns how many."""
    voided = 0
    for found in await uow.approvals.of_actor(actor):
        if found.group in groups or found.at is None or found.at >= as_of:
            continue
        await uow.rollouts.lock(found.rollout_id)
        state = (await uow.approvals.states(found.rollout_id)).get(found.gate)
        if state is None or state.verdict not in _DECIDED:
            await _take_back(uow, found, actor, f"the person has no role approver:{found.group} any more")
            voided += 1
    return voided


async def votes_of(uow: UnitOfWork, rollout_id: uuid.UUID) -> Sequence[VoteRow]:
    """Every vote on record, also of a rollout that is gone. Raises NotFoundError if there is neither."""
    votes = await uow.approvals.all(rollout_id)
    if not votes and await uow.approvals.head(rollout_id) is None:
        raise NotFoundError(f"There is no rollout {rollout_id}.")
    return votes


async def _locked(uow: UnitOfWork, rollout_id: uuid.UUID) -> GateHead:
    await uow.rollouts.lock(rollout_id)
    head = await uow.approvals.head(rollout_id)
    if head is None:
        raise NotFoundError(f"There is no rollout {rollout_id}.")
    return head


async def _who(uow: UnitOfWork, voter: Voter) -> tuple[str, frozenset[str]]:
    """The person behind a credential, and all her names."""
    person = await uow.approvals.person_behind(voter.actor)
    (names,) = await all_names(uow, [person, voter.actor, voter.email])
    return one_name(person, names), names


def _check(head: GateHead, ballot: Ballot, voter: Voter) -> None:
    _refuse_over(head)
    if ballot.group not in voter.groups:
        raise ForbiddenError(
            f"You don't vote for group {ballot.group}: that takes role approver:{ballot.group}.", code="not-in-group"
        )
    if ballot.plan_hash != head.plan_hash:
        raise ConflictError(
            "The vote names another plan than this rollout's. Read the plan, then vote for its hash.",
            code="plan-changed",
        )
    if ballot.word == "reject" and not ballot.reason.strip():
        raise _reason_needed("A reject fails the gate and needs a reason.")


def _refuse_over(head: GateHead) -> None:
    if RolloutState(head.state) in ROLLOUT_OVER:
        raise ConflictError(f"The rollout is over ({head.state}); there is nothing to approve.", code="rollout-over")


def _reason_needed(detail: str) -> InvalidError:
    return InvalidError(detail, code="reason-needed", errors=[FieldError("/reason", "is empty")])


async def _asking(uow: UnitOfWork, rollout_id: uuid.UUID, head: GateHead, ballot: Ballot) -> list[GateNow]:
    """The group's gates that ask now, or that take early votes."""
    gates = _gates(head, ballot)
    states = await uow.approvals.states(rollout_id)
    known = [(gate, states.get((gate.key.wave, gate.key.place, gate.key.index))) for gate in gates]
    left = [(gate, state) for gate, state in known if state is None or state.verdict not in _DECIDED]
    if not left:
        said = next(state.reason for _, state in known if state is not None)
        raise ConflictError(f"The gate has decided already: {said}.", code="gate-decided")
    asking = [gate for gate, state in left if _takes_votes(gate, state)]
    if not asking:
        said = next((state.reason for _, state in left if state is not None), "its wave has not come to it")
        raise ConflictError(f"The gate does not ask yet: {said}. It will say when it does.", code="not-asked-yet")
    return asking


def _takes_votes(gate: GateNow, state: GateState | None) -> bool:
    return ApprovalSpec.model_validate(gate.spec).early or (state is not None and state.asked)


def _gates(head: GateHead, ballot: Ballot) -> list[GateNow]:
    plan = Plan.model_validate(head.plan)
    found = [
        gate
        for gate in gates_of(plan).values()
        if gate.kind == "approval"
        and ballot.group in ApprovalSpec.model_validate(gate.spec).needs
        and ballot.wave in (None, plan.waves[gate.key.wave].name)
    ]
    if not found:
        where = f"wave {ballot.wave}" if ballot.wave else "this rollout"
        raise InvalidError(f"No gate of {where} asks group {ballot.group} for an approval.", code="no-such-gate")
    return found


async def _said_already(uow: UnitOfWork, ballot: Ballot, mine: Sequence[VoteRow], actor: str) -> bool:
    """Whether this person said this already. A reject takes the place of her yes; all else needs the earlier vote taken back first."""
    for earlier in mine:
        if (earlier.word, earlier.group) == (ballot.word, ballot.group):
            return True
        if ballot.word == "approve":
            detail = f"You voted here already ({earlier.word}, for group {earlier.group}): one person has one vote at a gate."
            raise ConflictError(f"{detail} Take it back first.", code="already-voted")
        await _take_back(uow, earlier, actor, "its person rejects instead")
    return False


def _row(
    uow: UnitOfWork,
    rollout_id: uuid.UUID,
    head: GateHead,
    gate: GateNow,
    ballot: Ballot,
    person: str,
    names: Collection[str],
    actor: str,
) -> VoteRow:
    return VoteRow(
        id=uow.new_id(),
        rollout_id=rollout_id,
        word=ballot.word,
        of=None,
        app=head.app,
        version=head.version,
        environment=head.environment,
        change_ref=head.change_ref,
        plan_hash=head.plan_hash,
        wave=gate.key.wave,
        wave_name=Plan.model_validate(head.plan).waves[gate.key.wave].name,
        place=gate.key.place,
        index=gate.key.index,
        group=ballot.group,
        person=person,
        names=tuple(sorted(names)),
        actor=actor,
        reason=ballot.reason,
    )


async def _take_back(uow: UnitOfWork, found: VoteRow, actor: str, reason: str) -> None:
    line = replace(found, id=uow.new_id(), word="withdraw", of=found.id, actor=actor, reason=reason)
    await uow.approvals.add(line)
    await _tell(uow, found.rollout_id, line, [found.wave_name])
    await uow.rollouts.command(found.rollout_id, RECOUNT, {}, actor)
    await uow.wake("rollout", str(found.rollout_id))


async def _tell(uow: UnitOfWork, rollout_id: uuid.UUID, line: VoteRow, waves: Sequence[str]) -> None:
    """Audit and history of a line of the record."""
    change = "vote-withdrawn" if line.word == "withdraw" else "vote-cast"
    data = {
        "word": line.word,
        "group": line.group,
        "person": line.person,
        "waves": sorted(set(waves)),
        "planHash": line.plan_hash,
        "changeRef": line.change_ref,
        "reason": line.reason,
    }
    await uow.audit(line.actor, f"rollout.{line.word}", f"rollouts/{rollout_id}", detail=data)
    await uow.rollouts.record(rollout_id, await uow.record("rollout", str(rollout_id), change, data=data))
