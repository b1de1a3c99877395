"""Idempotency keys in PostgreSQL: the unique key makes concurrent requests wait for each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.errors import ConflictError
from controlplane.ports.stores.intents import IntentKey, StoredAnswer

from .json_text import as_json

# Kept 24 hours, as the API promises.
_AS = text("select set_config('seawall.principal', :principal, true)")
_EXPIRE = text(
    "delete from intents where principal = :principal and operation = :operation and key = :key"
    " and created_at < now() - interval '24 hours'"
)
_CLAIM = text(
    "insert into intents (principal, operation, key, body_hash, status)"
    " values (:principal, :operation, :key, :body_hash, 0) on conflict do nothing returning true"
)
_FIND = text(
    "select body_hash, status, headers, response from intents"
    " where principal = :principal and operation = :operation and key = :key"
)
_COMPLETE = text(
    "update intents set status = :status, headers = cast(:headers as jsonb), response = cast(:body as jsonb)"
    " where principal = :principal and operation = :operation and key = :key"
)
_FORGET = text(
    "delete from intents where ctid in (select ctid from intents"
    " where created_at < now() - interval '24 hours' order by created_at limit :limit)"
)


class PostgresIntents:
    """See `controlplane.ports.stores.intents.IntentStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim(self, key: IntentKey, body_hash: str) -> StoredAnswer | None:
        """Take the key, or give the stored answer."""
        await self._session.execute(_AS, {"principal": key.principal})
        await self._session.execute(_EXPIRE, vars(key))
        with _waiting_ends_as_conflict():
            claimed = (await self._session.execute(_CLAIM, {**vars(key), "body_hash": body_hash})).scalar()
        if claimed:
            return None
        row = (await self._session.execute(_FIND, vars(key))).one_or_none()
        if row is None:  # the holder was deleted between the two statements
            raise _in_use()
        return StoredAnswer(body_hash=row[0], status=row[1], headers=row[2], body=row[3])

    async def complete(self, key: IntentKey, answer: StoredAnswer) -> None:
        """Store the answer."""
        values = {"status": answer.status, "headers": as_json(answer.headers), "body": as_json(answer.body)}
        await self._session.execute(_COMPLETE, {**vars(key), **values})

    async def forget_expired(self, limit: int = 1000) -> int:
        """Delete old intents."""
        result = await self._session.execute(_FORGET, {"limit": limit})
        return int(getattr(result, "rowcount", 0))


@contextlib.contextmanager
def _waiting_ends_as_conflict() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise _in_use() from error
        raise


def _in_use() -> ConflictError:
    return ConflictError(
        "Another request with this Idempotency-Key is still being carried out. Send the same request again in a moment.",
        code="idempotency-key-in-use",
        retry_after=1,
    )
