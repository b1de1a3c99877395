"""Reads for the break-glass files in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.breakglass import VerifiedApp, VerifiedEnvironment

_ENVIRONMENTS = text(
    """
    with chosen as (
      select tenant, phase, tier from tenants
      where tenant > :after and (cast(:tenants as text[]) is null or tenant = any(cast(:tenants as text[])))
      order by tenant limit :limit
    )
    select s.tenant, e.environment, e.cluster, e.namespace, s.phase, s.tier, e.walls, coalesce((
      select jsonb_agg(jsonb_build_object('app', a.app, 'release', r.release_version, 'revision', r.revision,
                                          'verified_at', r.verified_at, 'content', r.content_hash) order by a.app)
      from tenant_apps a
      join revisions r on (r.tenant, r.environment, r.app, r.revision) = (a.tenant, a.environment, a.app, a.verified_revision)
      where (a.tenant, a.environment) = (e.tenant, e.environment)), '[]') as apps
    from chosen s join environments e on e.tenant = s.tenant order by s.tenant, e.environment
    """
)
_CHANGED = text(
    """
    select distinct tenant from history where at >= clock_timestamp() - cast(:within as interval) and tenant is not null
      and (subject_kind = 'tenant' or type in ('dev.seawall.rollout.target-verified.v1', 'dev.seawall.rollout.target-rolled-back.v1'))
    """
)
_BODIES = text(
    """
    select c.tenant, c.hash, c.body from contents c
    join unnest(cast(:tenants as text[]), cast(:hashes as text[])) as u(tenant, hash) on (c.tenant, c.hash) = (u.tenant, u.hash)
    """
)


class PostgresBreakGlass:
    """See `controlplane.ports.stores.breakglass.BreakGlassStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def environments(
        self, tenants: Collection[str] | None, after: str = "", limit: int = 500
    ) -> list[VerifiedEnvironment]:
        """Environments with their verified revisions."""
        values = {"tenants": None if tenants is None else sorted(tenants), "after": after, "limit": limit}
        rows = await self._session.execute(_ENVIRONMENTS, values)
        return [VerifiedEnvironment(**{**row._mapping, "apps": [_app(app) for app in row.apps]}) for row in rows]  # noqa: SLF001 -- SQLAlchemy's public name

    async def changed(self, within: timedelta) -> set[str]:
        """Tenants with news."""
        return set((await self._session.execute(_CHANGED, {"within": within})).scalars())

    async def bodies(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """Content bodies."""
        asked = sorted(wanted)
        values = {"tenants": [tenant for tenant, _ in asked], "hashes": [hash_ for _, hash_ in asked]}
        return {(row.tenant, row.hash): row.body for row in await self._session.execute(_BODIES, values)}


def _app(found: dict[str, Any]) -> VerifiedApp:
    at = found["verified_at"]
    return VerifiedApp(**{**found, "verified_at": datetime.fromisoformat(at) if at else None})
