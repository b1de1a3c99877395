"""Whether PostgreSQL can be worked with: reachable, this version's schema, a synchronous standby where one is required."""

from __future__ import annotations

import asyncio
from functools import cache

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.ports.health import Part

from .migrate import config

SECONDS = 2.0
"""A part that has not answered after so long counts as away."""

_STATE = text(
    "select (select version_num from alembic_version), current_setting('synchronous_standby_names') <> '',"
    " exists (select 1 from pg_stat_replication), current_setting('synchronous_commit')"
)
# Only superusers read the replicas' synchronisation state, so what is asked is: are names configured, is anybody connected, do
# commits wait.
_WAITS = frozenset({"on", "remote_write", "remote_apply"})


async def database_parts(engine: AsyncEngine, *, standby_required: bool) -> list[Part]:
    """Ask PostgreSQL, at most two seconds long."""
    try:
        async with asyncio.timeout(SECONDS), engine.connect() as connection:
            row = (await connection.execute(_STATE)).one()
    except (TimeoutError, OSError, SQLAlchemyError) as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        return [Part(name="postgresql", state="away", detail=f"It does not answer ({kind}).")]
    replicated = bool(row[1] and row[2] and row[3] in _WAITS)
    return [Part(name="postgresql", state="ok"), _schema(row[0]), _standby(replicated, required=standby_required)]


def _schema(found: str) -> Part:
    newest, known = _revisions()
    if found == newest or found not in known:  # an unknown one is newer: this process is being replaced
        return Part(name="schema", state="ok", detail=found)
    return Part(
        name="schema", state="wrong", detail=f"It is at {found}, this version needs {newest}. Run `seawall migrate`."
    )


def _standby(replicated: bool, *, required: bool) -> Part:
    if replicated:
        return Part(name="synchronous-standby", state="ok")
    if not required:
        detail = "There is none, and none is required: a lost database server may lose accepted work."
        return Part(name="synchronous-standby", state="notRequired", needed=False, detail=detail)
    detail = "There is none, so a lost server could lose accepted work. Attach one and set synchronous_standby_names."
    return Part(name="synchronous-standby", state="away", detail=detail)


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    from alembic.script import ScriptDirectory  # slow to import, and only who is asked how it is needs it

    scripts = ScriptDirectory.from_config(config("postgresql://"))
    return str(scripts.get_current_head()), frozenset(script.revision for script in scripts.walk_revisions())
