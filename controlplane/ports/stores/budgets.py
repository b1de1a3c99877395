"""Budgets across rollouts, and their breakers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from controlplane.domain.breaker import Signs, Windows
from controlplane.domain.exposure import Amount, BreakerState
from controlplane.domain.fleet_limits import FleetSize


@dataclass(frozen=True)
class BudgetRecord:
    """One budget row. `cap` None: counted, not limited."""

    scope: str
    cap: Decimal | None
    reserved: Decimal
    closed: bool
    breaker: BreakerState


@dataclass(frozen=True)
class BreakerRecord:
    """A breaker as its budget row has it. `since`: when it came to this state; `probe_*`: who was let through.

    `closed_at`: when it last closed; older failures don't count.
    """

    scope: str
    state: BreakerState = ""
    code: str = ""
    reason: str = ""
    since: datetime | None = None
    by: str = ""
    probe_rollout: str = ""
    probe_tenant: str = ""
    closed_at: datetime | None = None

    def detail(self) -> dict[str, Any]:
        """What the row keeps beside the state."""
        return {name: value for name, value in vars(self).items() if value and name not in ("scope", "state")}


@dataclass(frozen=True)
class InFlight:
    """What one rollout has in flight now."""

    in_flight: Decimal = field(default=Decimal(0))
    unverified: Decimal = field(default=Decimal(0))
    orders_per_hour: Decimal = field(default=Decimal(0))
    money_at_risk: Decimal = field(default=Decimal(0))


class BudgetStore(Protocol):
    """Reads of budgets for people, caps, and breakers. Grants are the engine's own."""

    async def page(self, rollout: uuid.UUID | None, after: str, limit: int) -> list[BudgetRecord]:
        """Budgets by scope: one rollout's own, or (None) all that are not a rollout's."""
        ...

    async def in_flight(self, rollout: uuid.UUID) -> InFlight:
        """What a rollout holds of the fleet's budgets, as it was taken."""
        ...

    async def caps(self) -> dict[str, Decimal]:
        """The caps in force of budgets that are not a rollout's, by scope."""
        ...

    async def set_caps(self, caps: Mapping[str, Amount], rollback: Mapping[str, Amount]) -> None:
        """Put these caps in force, take away those of other shared budgets, and log each change.

        `rollback`: caps of rollback budgets that `caps` does not name. Rows that are missing are made.
        """
        ...

    async def fleet_size(self) -> FleetSize:
        """How many environments there are, in all, by cluster, region and brand."""
        ...

    async def rollback_scopes(self) -> dict[str, int]:
        """Every cluster's rollback budget that has a row, with the number of environments on that cluster."""
        ...

    async def breakers(self) -> list[BreakerRecord]:
        """The fleet's breaker, and every other one that is not closed."""
        ...

    async def lock_breaker(self, scope: str) -> BreakerRecord | None:
        """Lock a breaker's row (the fleet's is made if missing); None if there is none."""
        ...

    async def set_breaker(self, record: BreakerRecord) -> None:
        """Change a locked breaker, and tell the drivers."""
        ...

    async def signs(self, windows: Windows, since: datetime | None) -> Signs:
        """Count what breakers are judged by, no failure older than `since`."""
        ...

    async def target_state(self, rollout: str, tenant: str) -> str | None:
        """Where a probe stands; None if there is no such target."""
        ...
