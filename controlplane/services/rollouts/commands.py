"""A person's word to a rollout: pause, resume, abort, retry, start a draft. In force from the commit on.

The command's row and the raised `command_seq` are one transaction. A driver compares that number in each of its
transactions and issues nothing under an older one, whatever it has in memory.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.plan_changes import ensure_way_back_or_word
from controlplane.domain.plans import Plan
from controlplane.domain.rollout_views import Commanded
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState
from controlplane.ports.stores.rollout_rows import LockedRollout
from controlplane.ports.uow import UnitOfWork

from .start import give_notice, settle_with_others, word_on

Word = Literal["pause", "resume", "abort", "retry"]


async def give(uow: UnitOfWork, rollout_id: uuid.UUID, word: Word, body: Mapping[str, Any], actor: str) -> Commanded:
    """Append a command to an unfinished rollout.

    Saying again what holds already changes nothing and is answered alike. Raises NotFoundError, ConflictError `rollout-over`
    (nothing is left to command), `not-started` (a draft, or one that starts later: abort it, or start it), `rollout-ending`
    (a retry after an abort).
    """
    rollout = await locked(uow, rollout_id)
    if RolloutState(rollout.state) in ROLLOUT_OVER:
        raise ConflictError(
            f"The rollout is over ({rollout.state}), so there is nothing to {word}.", code="rollout-over"
        )
    if word == "abort" and rollout.state == RolloutState.DRAFT:
        return await _abandon(uow, rollout, str(body.get("reason") or f"abandoned by {actor}"), actor)
    _refuse_unstarted(uow, rollout, word)
    if word == "retry" and rollout.ending:
        raise ConflictError(
            "The rollout is ending, so nothing starts in it any more. Retry when it is over: that makes a new one.",
            code="rollout-ending",
        )
    if (word, rollout.state) == ("pause", RolloutState.PAUSED) and not rollout.pending:
        return Commanded(id=rollout.id, command=word, command_seq=rollout.command_seq, state=rollout.state)
    seq = await uow.rollouts.command(rollout_id, word, body, actor)
    await uow.audit(actor, f"rollout.{word}", f"rollouts/{rollout_id}", detail={**body, "commandSeq": seq})
    await uow.wake("rollout", str(rollout_id))
    return Commanded(id=rollout.id, command=word, command_seq=seq, state=rollout.state)


async def begin_draft(
    uow: UnitOfWork, rollout_id: uuid.UUID, now_planned: Plan | None, actor: str, accepted: str = ""
) -> Commanded:
    """Start a draft. `now_planned`: the same wish planned again just now; None if it was no draft when it was read.

    Starting one that a person started already changes nothing. `accepted`: see `start`. Raises NotFoundError, ConflictError
    `rollout-over`, `plan-changed` (what was planned is not what would be done now), `busy`, `no-way-back`.
    """
    rollout = await locked(uow, rollout_id)
    if RolloutState(rollout.state) in ROLLOUT_OVER:
        raise ConflictError(f"The rollout is over ({rollout.state}); start a new one.", code="rollout-over")
    if rollout.state == RolloutState.DRAFT and now_planned is not None:
        if rollout.plan_hash != now_planned.plan_hash:
            raise ConflictError(
                "The fleet moved since this was planned. Abort the draft and start the new plan.",
                code="plan-changed",
                extra={"planHash": now_planned.plan_hash, "difference": None},
            )
        ensure_way_back_or_word(now_planned, accepted)
        word = word_on(now_planned, accepted, actor)
        await uow.rollouts.one_start_at_a_time(rollout.app, rollout.environment)
        await settle_with_others(uow, now_planned, rollout_id, actor)
        await give_notice(uow, now_planned, rollout_id)
        due = max(uow.now, rollout.not_before) if rollout.not_before else uow.now
        await uow.rollouts.begin(rollout_id, due)
        seq = await uow.record("rollout", str(rollout_id), "planned", data={"state": "planned", "by": actor, **word})
        await uow.rollouts.record(rollout_id, seq)
        detail = {"planHash": rollout.plan_hash, **word}
        await uow.audit(actor, "rollout.start", f"rollouts/{rollout_id}", detail=detail)
        await uow.wake("rollout", str(rollout_id))
    return Commanded(id=rollout.id, command="start", command_seq=rollout.command_seq, state=RolloutState.PLANNED)


async def locked(uow: UnitOfWork, rollout_id: uuid.UUID) -> LockedRollout:
    """Lock a rollout. Raises NotFoundError."""
    rollout = await uow.rollouts.lock(rollout_id)
    if rollout is None:
        raise NotFoundError(f"There is no rollout {rollout_id}.")
    return rollout


def retry_body(tenants: Sequence[str] | None, reason: str = "", accepted: str = "") -> dict[str, Any]:
    """The body of a retry: these tenants, or all that can be retried; why, and the word on a way back given up, if there is one."""
    named = {} if tenants is None else {"tenants": sorted(set(tenants))}
    words = {"reason": reason, "acceptNoWayBack": accepted}
    return named | {name: word for name, word in words.items() if word}


def _refuse_unstarted(uow: UnitOfWork, rollout: LockedRollout, word: Word) -> None:
    later = rollout.not_before is not None and rollout.not_before > uow.now
    waiting = rollout.state == RolloutState.PLANNED and later
    if word != "abort" and (rollout.state == RolloutState.DRAFT or waiting):
        raise ConflictError(
            f"The rollout has not started, so there is nothing to {word}. Abort it if it must not start.",
            code="not-started",
        )


async def _abandon(uow: UnitOfWork, rollout: LockedRollout, reason: str, actor: str) -> Commanded:
    await uow.rollouts.abandon(rollout.id, reason)
    seq = await uow.record(
        "rollout", str(rollout.id), "aborted", data={"state": "aborted", "by": actor, "reason": reason}
    )
    await uow.rollouts.record(rollout.id, seq)
    await uow.audit(actor, "rollout.abort", f"rollouts/{rollout.id}", detail={"reason": reason})
    return Commanded(id=rollout.id, command="abort", command_seq=rollout.command_seq, state=RolloutState.ABORTED)
