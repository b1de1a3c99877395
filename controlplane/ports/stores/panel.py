"""What the web console shows and no other read gives: ways back in numbers, the fleet in numbers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WayBackCount:
    """So many targets in a state go back in this way."""

    way_back: str
    state: str
    number: int


@dataclass(frozen=True, slots=True)
class IllTenant:
    """A tenant's environment that is not healthy."""

    tenant: str
    environment: str
    health: str
    reason: str


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """Tenants by phase, environments by health, and some of those that are not healthy."""

    phases: Mapping[str, int]
    health: Mapping[str, int]
    ill: tuple[IllTenant, ...]


class PanelStore(Protocol):
    """Reads of the console; one statement for each thing shown."""

    async def ways_back(self, rollout_id: uuid.UUID) -> list[WayBackCount]:
        """How the targets of a rollout go back."""
        ...

    async def fleet(self, ill: int) -> FleetCounts:
        """The fleet in numbers, with at most so many ill environments by name."""
        ...
