"""Rows of living workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.ports.health import Part

from .database import Database
from .engine_timeline import TIMELINE
from .health import SECONDS
from .json_text import as_json

_TELL = text(
    f"""
    insert into workers (id, version, schema_version, clusters, guarded, started_at, seen_at)
    values (:id, :version, :schema, cast(:clusters as jsonb), :guarded, now(), now())
    on conflict (id) do update set seen_at = now(), guarded = excluded.guarded
    returning {TIMELINE} as timeline
    """  # noqa: S608 -- constant
)


_UNSERVED = text(
    """
    with living as (select clusters, schema_version from workers where seen_at > now() - interval '15 seconds'),
    rollouts_left as (
      select r.id from rollouts r where r.state in ('planned', 'running', 'paused', 'rollingBack') and not exists (
        select 1 from living l where l.schema_version >= r.schema_version and (l.clusters = '[]' or not exists (
          select 1 from targets t join environments e using (tenant, environment)
          where t.rollout_id = r.id and not l.clusters ? e.cluster)))
    ),
    operations_left as (
      select o.id from operations o where o.state not in ('succeeded', 'failed', 'cancelled') and not exists (
        select 1 from living l where l.clusters = '[]' or not exists (
          select 1 from operation_items i join environments e using (tenant, environment)
          where i.operation_id = o.id and not l.clusters ? e.cluster))
    ),
    places as (
      select e.cluster from targets t join environments e using (tenant, environment) where t.rollout_id in (select id from rollouts_left)
      union
      select e.cluster from operation_items i join environments e using (tenant, environment)
      where i.operation_id in (select id from operations_left)
    )
    select (select count(*) from living) as living, (select count(*) from rollouts_left) as rollouts,
           (select count(*) from operations_left) as operations,
           (select coalesce(string_agg(cluster, ', ' order by cluster), '') from places) as clusters
    """
)


async def workers_part(engine: AsyncEngine) -> Part:
    """Whether every unfinished rollout and operation has a live worker that may take it. Not needed: the API serves without."""
    try:
        async with asyncio.timeout(SECONDS), engine.connect() as connection:
            row = (await connection.execute(_UNSERVED)).one()
    except (TimeoutError, OSError, SQLAlchemyError) as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        return Part(name="workers", state="away", needed=False, detail=f"PostgreSQL did not say ({kind}).")
    if row.rollouts or row.operations:
        detail = (
            f"{row.living} live, none may take {row.rollouts} rollouts and {row.operations} operations on {row.clusters or 'no cluster yet'}:"
            " start workers of this version that serve these clusters (`seawall work`)."
        )
        return Part(name="workers", state="away", needed=False, detail=detail)
    state: Literal["ok", "notRequired"] = "ok" if row.living else "notRequired"
    return Part(name="workers", state=state, needed=False, detail=f"{row.living} live")


async def tell_worker(
    database: Database, holder: str, version: str, schema: int, clusters: Sequence[str], *, guarded: bool = False
) -> int:
    """Say that a worker lives, and whether its `Guard` holds; those not heard of for a minute are forgotten on the way.

    Returns PostgreSQL's timeline.
    """
    async with database.engine() as uow:
        await uow.session.execute(text("delete from workers where seen_at < now() - interval '1 minute'"))
        values = {"id": holder, "version": version, "schema": schema, "clusters": as_json(list(clusters))}
        values["guarded"] = guarded
        return int((await uow.session.execute(_TELL, values)).scalar_one())


async def forget_worker(database: Database, holder: str) -> None:
    """Take a worker's row away."""
    async with database.engine() as uow:
        await uow.session.execute(text("delete from workers where id = :id"), {"id": holder})
