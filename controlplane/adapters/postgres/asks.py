"""Questions to endpoints that answer later: see `controlplane.ports.endpoints`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.gating import GateKey, Place
from controlplane.domain.names import new_id
from controlplane.ports.endpoints import AnswerRow, AskRecord

from .database import Database

_OPEN = text(
    """
    insert into gate_asks (id, rollout_id, wave, place, idx, plan_hash, endpoint, expires_at)
    values (:id, :rollout, :wave, :place, :idx, :hash, :endpoint, now() + :lasts)
    on conflict (rollout_id, wave, place, idx, plan_hash) do nothing
    """
)
_FIND = text(
    """
    select a.*, coalesce(d.verdict, '') as verdict, coalesce(n.reason, '') as reason, coalesce(n.by, '') as by
    from gate_asks a
    left join lateral (select verdict from gate_answers where ask_id = a.id and verdict <> 'wait' order by at, id limit 1) d on true
    left join lateral (select reason, by from gate_answers where ask_id = a.id order by at desc, id desc limit 1) n on true
    where a.rollout_id = :rollout and a.wave = :wave and a.place = :place and a.idx = :idx and a.plan_hash = :hash
    """
)
_SENT = text("update gate_asks set sent_at = now() where id = :id and sent_at is null")
_ASK = text("select *, '' as verdict, '' as reason, '' as by from gate_asks where id = :id")
_ANSWERS = text(
    "select id, ask_id, message_id, verdict, reason, by, at from gate_answers where ask_id = :id order by at, id"
)
_ADD = text(
    "insert into gate_answers (id, ask_id, message_id, verdict, reason, by)"
    " values (:id, :ask_id, :message_id, :verdict, :reason, :by)"
)


class PostgresAsks:
    """Questions of drivers. `public_url`: the API's address as endpoints see it."""

    def __init__(self, database: Database, public_url: str = "") -> None:
        self._database = database
        self._public_url = public_url.rstrip("/")

    async def open(
        self, rollout_id: uuid.UUID, key: GateKey, plan_hash: str, endpoint: str, lasts: timedelta
    ) -> AskRecord:
        """The question about this plan, made if there is none."""
        async with self._database.engine() as uow:
            values = {**_gate(rollout_id, key, plan_hash), "id": new_id(uow.now), "endpoint": endpoint, "lasts": lasts}
            await uow.session.execute(_OPEN, values)
        found = await self.find(rollout_id, key, plan_hash)
        if found is None:
            raise LookupError(f"the question of gate {key} of rollout {rollout_id} was written and is not there")
        return found

    async def find(self, rollout_id: uuid.UUID, key: GateKey, plan_hash: str) -> AskRecord | None:
        """The question with its answers so far."""
        async with self._database.engine() as uow:
            row = (await uow.session.execute(_FIND, _gate(rollout_id, key, plan_hash))).one_or_none()
        return _ask(row, self._public_url) if row is not None else None

    async def sent(self, ask_id: uuid.UUID) -> None:
        """Note that the endpoint has it."""
        async with self._database.engine() as uow:
            await uow.session.execute(_SENT, {"id": ask_id})


class PostgresAnswers:
    """Answers of one transaction of the API."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def ask(self, ask_id: uuid.UUID) -> AskRecord | None:
        """A question."""
        row = (await self._session.execute(_ASK, {"id": ask_id})).one_or_none()
        return _ask(row, "") if row is not None else None

    async def answers(self, ask_id: uuid.UUID) -> Sequence[AnswerRow]:
        """Its answers."""
        return [AnswerRow(*row) for row in await self._session.execute(_ANSWERS, {"id": ask_id})]

    async def add(self, answer: AnswerRow) -> None:
        """Write an answer."""
        said = {"verdict": answer.verdict, "reason": answer.reason, "by": answer.by}
        values = {"id": answer.id, "ask_id": answer.ask_id, "message_id": answer.message_id, **said}
        await self._session.execute(_ADD, values)


def _gate(rollout_id: uuid.UUID, key: GateKey, plan_hash: str) -> dict[str, Any]:
    return {"rollout": rollout_id, "wave": key.wave, "place": key.place, "idx": key.index, "hash": plan_hash}


def _ask(row: Any, public_url: str) -> AskRecord:
    key = GateKey(row.wave, cast("Place", row.place), row.idx)
    callback = f"{public_url}/v1/gates/{row.id}:answer" if public_url else ""
    times = (row.asked_at, row.expires_at, row.sent_at)
    said = (row.verdict, row.reason, row.by)
    return AskRecord(row.id, row.rollout_id, key, row.plan_hash, row.endpoint, *times, callback, *said)
