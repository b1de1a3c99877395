"""Questions to endpoints that answer later: see `controlplane.ports.endpoints`."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from controlplane.domain.gating import GateKey
from controlplane.domain.names import new_id
from controlplane.ports.endpoints import AskRecord

from .answers import ask_of
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
        return ask_of(row, self._public_url) if row is not None else None

    async def sent(self, ask_id: uuid.UUID) -> None:
        """Note that the endpoint has it."""
        async with self._database.engine() as uow:
            await uow.session.execute(_SENT, {"id": ask_id})


def _gate(rollout_id: uuid.UUID, key: GateKey, plan_hash: str) -> dict[str, Any]:
    return {"rollout": rollout_id, "wave": key.wave, "place": key.place, "idx": key.index, "hash": plan_hash}
