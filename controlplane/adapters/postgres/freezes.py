"""Freezes in PostgreSQL."""

from __future__ import annotations

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.exposure import FLEET_IN_FLIGHT
from controlplane.ports.stores.freezes import FreezeRecord

_COLUMNS = "id, selector, reason, until, created_at, created_by, lifted_at, lifted_by"
_IN_FORCE = "lifted_at is null and (until is null or until > now())"
_ADD = text(
    "insert into freezes (id, selector, reason, until, created_at, created_by, lifted_by)"
    " values (:id, :selector, :reason, :until, :created_at, :created_by, '')"
)
_GET = text(f"select {_COLUMNS} from freezes where id = :id")  # noqa: S608 -- a constant
_PAGE = text(
    f"select {_COLUMNS} from freezes where (:ended or {_IN_FORCE})"  # noqa: S608 -- a constant
    " and (cast(:after as uuid) is null or id < cast(:after as uuid)) order by id desc limit :limit"
)
_LIFT = text(
    "update freezes set lifted_at = now(), lifted_by = :by where id = :id and lifted_at is null returning true"
)
_LOCK = text(
    "insert into budgets (scope, version) values (:scope, 1)"
    " on conflict (scope) do update set version = budgets.version + 1"
)
_CLOSE = text(
    f"update budgets set closed = exists (select 1 from freezes where selector = '' and {_IN_FORCE})"  # noqa: S608 -- a constant
    " where scope = :scope"
)
_UNNOTICED = text(
    "select case when bool_and(coalesce(until <= now(), false)) then count(*) else 0 end from freezes"
    " where selector = '' and lifted_at is null and (select closed from budgets where scope = :scope)"
)


class PostgresFreezes:
    """See `controlplane.ports.stores.freezes.FreezeStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, record: FreezeRecord) -> None:
        """Store a freeze."""
        await self._session.execute(_ADD, vars(record))

    async def get(self, freeze_id: uuid.UUID) -> FreezeRecord | None:
        """One freeze."""
        row = (await self._session.execute(_GET, {"id": freeze_id})).one_or_none()
        return FreezeRecord(*row) if row else None

    async def page(self, after: uuid.UUID | None, limit: int, *, ended: bool) -> list[FreezeRecord]:
        """Freezes, newest first."""
        rows = await self._session.execute(_PAGE, {"after": after, "limit": limit, "ended": ended})
        return [FreezeRecord(*row) for row in rows]

    async def lift(self, freeze_id: uuid.UUID, by: str) -> bool:
        """End a freeze."""
        return bool((await self._session.execute(_LIFT, {"id": freeze_id, "by": by})).scalar())

    async def tell_drivers(self) -> None:
        """Raise the fleet row's version, then close or open it: in this order, so that the row's lock orders freezes."""
        await self._session.execute(_LOCK, {"scope": FLEET_IN_FLIGHT})
        await self._session.execute(_CLOSE, {"scope": FLEET_IN_FLIGHT})

    async def expired_unnoticed(self) -> int:
        """Count freezes that ended by time only."""
        return int((await self._session.execute(_UNNOTICED, {"scope": FLEET_IN_FLIGHT})).scalar() or 0)
