"""The record of the emergency lane in PostgreSQL: see `controlplane.ports.stores.emergencies`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.emergencies import EmergencyFilter, EmergencyRecord, Review

from .json_text import as_json

_ADD = text(
    """
    insert into emergencies (rollout_id, criterion, reason, app, release_version, environment, selector, targets, change_ref, plan_hash,
      left_out, actor, person, review_by)
    values (:rollout_id, :criterion, :reason, :app, :version, :environment, :selector, :targets, :change_ref, :plan_hash,
      cast(:left_out as jsonb), :actor, :person, now() + :within)
    """
)
_ALL = """
    select e.rollout_id, e.criterion, e.reason, e.app, e.release_version as version, e.environment, e.selector, e.targets, e.change_ref,
      e.plan_hash, e.left_out, e.actor, e.person, e.at, e.review_by, coalesce(v.finding, '') as finding, coalesce(v.note, '') as note,
      coalesce(v.person, '') as reviewed_by, v.at as reviewed_at
    from emergencies e left join emergency_reviews v using (rollout_id)
"""
_GET = text(f"{_ALL} where e.rollout_id = :id")
_PAGE = text(
    f"""
    {_ALL} where (cast(:open as boolean) is null or (v.rollout_id is null) = cast(:open as boolean))
      and (cast(:apps as text[]) is null or e.app = any(cast(:apps as text[])))
      and (cast(:before as uuid) is null or e.rollout_id < cast(:before as uuid))
    order by e.rollout_id desc limit :limit
    """
)
_TURN = text("select pg_try_advisory_xact_lock(hashtextextended('overdue emergencies', 0))")
_OVERDUE = text(
    f"""
    {_ALL} where e.review_by <= now() and v.rollout_id is null and not exists (
      select 1 from history h where h.subject_kind = 'emergency' and h.subject_id = e.rollout_id::text
        and h.type = 'dev.seawall.emergency.overdue.v1')
    order by e.review_by limit :limit
    """  # noqa: S608 -- a constant
)
_REVIEW = text(
    "insert into emergency_reviews (rollout_id, finding, note, actor, person)"
    " values (:rollout_id, :finding, :note, :actor, :person) on conflict do nothing returning true"
)


class PostgresEmergencies:
    """Emergencies of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, record: EmergencyRecord, review_within: timedelta) -> None:
        """Write one."""
        what = {name: getattr(record, name) for name in _COLUMNS}
        await self._session.execute(_ADD, {**what, "left_out": as_json(record.left_out), "within": review_within})

    async def get(self, rollout_id: uuid.UUID) -> EmergencyRecord | None:
        """One, with its review."""
        row = (await self._session.execute(_GET, {"id": rollout_id})).mappings().one_or_none()
        return EmergencyRecord(**row) if row is not None else None

    async def page(self, wanted: EmergencyFilter, before: uuid.UUID | None, limit: int) -> Sequence[EmergencyRecord]:
        """Newest first: ids of rollouts sort by time."""
        apps = None if wanted.apps is None else sorted(wanted.apps)
        values = {"open": wanted.open, "apps": apps, "before": before, "limit": limit}
        return [EmergencyRecord(**row) for row in (await self._session.execute(_PAGE, values)).mappings()]

    async def newly_overdue(self, limit: int) -> Sequence[EmergencyRecord]:
        """Those nothing was told of yet."""
        if not (await self._session.execute(_TURN)).scalar():
            return []
        return [EmergencyRecord(**row) for row in (await self._session.execute(_OVERDUE, {"limit": limit})).mappings()]

    async def review(self, review: Review) -> bool:
        """Write the look; the key lets one in."""
        said = {"finding": review.finding, "note": review.note, "actor": review.actor, "person": review.person}
        found = await self._session.execute(_REVIEW, {"rollout_id": review.rollout_id, **said})
        return bool(found.scalar())


_COLUMNS = (
    "rollout_id",
    "criterion",
    "reason",
    "app",
    "version",
    "environment",
    "selector",
    "targets",
    "change_ref",
    "plan_hash",
    "actor",
    "person",
)
