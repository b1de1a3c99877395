"""Reads for figures over many rollouts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.blame import Signal, Touch
from controlplane.domain.outcomes import GateOutcome, Restorable, TargetEvent


@dataclass(frozen=True, slots=True)
class UntouchedRow:
    """A target that a failed rollout never reached, with its tenant's exposure as registered."""

    rollout: str
    tenant: str
    app: str
    tier: str
    brand: str
    exposure: dict[str, Any]
    modules: tuple[str, ...]


class OutcomeStore(Protocol):
    """What history holds since a time; ways back that a person started count as none of it."""

    async def target_events(self, since: datetime) -> Sequence[TargetEvent]:
        """Changes of targets, each rollout's in their order."""
        ...

    async def untouched(self, since: datetime) -> Sequence[UntouchedRow]:
        """Targets that failed rollouts never started."""
        ...

    async def gates(self, since: datetime) -> Sequence[GateOutcome]:
        """What each kind of gate answered in each rollout that began since then."""
        ...

    async def acts(self, since: datetime) -> Mapping[str, int]:
        """Every rollout that began since then, and how often somebody acted on it."""
        ...

    async def restorable(self, since: datetime) -> Sequence[Restorable]:
        """Active and suspended tenants, and whether a restore drill of their production succeeded since a time."""
        ...

    async def touches(self, since: datetime, until: datetime, most: int) -> Sequence[Touch]:
        """Which changes reached which tenants, newest first: rollouts, changes of tenants, and those of their cluster and tier."""
        ...

    async def signals(self, since: datetime, until: datetime, most: int) -> Sequence[Signal]:
        """Which tenants fell ill, newest first."""
        ...

    async def reached(self, rollout: uuid.UUID) -> Sequence[str]:
        """The tenants that a rollout started on."""
        ...
