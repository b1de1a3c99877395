"""Calendars and whose they are, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.selectors import labels_of_placed
from controlplane.domain.window_views import WaveAhead
from controlplane.ports.stores.windows import Attachments, CalendarRow, Place

_CALENDARS = text(
    """
    select c.name, v.digest, v.spec from config_current c join config_versions v using (kind, name, version)
    where c.kind = 'calendars' and c.deleted_at is null
      and case when :marked then v.spec ->> 'marks' <> '' else v.spec ->> 'effect' is distinct from 'none' end
    order by c.name
    """
)
_PLACES = text(
    """
    select t.tenant, t.tier, t.region, t.labels, t.time_zone, e.cluster, e.environment
    from tenants t join environments e using (tenant)
    where e.environment = :environment and (cast(:tenants as text[]) is null or t.tenant = any(cast(:tenants as text[])))
    """
)


_WAVES = text(
    """
    select r.id, r.app, r.release_version, w.name, w.state, w.expected_from, w.expected_by
    from waves w join rollouts r on r.id = w.rollout_id
    where r.state in ('planned', 'running', 'paused') and w.state not in ('done', 'failed')
      and w.expected_from is not null and w.expected_by is not null
    order by w.expected_from, r.id, w.wave limit 1000
    """
)


class PostgresWindows:
    """See `controlplane.ports.stores.windows.WindowStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def attachments(self, tenants: Collection[str] | None, environment: str) -> Attachments:
        """Two statements; one where there is no calendar."""
        return await read_attachments(self._session, tenants, environment)

    async def marked(self, environment: str) -> Attachments:
        """As above, of calendars that mark."""
        return await read_attachments(self._session, None, environment, marked=True)

    async def waves_ahead(self) -> list[WaveAhead]:
        """One statement."""
        rows = await self._session.execute(_WAVES)
        return [
            WaveAhead(str(r.id), f"{r.app}/{r.release_version}", r.name, r.state, r.expected_from, r.expected_by)
            for r in rows
        ]


async def read_attachments(
    session: AsyncSession, tenants: Collection[str] | None, environment: str, *, marked: bool = False
) -> Attachments:
    """Read calendars, and tenants only where there are any. `marked`: those that mark, else those that allow or deny."""
    rows = await session.execute(_CALENDARS, {"marked": marked})
    calendars = [CalendarRow(row.name, row.digest, row.spec) for row in rows]
    if not calendars:
        return Attachments()
    values = {"tenants": None if tenants is None else list(tenants), "environment": environment}
    places = []
    for row in await session.execute(_PLACES, values):
        labels = labels_of_placed(row)
        places.append(Place(row.tenant, labels, row.time_zone))
    return Attachments(calendars, places)
