"""Whose doing ill health is, when several changes reached the same tenants."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID


class Blames(Protocol):
    """Takes the vote on a rollout's ill tenants, and lets follow from it what must."""

    async def weigh(self, rollout: UUID, ill: Mapping[str, datetime]) -> Mapping[str, str]:
        """Weigh tenants of a rollout that are ill, with since when they are. Id 0: no rollout looks at them now.

        Gives those that another change is blamed for and that will recover when it has gone back or is over: tenant to the reason.
        Raises SeawallError if it can't be asked.
        """
        ...
