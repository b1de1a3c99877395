"""Which of a rollout's targets nothing forward may start on: frozen by people, or stopped by a breaker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.breaker import breaker_name
from controlplane.domain.engine import Frozen
from controlplane.domain.exposure import FLEET_IN_FLIGHT
from controlplane.domain.selectors import labels_of_placed, parse_selector

_FREEZES = text(
    "select id, selector, reason, until from freezes where lifted_at is null and (until is null or until > now())"
)
_LABELS = text(
    """
    select t.tenant, t.tier, t.region, t.labels, e.cluster, e.environment
    from tenants t join environments e using (tenant) where e.environment = :environment and t.tenant = any(:tenants)
    """
)


_UPGRADES = text(
    """
    select c.name, v.spec ->> 'upgrade' as upgrade from config_current c join config_versions v using (kind, name, version)
    where c.kind = 'clusters' and c.deleted_at is null and v.spec ->> 'upgrade' in ('now', 'ignore')
    """
)
_BREAKERS = text(
    "select scope, breaker_detail ->> 'reason' as reason from budgets where breaker in ('open', 'probing')"
)
_ON = text(
    "select tenant from environments where environment = :environment and tenant = any(:tenants) and cluster = any(:clusters)"
)


async def read_frozen(
    session: AsyncSession, tenants: Sequence[str], environment: str, version: int, passes: frozenset[str]
) -> Frozen:
    """Read the freezes in force, those that an emergency `passes` left out, and match their selectors with the tenants' labels;
    then the breakers that are not closed, which no emergency goes past.
    """
    freezes = [freeze for freeze in await session.execute(_FREEZES) if str(freeze.id) not in passes]
    until = min((freeze.until for freeze in freezes if freeze.until is not None), default=None)
    everything = next((freeze.reason for freeze in freezes if not freeze.selector), "")
    selectors = [parse_selector(freeze.selector) for freeze in freezes if freeze.selector]
    tripped = {row.scope: f"breaker: {row.reason}" for row in await session.execute(_BREAKERS)}
    everything = everything or tripped.pop(FLEET_IN_FLIGHT, "")
    frozen = await _on_tripped(session, tripped, tenants, environment)
    if selectors:
        values = {"tenants": list(tenants), "environment": environment}
        for row in await session.execute(_LABELS, values):
            labels = labels_of_placed(row)
            if any(selector.matches(labels) for selector in selectors):
                frozen.add(row.tenant)
    said = {row.name: row.upgrade for row in await session.execute(_UPGRADES)}
    return Frozen(
        everything,
        frozenset(frozen),
        version,
        until,
        passes,
        upgrading=frozenset(name for name, what in said.items() if what == "now"),
        never_upgrading=frozenset(name for name, what in said.items() if what == "ignore"),
    )


async def _on_tripped(
    session: AsyncSession, scopes: Iterable[str], tenants: Sequence[str], environment: str
) -> set[str]:
    """The tenants on clusters whose breaker lets nobody through."""
    clusters = [breaker_name(scope).removeprefix("cluster:") for scope in scopes]
    if not clusters:
        return set()
    values = {"environment": environment, "tenants": list(tenants), "clusters": clusters}
    return set((await session.execute(_ON, values)).scalars())
