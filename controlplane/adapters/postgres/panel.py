"""Reads of the web console in PostgreSQL."""

from __future__ import annotations

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.panel import FleetCounts, IllTenant, WayBackCount

_WAYS_BACK = text(
    """
    select coalesce(nullif(memory ->> 'wayBack', ''), 'unknown') as way_back, state, count(*) as number
    from targets where rollout_id = :id group by 1, 2 order by 1, 2
    """
)
_PHASES = text("select phase, count(*) as number from tenants group by phase order by 2 desc")
_HEALTH = text("select health, count(*) as number from environments group by health order by 2 desc")
_ILL = text(
    """
    select tenant, environment, health, health_reason as reason from environments
    where health not in ('healthy', 'unknown') order by tenant, environment limit :limit
    """
)


class PostgresPanel:
    """See `controlplane.ports.stores.panel.PanelStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def ways_back(self, rollout_id: uuid.UUID) -> list[WayBackCount]:
        """How targets go back."""
        return [WayBackCount(*row) for row in await self._session.execute(_WAYS_BACK, {"id": rollout_id})]

    async def fleet(self, ill: int) -> FleetCounts:
        """The fleet in numbers."""
        phases = {row.phase: row.number for row in await self._session.execute(_PHASES)}
        health = {row.health: row.number for row in await self._session.execute(_HEALTH)}
        named = [IllTenant(*row) for row in await self._session.execute(_ILL, {"limit": ill})]
        return FleetCounts(phases, health, tuple(named))
