"""Taking the answer of an endpoint that was asked before: bound to the plan, once, in time."""

from __future__ import annotations

import uuid

from controlplane.domain.endpoints import Endpoint, LateAnswer
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState
from controlplane.ports.endpoints import AnswerRow, AskRecord
from controlplane.ports.uow import UnitOfWork


async def asked(uow: UnitOfWork, ask_id: uuid.UUID) -> tuple[AskRecord, Endpoint]:
    """The question and the endpoint whose secrets sign its answer. Raises NotFoundError."""
    ask = await uow.answers.ask(ask_id)
    record = await uow.configuration.current("endpoints", ask.endpoint) if ask is not None else None
    if ask is None or record is None:
        raise NotFoundError("There is no such question, or its endpoint was deleted.")
    return ask, Endpoint.model_validate(record.spec)


async def take_answer(uow: UnitOfWork, ask: AskRecord, message_id: str, said: LateAnswer) -> AnswerRow:
    """Write down a signed answer; the same message again is answered as it was the first time, and so is the same decision.

    Raises ConflictError `rollout-over`, `plan-changed` (it names another plan), `ask-expired`, `gate-decided`.
    """
    locked = await uow.rollouts.lock(ask.rollout_id)
    earlier = await uow.answers.answers(ask.id)
    for one in earlier:
        if one.message_id == message_id or (one.verdict != "wait" and one.verdict == said.verdict):
            return one
    if locked is None or RolloutState(locked.state) in ROLLOUT_OVER:
        raise ConflictError("The rollout is over, so there is nothing left to answer.", code="rollout-over")
    if said.plan_hash != ask.plan_hash:
        raise ConflictError(
            "The answer names another plan than the question did. Look at the plan, then answer for its hash.",
            code="plan-changed",
        )
    decided = next((one for one in earlier if one.verdict != "wait"), None)
    if decided is not None:
        raise ConflictError(f"The question was answered already: {decided.verdict}.", code="gate-decided")
    if uow.now >= ask.expires_at:
        detail = (
            f"The question ran out at {ask.expires_at:%Y-%m-%dT%H:%M:%SZ}. Start the rollout again to be asked anew."
        )
        raise ConflictError(detail, code="ask-expired")
    answer = AnswerRow(uow.new_id(), ask.id, message_id, said.verdict, said.reason, said.by, uow.now)
    await uow.answers.add(answer)
    data = {
        "endpoint": ask.endpoint,
        "verdict": said.verdict,
        "reason": said.reason,
        "by": said.by,
        "planHash": ask.plan_hash,
    }
    subject = str(ask.rollout_id)
    await uow.audit(
        f"endpoint:{ask.endpoint}", "gate.answer", f"rollouts/{subject}", detail={**data, "ask": str(ask.id)}
    )
    await uow.rollouts.record(ask.rollout_id, await uow.record("rollout", subject, "gate-answered", data=data))
    await uow.wake("rollout", subject)
    return answer
