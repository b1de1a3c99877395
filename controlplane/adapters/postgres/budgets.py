"""Budgets in PostgreSQL, as people see and cap them."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.breaker import Signs, Windows
from controlplane.domain.exposure import FLEET_EXPOSURE, FLEET_IN_FLIGHT, FLEET_MONEY, FLEET_UNVERIFIED, Amount
from controlplane.domain.fleet_limits import FleetSize
from controlplane.ports.stores.budgets import BreakerRecord, BudgetRecord, InFlight

from . import breakers
from .numbers import numerics

_PAGE = text(
    """
    select scope, cap, reserved, closed, breaker from budgets
    where scope collate "C" > :after and (case when :prefix = '' then scope not like 'rollout:%' else starts_with(scope, :prefix) end)
    order by scope collate "C" limit :limit
    """
)
_IN_FLIGHT = text("select scope, sum(amount) as amount from reservations where rollout_id = :id group by scope")
_LOCK_SHARED = text(
    "select scope from budgets where scope not like 'rollout:%' order by scope collate \"C\" for update"
)
_SET_CAPS = text(
    """
    with wanted as (
        select scope, cap from unnest(cast(:scopes as text[]), cast(:caps as numeric[])) as u(scope, cap)
        union all
        select scope, null from budgets where scope not like 'rollout:%' and cap is not null and scope <> all(cast(:scopes as text[]))
    ), changed as (
        insert into budgets (scope, cap) select scope, cap from wanted order by scope collate "C"
        on conflict (scope) do update set cap = excluded.cap where budgets.cap is distinct from excluded.cap
        returning scope, reserved, cap, closed or breaker in ('open','probing') as closed
    )
    insert into budget_moves (scope, delta, reserved, cap, closed) select scope, 0, reserved, cap, closed from changed
    """
)
_ROLLBACK = text(
    """
    select b.scope, count(e.tenant) as tenants from budgets b
    left join environments e on b.scope = 'cluster:' || e.cluster || '/rollback'
    where b.scope like 'cluster:%/rollback' group by b.scope
    """
)
_CAPS = text("select scope, cap from budgets where scope not like 'rollout:%' and cap is not null")
_SIZE = text(
    """
    select e.cluster, t.region, coalesce(t.labels ->> 'brand', '') as brand, count(*) as environments
    from environments e join tenants t on t.tenant = e.tenant where t.phase <> 'offboarded' group by 1, 2, 3
    """
)
_TARGET_STATE = text("select state from targets where rollout_id = cast(:rollout as uuid) and tenant = :tenant")


class PostgresBudgets:
    """See `controlplane.ports.stores.budgets.BudgetStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def page(self, rollout: uuid.UUID | None, after: str, limit: int) -> list[BudgetRecord]:
        """Budgets by scope."""
        prefix = f"rollout:{rollout}/" if rollout else ""
        rows = await self._session.execute(_PAGE, {"prefix": prefix, "after": after, "limit": limit})
        return [BudgetRecord(*row) for row in rows]

    async def in_flight(self, rollout: uuid.UUID) -> InFlight:
        """What a rollout holds of the fleet's budgets."""
        held = {row.scope: row.amount for row in await self._session.execute(_IN_FLIGHT, {"id": rollout})}
        scopes = (FLEET_IN_FLIGHT, FLEET_UNVERIFIED, FLEET_EXPOSURE, FLEET_MONEY)
        return InFlight(*(held.get(scope, Decimal(0)) for scope in scopes))

    async def caps(self) -> dict[str, Decimal]:
        """Caps of shared budgets."""
        return {row.scope: row.cap for row in await self._session.execute(_CAPS)}

    async def set_caps(self, caps: Mapping[str, Amount], rollback: Mapping[str, Amount]) -> None:
        """Put caps in force. All shared rows are locked first, in the order in which drivers lock them."""
        wanted = {**rollback, **caps}
        await self._session.execute(_LOCK_SHARED)
        await self._session.execute(_SET_CAPS, {"scopes": list(wanted), "caps": numerics(wanted.values())})

    async def fleet_size(self) -> FleetSize:
        """Count environments."""
        rows = (await self._session.execute(_SIZE)).all()

        def by(name: str) -> Counter[str]:
            found: Counter[str] = Counter()
            for row in rows:
                found[getattr(row, name)] += row.environments
            return found

        return FleetSize(sum(row.environments for row in rows), by("cluster"), by("region"), by("brand"))

    async def rollback_scopes(self) -> dict[str, int]:
        """Rollback budgets of clusters with how many environments are there."""
        return {row.scope: row.tenants for row in await self._session.execute(_ROLLBACK)}

    async def breakers(self) -> list[BreakerRecord]:
        """The fleet's breaker, and those that are not closed."""
        return await breakers.read_breakers(self._session)

    async def lock_breaker(self, scope: str) -> BreakerRecord | None:
        """Lock a breaker's row."""
        return await breakers.lock_breaker(self._session, scope)

    async def set_breaker(self, record: BreakerRecord) -> None:
        """Change a locked breaker."""
        await breakers.set_breaker(self._session, record)

    async def signs(self, windows: Windows, since: datetime | None) -> Signs:
        """Count what breakers are judged by."""
        return await breakers.read_signs(self._session, windows, since)

    async def target_state(self, rollout: str, tenant: str) -> str | None:
        """Where a probe stands."""
        values = {"rollout": rollout, "tenant": tenant}
        state: str | None = (await self._session.execute(_TARGET_STATE, values)).scalar_one_or_none()
        return state
