"""Configuration in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.configuration import ConfigRecord

from .json_text import as_json

_COLUMNS = "v.kind, v.name, v.version, v.spec, v.digest, v.created_at, v.created_by"
_LOCK = text("select pg_advisory_xact_lock(hashtextextended('config/' || :kind || '/' || :name, 0))")
_CURRENT = text(
    f"select {_COLUMNS} from config_current c join config_versions v using (kind, name, version)"  # noqa: S608 -- a constant
    " where c.kind = :kind and c.name = :name and c.deleted_at is null"
)
_VERSION = text(
    f"select {_COLUMNS} from config_versions v where v.kind = :kind and v.name = :name and v.version = :version"  # noqa: S608 -- a constant
)
_NEWEST = text("select coalesce(max(version), 0) from config_versions where kind = :kind and name = :name")
_PAGE = text(
    f"select {_COLUMNS} from config_current c join config_versions v using (kind, name, version)"  # noqa: S608 -- a constant
    ' where c.kind = :kind and c.deleted_at is null and c.name > :after collate "C"'
    ' order by c.name collate "C" limit :limit'
)
_INSERT = text(
    "insert into config_versions (kind, name, version, spec, digest, created_at, created_by)"
    " values (:kind, :name, :version, cast(:spec as jsonb), :digest, :created_at, :created_by)"
)
_POINT = text(
    "insert into config_current (kind, name, version) values (:kind, :name, :version)"
    " on conflict (kind, name) do update set version = excluded.version, deleted_at = null"
)
_REMOVE = text("update config_current set deleted_at = now() where kind = :kind and name = :name")

_USERS = {
    "apps": "select 'tenant ' || tenant from tenant_apps where app = :name"
    " union all select 'release ' || app || '/' || version from releases where app = :name",
    "tiers": "select 'tenant ' || tenant from tenants where tier = :name and phase <> 'offboarded'",
    "clusters": "select 'tenant ' || e.tenant || ' (' || e.environment || ')' from environments e join tenants t using (tenant)"
    " where e.cluster = :name and t.phase <> 'offboarded'",
    "strategies": "select 'trigger ' || c.name from config_current c join config_versions v using (kind, name, version)"
    " where c.kind = 'triggers' and c.deleted_at is null and split_part(v.spec #>> '{rollout,strategy}', '@', 1) = :name"
    " union all select 'rollout ' || id from rollouts where strategy = :name and state not in ('succeeded','failed','aborted')",
    "endpoints": "select 'strategy ' || c.name from config_current c join config_versions v using (kind, name, version)"
    " where c.kind = 'strategies' and c.deleted_at is null"
    " and jsonb_path_exists(v.spec, '$.**.webhook.use ? (@ == $name)', jsonb_build_object('name', cast(:name as text)))",
    "sources": "select 'trigger ' || c.name from config_current c join config_versions v using (kind, name, version)"
    " where c.kind = 'triggers' and c.deleted_at is null and v.spec ->> 'source' = :name",
}
"""What needs an object of a kind; kinds without a line are needed by nothing."""


class PostgresConfiguration:
    """See `controlplane.ports.stores.configuration.ConfigStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self, kind: str, name: str) -> None:
        """Serialise writers of one object."""
        await self._session.execute(_LOCK, {"kind": kind, "name": name})

    async def current(self, kind: str, name: str) -> ConfigRecord | None:
        """The version in force."""
        row = (await self._session.execute(_CURRENT, {"kind": kind, "name": name})).one_or_none()
        return ConfigRecord(*row) if row else None

    async def version(self, kind: str, name: str, version: int) -> ConfigRecord | None:
        """One version."""
        values = {"kind": kind, "name": name, "version": version}
        row = (await self._session.execute(_VERSION, values)).one_or_none()
        return ConfigRecord(*row) if row else None

    async def newest(self, kind: str, name: str) -> int:
        """The highest number."""
        return int((await self._session.execute(_NEWEST, {"kind": kind, "name": name})).scalar_one())

    async def page(self, kind: str, after: str | None, limit: int) -> list[ConfigRecord]:
        """Versions in force by name."""
        rows = await self._session.execute(_PAGE, {"kind": kind, "after": after or "", "limit": limit})
        return [ConfigRecord(*row) for row in rows]

    async def put(self, record: ConfigRecord) -> None:
        """Store and put in force."""
        await self._session.execute(_INSERT, {**vars(record), "spec": as_json(record.spec)})
        await self._session.execute(_POINT, {"kind": record.kind, "name": record.name, "version": record.version})

    async def remove(self, kind: str, name: str) -> None:
        """Put nothing in force."""
        await self._session.execute(_REMOVE, {"kind": kind, "name": name})

    async def users(self, kind: str, name: str) -> Sequence[str]:
        """Up to five users."""
        if kind not in _USERS:
            return []
        rows = await self._session.execute(text(f"{_USERS[kind]} limit 5"), {"name": name})
        return [str(row[0]) for row in rows]
