"""Evidence and backups in PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.backups import BACKUPS_KEPT, DRILLS_KEPT
from controlplane.ports.stores.evidence import BackupRecord, DrillRecord, EvidenceRecord

from .json_text import as_json

_EVIDENCE = "id, app, version, kind, at, body, received_at, reported_by"
_BACKUP = "tenant, environment, id, taken_at, size, checked_at, location, reported_by, reported_at"
_LOCK = text("select 1 from releases where app = :app and version = :version for no key update")
_ADD = text(
    f"insert into release_evidence ({_EVIDENCE})"  # noqa: S608 -- a constant
    " values (:id, :app, :version, :kind, :at, cast(:body as jsonb), :received_at, :reported_by)"
)
_PAGE = text(
    f"select {_EVIDENCE} from release_evidence where app = :app and version = :version"  # noqa: S608 -- a constant
    " and (cast(:kind as text) is null or kind = :kind)"
    " and (cast(:after as uuid) is null or id < cast(:after as uuid)) order by id desc limit :limit"
)
_NEWEST = text(
    "select distinct on (kind) kind, body from release_evidence where app = :app and version = :version"
    " order by kind, at desc, id desc"
)
_PUT = text(
    f"insert into backups ({_BACKUP}) values"  # noqa: S608 -- a constant
    " (:tenant, :environment, :id, :taken_at, :size, :checked_at, :location, :reported_by, :reported_at)"
    " on conflict (tenant, environment, id) do update set checked_at = coalesce(backups.checked_at, excluded.checked_at)"
    f" returning {_BACKUP}"
)
_FORGET = text(
    "delete from backups where tenant = :tenant and environment = :environment and id in ("
    " select id from backups where tenant = :tenant and environment = :environment"
    " order by taken_at desc, id desc offset :kept)"
)
_ONE = text(
    f"select {_BACKUP} from backups where tenant = :tenant and environment = :environment and id = :id"  # noqa: S608 -- a constant
)
_BACKUPS = text(
    f"select {_BACKUP} from backups where tenant = :tenant and environment = :environment"  # noqa: S608 -- a constant
    " and (cast(:at as timestamptz) is null or (taken_at, id) < (cast(:at as timestamptz), :id))"
    " order by taken_at desc, id desc limit :limit"
)
_DRILL = "tenant, environment, id, started_at, ended_at, result, backup, note, reported_by, reported_at"
_PUT_DRILL = text(
    f"insert into restore_drills ({_DRILL}) values"  # noqa: S608 -- a constant
    " (:tenant, :environment, :id, :started_at, :ended_at, :result, :backup, :note, :reported_by, :reported_at)"
    " on conflict (tenant, environment, id) do nothing returning id"
)
_ONE_DRILL = text(
    f"select {_DRILL} from restore_drills where tenant = :tenant and environment = :environment and id = :id"  # noqa: S608 -- a constant
)
_FORGET_DRILLS = text(
    "delete from restore_drills where tenant = :tenant and environment = :environment and id in ("
    " select id from restore_drills where tenant = :tenant and environment = :environment"
    " order by ended_at desc, id desc offset :kept)"
)
_DRILLS = text(
    f"select {_DRILL} from restore_drills where tenant = :tenant and environment = :environment"  # noqa: S608 -- a constant
    " and (cast(:at as timestamptz) is null or (ended_at, id) < (cast(:at as timestamptz), :id))"
    " order by ended_at desc, id desc limit :limit"
)
_ENVIRONMENT = text("select 1 from environments where tenant = :tenant and environment = :environment")


class PostgresEvidence:
    """See `controlplane.ports.stores.evidence.EvidenceStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock_release(self, app: str, version: str) -> bool:
        """Lock its row."""
        values = {"app": app, "version": version}
        return (await self._session.execute(_LOCK, values)).one_or_none() is not None

    async def add(self, record: EvidenceRecord) -> None:
        """Append."""
        values = {name: getattr(record, name) for name in EvidenceRecord.__slots__}
        await self._session.execute(_ADD, {**values, "body": as_json(record.body)})

    async def page(
        self, app: str, version: str, kind: str | None, after: uuid.UUID | None, limit: int
    ) -> Sequence[EvidenceRecord]:
        """Newest first."""
        values = {"app": app, "version": version, "kind": kind, "after": after, "limit": limit}
        return [EvidenceRecord(*row) for row in await self._session.execute(_PAGE, values)]

    async def newest(self, app: str, version: str) -> Mapping[str, Mapping[str, Any]]:
        """Newest of each kind."""
        return {row.kind: row.body for row in await self._session.execute(_NEWEST, {"app": app, "version": version})}

    async def put_backup(self, record: BackupRecord) -> BackupRecord:
        """Store, or note the check."""
        values = {name: getattr(record, name) for name in BackupRecord.__slots__}
        row = (await self._session.execute(_PUT, values)).one()
        place = {"tenant": record.tenant, "environment": record.environment}
        await self._session.execute(_FORGET, {**place, "kept": BACKUPS_KEPT})
        return BackupRecord(*row)

    async def backup(self, tenant: str, environment: str, backup_id: str) -> BackupRecord | None:
        """One backup."""
        values = {"tenant": tenant, "environment": environment, "id": backup_id}
        row = (await self._session.execute(_ONE, values)).one_or_none()
        return BackupRecord(*row) if row else None

    async def has_environment(self, tenant: str, environment: str) -> bool:
        """Whether it is there."""
        values = {"tenant": tenant, "environment": environment}
        return (await self._session.execute(_ENVIRONMENT, values)).one_or_none() is not None

    async def backups(
        self, tenant: str, environment: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[BackupRecord]:
        """Newest first."""
        at, backup_id = after or (None, "")
        values = {"tenant": tenant, "environment": environment, "at": at, "id": backup_id, "limit": limit}
        return [BackupRecord(*row) for row in await self._session.execute(_BACKUPS, values)]

    async def put_drill(self, record: DrillRecord) -> tuple[DrillRecord, bool]:
        """Store, once."""
        values = {name: getattr(record, name) for name in DrillRecord.__slots__}
        new = (await self._session.execute(_PUT_DRILL, values)).one_or_none() is not None
        stored = DrillRecord(*(await self._session.execute(_ONE_DRILL, values)).one())
        await self._session.execute(_FORGET_DRILLS, {**values, "kept": DRILLS_KEPT})
        return stored, new

    async def drills(
        self, tenant: str, environment: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[DrillRecord]:
        """Newest first."""
        at, drill_id = after or (None, "")
        values = {"tenant": tenant, "environment": environment, "at": at, "id": drill_id, "limit": limit}
        return [DrillRecord(*row) for row in await self._session.execute(_DRILLS, values)]
