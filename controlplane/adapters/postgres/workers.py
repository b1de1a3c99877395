"""Rows of living workers."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from .database import Database
from .uow import as_json

_TELL = text(
    """
    insert into workers (id, version, schema_version, clusters, started_at, seen_at)
    values (:id, :version, :schema, cast(:clusters as jsonb), now(), now())
    on conflict (id) do update set seen_at = now()
    """
)


async def tell_worker(database: Database, holder: str, version: str, schema: int, clusters: Sequence[str]) -> None:
    """Say that a worker lives; those not heard of for a minute are forgotten on the way."""
    async with database.engine() as uow:
        await uow.session.execute(text("delete from workers where seen_at < now() - interval '1 minute'"))
        values = {"id": holder, "version": version, "schema": schema, "clusters": as_json(list(clusters))}
        await uow.session.execute(_TELL, values)


async def forget_worker(database: Database, holder: str) -> None:
    """Take a worker's row away."""
    async with database.engine() as uow:
        await uow.session.execute(text("delete from workers where id = :id"), {"id": holder})
