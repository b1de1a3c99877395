"""Logins of the web console in PostgreSQL."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.sessions import SessionRecord

from .json_text import as_json

_COLUMNS = "hash, principal, key_id, created_at, expires_at"
_ADD = text(
    f"insert into console_sessions ({_COLUMNS})"  # noqa: S608 -- a constant
    " values (:hash, cast(:principal as jsonb), :key_id, :created_at, :expires_at)"
)
_GET = text(f"select {_COLUMNS} from console_sessions where hash = :hash")  # noqa: S608 -- a constant
_END = text("delete from console_sessions where hash = :hash returning true")
_FORGET = text(
    "delete from console_sessions where hash in (select hash from console_sessions where expires_at <= now() limit :limit)"
    " returning 1"
)


class PostgresSessions:
    """See `controlplane.ports.stores.sessions.SessionStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, record: SessionRecord) -> None:
        """Store a login."""
        await self._session.execute(_ADD, {**vars(record), "principal": as_json(dict(record.principal))})

    async def by_hash(self, digest: str) -> SessionRecord | None:
        """Find by hash."""
        row = (await self._session.execute(_GET, {"hash": digest})).one_or_none()
        return SessionRecord(*row) if row else None

    async def end(self, digest: str) -> bool:
        """Forget a login."""
        return bool((await self._session.execute(_END, {"hash": digest})).scalar())

    async def forget_expired(self, limit: int) -> int:
        """Delete what is over."""
        return len((await self._session.execute(_FORGET, {"limit": limit})).all())
