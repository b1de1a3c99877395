"""Notices in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.notices import Announced
from controlplane.ports.trace import trace_headers

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


class PostgresNoticeStore:
    """See `controlplane.ports.notices.NoticeStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def give(self, change: Announced, whom: Mapping[str, tuple[str, timedelta]]) -> None:
        """One statement for all."""
        if not whom:
            return
        values = {
            **place_of(change),
            "rollout": change.rollout,
            "tenants": list(whom),
            "whys": [why for why, _ in whom.values()],
            "periods": [period for _, period in whom.values()],
            "headers": as_json(trace_headers()),
        }
        await self._session.execute(_GIVE, values)


def place_of(change: Announced) -> dict[str, str]:
    """A change as the statements name it."""
    return {"app": change.app, "release": change.release, "environment": change.environment}
