"""Releases in PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.releases import ArtifactRecord, HoldRecord, ReleasePosition, ReleaseRecord

from .json_text import as_json

_PUT_ARTIFACT = text(
    "insert into artifacts (digest, media_type, size, content, created_at, created_by)"
    " values (:digest, :media_type, :size, :content, :created_at, :created_by) on conflict do nothing returning true"
)
_INFO = text("select digest, media_type, size, created_at, created_by from artifacts where digest = :digest")
_CONTENT = text("select content from artifacts where digest = :digest")
_ADD = text(
    "insert into releases (app, version, spec, digest, created_at, created_by, on_behalf_of)"
    " values (:app, :version, cast(:spec as jsonb), :digest, :created_at, :created_by, :on_behalf_of)"
    " on conflict do nothing returning true"
)
_HOLD = "h.id, h.app, h.version, h.digest, h.reason, h.rollout_id, h.created_at, h.created_by, h.lifted_at, h.lifted_by, h.lift_reason"
_RELEASE = f"""
    select r.app, r.version, r.spec, r.digest, r.created_at, r.created_by, r.proven_at, r.proven_by, r.on_behalf_of, {_HOLD}
    from releases r left join holds h on h.digest = r.digest and h.lifted_at is null
"""  # noqa: S608 -- constants
_GET = text(f"{_RELEASE} where r.app = :app and r.version = :version")
_PAGE = text(
    f"{_RELEASE} where (cast(:apps as text[]) is null or r.app = any(cast(:apps as text[])))"
    " and (cast(:at as timestamptz) is null or (r.created_at, r.app, r.version) < (cast(:at as timestamptz), :app, :version))"
    " order by r.created_at desc, r.app desc, r.version desc limit :limit"
)
_HOLDS = text(
    f"select {_HOLD} from holds h where (:lifted or h.lifted_at is null)"  # noqa: S608 -- a constant
    " and (cast(:after as uuid) is null or h.id < cast(:after as uuid)) order by h.id desc limit :limit"
)
_LIFT = text(
    "update holds set lifted_at = :at, lifted_by = :by, lift_reason = :reason"
    " where id = :id and lifted_at is null returning true"
)
_RELEASE_COLUMNS = 9


class PostgresReleases:
    """See `controlplane.ports.stores.releases.ReleaseStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def put_artifact(self, record: ArtifactRecord, content: bytes) -> bool:
        """Store an artifact."""
        return bool((await self._session.execute(_PUT_ARTIFACT, {**vars(record), "content": content})).scalar())

    async def artifact_info(self, digest: str) -> ArtifactRecord | None:
        """An artifact without its bytes."""
        row = (await self._session.execute(_INFO, {"digest": digest})).one_or_none()
        return ArtifactRecord(*row) if row else None

    async def artifact(self, digest: str) -> bytes | None:
        """An artifact's bytes."""
        found = (await self._session.execute(_CONTENT, {"digest": digest})).scalar()
        return bytes(found) if found is not None else None

    async def add(self, record: ReleaseRecord) -> bool:
        """Store a release."""
        return bool((await self._session.execute(_ADD, {**vars(record), "spec": as_json(record.spec)})).scalar())

    async def get(self, app: str, version: str) -> ReleaseRecord | None:
        """One release."""
        row = (await self._session.execute(_GET, {"app": app, "version": version})).one_or_none()
        return _record(row) if row else None

    async def page(
        self, apps: Collection[str] | None, after: ReleasePosition | None, limit: int
    ) -> list[ReleaseRecord]:
        """Releases, newest first."""
        at, app, version = after or (None, "", "")
        values = {"apps": None if apps is None else sorted(apps), "at": at, "app": app, "version": version}
        return [_record(row) for row in await self._session.execute(_PAGE, {**values, "limit": limit})]

    async def holds(self, after: uuid.UUID | None, limit: int, *, lifted: bool) -> list[HoldRecord]:
        """Holds, newest first."""
        rows = await self._session.execute(_HOLDS, {"after": after, "limit": limit, "lifted": lifted})
        return [HoldRecord(*row) for row in rows]

    async def lift(self, hold_id: uuid.UUID, at: datetime, by: str, reason: str) -> bool:
        """End a hold."""
        values = {"id": hold_id, "at": at, "by": by, "reason": reason}
        return bool((await self._session.execute(_LIFT, values)).scalar())


def _record(row: Row[Any]) -> ReleaseRecord:
    own, hold = tuple(row[:_RELEASE_COLUMNS]), tuple(row[_RELEASE_COLUMNS:])
    return replace(ReleaseRecord(*own), hold=HoldRecord(*hold) if hold[0] is not None else None)
