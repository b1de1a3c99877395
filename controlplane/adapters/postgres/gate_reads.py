"""Gates as people see them: see `controlplane.ports.stores.gates`."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.gates import GateRecord

_GATES = """
    select g.rollout_id, r.app, r.release_version as version, r.environment, r.change_ref, r.plan_hash, r.requested_by, g.wave,
      w.name as wave_name, g.place, g.idx as index, g.kind, g.verdict, g.reason, g.who, g.since, g.until, g.evidence
    from gates g join rollouts r on r.id = g.rollout_id join waves w on (w.rollout_id, w.wave) = (g.rollout_id, g.wave)
"""
_OF_ROLLOUT = text(
    f"{_GATES} where g.rollout_id = :id"
    " order by g.wave, case g.place when 'before' then 0 when 'after' then 2 else 1 end, g.place, g.idx"
)
_OUTSTANDING = text(
    f"""
    {_GATES} where g.verdict in ('wait', 'unknown') and g.who <> '' and r.state not in ('succeeded','failed','aborted')
      and w.state not in ('done', 'failed')
      and (cast(:apps as text[]) is null or r.app = any(cast(:apps as text[])))
      and (cast(:rollout as uuid) is null or (g.rollout_id, g.wave, g.place, g.idx) > (cast(:rollout as uuid), :wave, :place, :idx))
    order by g.rollout_id, g.wave, g.place, g.idx limit :limit
    """
)


class PostgresGateReads:
    """Gates of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of_rollout(self, rollout_id: uuid.UUID) -> Sequence[GateRecord]:
        """Gates of one rollout."""
        return await self._all(_OF_ROLLOUT, id=rollout_id)

    async def outstanding(
        self, apps: Collection[str] | None, after: tuple[uuid.UUID, int, str, int] | None, limit: int
    ) -> Sequence[GateRecord]:
        """What waits for somebody."""
        rollout, wave, place, index = after or (None, 0, "", 0)
        position = {"rollout": rollout, "wave": wave, "place": place, "idx": index}
        listed = None if apps is None else sorted(apps)
        return await self._all(_OUTSTANDING, apps=listed, **position, limit=limit)

    async def _all(self, statement: Any, **values: Any) -> list[GateRecord]:
        return [GateRecord(**row) for row in (await self._session.execute(statement, values)).mappings()]
