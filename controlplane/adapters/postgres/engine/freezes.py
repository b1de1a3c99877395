"""Which of a rollout's targets are frozen."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.engine import Frozen
from controlplane.domain.selectors import labels_of, parse_selector

_FREEZES = text(
    "select id, selector, reason, until from freezes where lifted_at is null and (until is null or until > now())"
)
_LABELS = text(
    """
    select t.tenant, t.tier, t.region, t.labels, e.cluster, e.environment
    from tenants t join environments e using (tenant) where e.environment = :environment and t.tenant = any(:tenants)
    """
)


async def read_frozen(
    session: AsyncSession, tenants: Sequence[str], environment: str, version: int, passes: frozenset[str]
) -> Frozen:
    """Read the freezes in force, those that an emergency `passes` left out, and match their selectors with the tenants' labels."""
    freezes = [freeze for freeze in await session.execute(_FREEZES) if str(freeze.id) not in passes]
    until = min((freeze.until for freeze in freezes if freeze.until is not None), default=None)
    everything = next((freeze.reason for freeze in freezes if not freeze.selector), "")
    selectors = [parse_selector(freeze.selector) for freeze in freezes if freeze.selector]
    frozen: set[str] = set()
    if selectors:
        values = {"tenants": list(tenants), "environment": environment}
        for row in await session.execute(_LABELS, values):
            labels = labels_of(
                row.labels,
                tenant=row.tenant,
                tier=row.tier,
                region=row.region,
                cluster=row.cluster,
                environment=row.environment,
            )
            if any(selector.matches(labels) for selector in selectors):
                frozen.add(row.tenant)
    return Frozen(everything, frozenset(frozen), version, until, passes)
