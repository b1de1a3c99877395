"""Outcomes: read what history holds, in one transaction, and sum it up."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from controlplane.domain.backups import DRILL_COUNTS_FOR
from controlplane.domain.fleet_limits import FleetLimits
from controlplane.domain.outcomes import By, Outcomes, Recorded, Untouched, outcomes
from controlplane.domain.quantities import Money
from controlplane.domain.tenants import Exposure
from controlplane.ports.stores.outcomes import UntouchedRow
from controlplane.ports.uow import UnitOfWork
from controlplane.services.limits import fleet_limits


async def outcomes_since(uow: UnitOfWork, since: datetime, by: By) -> Outcomes:
    """How changes turned out since a time, per fleet and group."""
    limits, store = await fleet_limits(uow), uow.outcomes
    found = Recorded(
        since=since,
        until=uow.now,
        currency=limits.currency,
        events=await store.target_events(since),
        untouched=[_untouched(row, limits) for row in await store.untouched(since)],
        gates=await store.gates(since),
        acts=await store.acts(since),
        tenants=await store.restorable(uow.now - DRILL_COUNTS_FOR),
    )
    return outcomes(found, by)


def _untouched(row: UntouchedRow, limits: FleetLimits) -> Untouched:
    value = value_per_hour(row.exposure, limits)
    return Untouched(row.rollout, row.tenant, row.app, row.tier, row.brand, value, row.modules)


def value_per_hour(exposure: dict[str, object], limits: FleetLimits) -> Decimal | None:
    """What an hour without orders costs in the reporting currency; None where orders come and their value, or its rate, is unknown."""
    known = Exposure.model_validate(exposure)
    orders = Decimal(str(known.orders_per_hour))
    if not orders:
        return Decimal(0)
    value = known.value_per_order
    if value is None:
        return None
    return limits.converted(Money(amount=value.amount * orders, currency=value.currency))
