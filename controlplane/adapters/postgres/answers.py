"""Questions to endpoints and their answers, in one transaction: see `controlplane.ports.endpoints.AnswerStore`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.gating import GateKey, Place
from controlplane.ports.endpoints import AnswerRow, AskRecord

_ASK = text("select *, '' as verdict, '' as reason, '' as by from gate_asks where id = :id")
_ANSWERS = text(
    "select id, ask_id, message_id, verdict, reason, by, at from gate_answers where ask_id = :id order by at, id"
)
_ADD = text(
    "insert into gate_answers (id, ask_id, message_id, verdict, reason, by)"
    " values (:id, :ask_id, :message_id, :verdict, :reason, :by)"
)


class PostgresAnswers:
    """Answers of one transaction of the API."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def ask(self, ask_id: uuid.UUID) -> AskRecord | None:
        """A question."""
        row = (await self._session.execute(_ASK, {"id": ask_id})).one_or_none()
        return ask_of(row, "") if row is not None else None

    async def answers(self, ask_id: uuid.UUID) -> Sequence[AnswerRow]:
        """Its answers."""
        return [AnswerRow(*row) for row in await self._session.execute(_ANSWERS, {"id": ask_id})]

    async def add(self, answer: AnswerRow) -> None:
        """Write an answer."""
        said = {"verdict": answer.verdict, "reason": answer.reason, "by": answer.by}
        values = {"id": answer.id, "ask_id": answer.ask_id, "message_id": answer.message_id, **said}
        await self._session.execute(_ADD, values)


def ask_of(row: Any, public_url: str) -> AskRecord:
    """A question from its row, with what was answered so far."""
    key = GateKey(row.wave, cast("Place", row.place), row.idx)
    callback = f"{public_url}/v1/gates/{row.id}:answer" if public_url else ""
    times = (row.asked_at, row.expires_at, row.sent_at)
    said = (row.verdict, row.reason, row.by)
    return AskRecord(row.id, row.rollout_id, key, row.plan_hash, row.endpoint, *times, callback, *said)
