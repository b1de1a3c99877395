"""Notices in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.notices import Announced, Asks
from controlplane.ports.trace import trace_headers

from .database import Database
from .json_text import as_json

# Each notice is a subject of its own in history, so that two rollouts at once never number the same one.
_GIVE = text(
    """
    with given as (
      insert into notices (tenant, environment, app, release_version, rollout_id, why, earliest)
      select u.tenant, :environment, :app, :release, :rollout, u.why, now() + u.period
      from unnest(cast(:tenants as text[]), cast(:whys as text[]), cast(:periods as interval[])) as u(tenant, why, period)
      join environments e on e.tenant = u.tenant and e.environment = :environment
      on conflict (tenant, environment, app, release_version) do nothing
      returning tenant, environment, app, release_version, why, at, earliest,
        concat_ws('/', tenant, environment, app, release_version) as id,
        jsonb_build_object('environment', environment, 'release', app || '/' || release_version, 'why', why, 'earliest', earliest,
                           'rollout', rollout_id) as data
    ), told as (
      insert into history (subject_kind, subject_id, seq, type, tenant, data, at)
      select 'notice', id, 1, 'dev.seawall.notice.given.v1', tenant, data, now() from given
    )
    insert into outbox (subject, msg_id, payload, headers)
    select 'sw.event.' || tenant || '.notice.given', 'notice-' || id || '-1',
      jsonb_build_object('kind', 'notice', 'id', id, 'seq', 1, 'type', 'dev.seawall.notice.given.v1', 'tenant', tenant, 'time', at,
                         'data', data), cast(:headers as jsonb)
    from given
    """
)
_TOLD = text(
    """
    select tenant, at from notices
    where app = :app and release_version = :release and environment = :environment and tenant = any(cast(:tenants as text[]))
    """
)
_ASKS = text("select spec from releases where app = :app and version = :release")


class PostgresNoticeStore:
    """See `controlplane.ports.notices.NoticeStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def give(self, change: Announced, whom: Mapping[str, tuple[str, timedelta]]) -> None:
        """One statement for all."""
        if not whom:
            return
        values = {
            **_place(change),
            "rollout": change.rollout,
            "tenants": list(whom),
            "whys": [why for why, _ in whom.values()],
            "periods": [period for _, period in whom.values()],
            "headers": as_json(trace_headers()),
        }
        await self._session.execute(_GIVE, values)


class PostgresNotices:
    """See `controlplane.ports.notices.Notices`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def asks(self, app: str, release: str) -> Asks:
        """Read the release."""
        async with self._database.engine() as uow:
            spec = (await uow.session.execute(_ASKS, {"app": app, "release": release})).scalar_one_or_none() or {}
        return Asks((spec.get("database") or {}).get("change", "none"), tuple(spec.get("risks") or ()))

    async def told(
        self, change: Announced, tenants: Sequence[str], why: str, period: timedelta
    ) -> Mapping[str, datetime]:
        """Give what is missing, then read all."""
        async with self._database.engine() as uow:
            await PostgresNoticeStore(uow.session).give(change, dict.fromkeys(tenants, (why, period)))
            values = {**_place(change), "tenants": list(tenants)}
            return {row.tenant: row.at for row in await uow.session.execute(_TOLD, values)}


def _place(change: Announced) -> dict[str, str]:
    return {"app": change.app, "release": change.release, "environment": change.environment}
