"""The fleet limits: read, put into effect; and what a rollout has in flight under them."""

from __future__ import annotations

import uuid

from controlplane.domain.exposure import default_rollback_cap
from controlplane.domain.fleet_limits import FLEET, FleetLimits, check_name
from controlplane.domain.quantities import Money
from controlplane.domain.rollout_views import StakeView
from controlplane.ports.uow import UnitOfWork


async def fleet_limits(uow: UnitOfWork) -> FleetLimits:
    """The limits in force; the defaults if nobody put any."""
    current = await uow.configuration.current("limits", FLEET)
    return FleetLimits.model_validate(current.spec if current else {})


async def stake_of(uow: UnitOfWork, rollout: uuid.UUID) -> StakeView:
    """What a rollout has in flight now: its reservations, as they were taken."""
    held, currency = await uow.budgets.in_flight(rollout), (await fleet_limits(uow)).currency
    return StakeView(
        in_flight=int(held.in_flight),
        unverified=int(held.unverified),
        orders_per_hour=held.orders_per_hour,
        money_at_risk=Money(amount=held.money_at_risk, currency=currency),
    )


async def apply_limits(uow: UnitOfWork, name: str, spec: FleetLimits | None) -> None:
    """Put caps in force in this transaction: grants that commit after it obey them; what is out already stays out.

    None takes every cap away; rollback budgets go back to their third. A percent is of the fleet as it is now; see `follow_fleet`.
    Raises InvalidError `invalid-limits`.
    """
    check_name(name)
    caps = (spec or FleetLimits()).caps(await uow.budgets.fleet_size())
    tenants = await uow.budgets.rollback_scopes()
    rollback = {scope: default_rollback_cap(number) for scope, number in tenants.items()}
    await uow.budgets.set_caps(caps, rollback)


async def follow_fleet(uow: UnitOfWork) -> bool:
    """Work percents out anew, for the fleet as it is now; returns whether a cap changed. Nothing is locked where none does."""
    limits = await fleet_limits(uow)
    if not limits.follows_the_fleet():
        return False
    wanted = limits.caps(await uow.budgets.fleet_size())
    if wanted.items() <= (await uow.budgets.caps()).items():
        return False
    await apply_limits(uow, FLEET, limits)
    return True
