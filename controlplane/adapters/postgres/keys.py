"""API keys in PostgreSQL."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from controlplane.ports.stores.keys import KeyRecord

from .tables import ApiKey

_REVOKE = text("update api_keys set revoked_at = :at where id = :id and revoked_at is null returning true")


class PostgresKeys:
    """See `controlplane.ports.stores.keys.KeyStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, record: KeyRecord) -> None:
        """Store a new key."""
        lists = {"roles": list(record.roles), "tenants": list(record.tenants), "apps": list(record.apps)}
        self._session.add(ApiKey(**{**vars(record), **lists}))
        await self._session.flush()

    async def by_hash(self, digest: str) -> KeyRecord | None:
        """Find by hash."""
        found = (await self._session.execute(select(ApiKey).where(ApiKey.hash == digest))).scalar_one_or_none()
        return _record(found) if found else None

    async def get(self, key_id: uuid.UUID) -> KeyRecord | None:
        """Find by id."""
        found = await self._session.get(ApiKey, key_id)
        return _record(found) if found else None

    async def page(self, after: uuid.UUID | None, limit: int) -> list[KeyRecord]:
        """List from after an id."""
        statement = select(ApiKey).order_by(col(ApiKey.id)).limit(limit)
        if after is not None:
            statement = statement.where(col(ApiKey.id) > after)
        return [_record(row) for row in (await self._session.execute(statement)).scalars()]

    async def revoke(self, key_id: uuid.UUID, at: datetime) -> bool:
        """End a key."""
        return bool((await self._session.execute(_REVOKE, {"id": key_id, "at": at})).scalar())


def _record(row: ApiKey) -> KeyRecord:
    lists = {"roles": tuple(row.roles), "tenants": tuple(row.tenants), "apps": tuple(row.apps)}
    return KeyRecord(**{**row.model_dump(), **lists})
