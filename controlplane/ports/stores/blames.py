"""Votes on blame: what they are taken from, and what they said."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.blame import Signal, Touch
from controlplane.domain.blame_acts import Accused, Pair


@dataclass(frozen=True, slots=True)
class BlameRecord:
    """One verdict. `blamed`: the changes it names; `rollouts`: all that reached the ill tenants, the guilty one too; `rests_on`: see `Pair`.

    `act`: `stopped`, `held`, `told`. `digest` is of the verdict and what it rests on: the same vote is kept, and acted on, once.
    """

    id: uuid.UUID
    at: datetime
    asker: uuid.UUID
    verdict: str
    blamed: tuple[str, ...]
    rollouts: tuple[str, ...]
    reason: str
    act: str
    why: str
    rests_on: tuple[Pair, ...]
    votes: Sequence[dict[str, Any]]
    digest: str


@dataclass(frozen=True, slots=True)
class SettledRow:
    """A tenant that an unfinished rollout has changed and nobody changes now, and its environment's health as last seen."""

    tenant: str
    health: str


class BlameStore(Protocol):
    """Reads are indexed by tenant and subject: they cost what happened to the tenants in question, not what the fleet did."""

    async def touches(self, tenants: Collection[str], since: datetime, until: datetime, most: int) -> Sequence[Touch]:
        """All tenants that those changes reached which reached one of these tenants, newest first."""
        ...

    async def signals(self, tenants: Collection[str], since: datetime, until: datetime, most: int) -> Sequence[Signal]:
        """When these tenants fell ill, newest first."""
        ...

    async def settled(self) -> Sequence[SettledRow]:
        """Tenants that rollouts which still run have changed, and that nobody is changing."""
        ...

    async def turn_to_note(self) -> bool:
        """Whether nobody else notes upgrades of clusters this moment; holds the turn until the transaction ends."""
        ...

    async def upgrading(self, clusters: Collection[str]) -> frozenset[str]:
        """Which of these clusters are noted as being under upgrade."""
        ...

    async def accused(self, rollout: uuid.UUID) -> Accused | None:
        """What must be known of a rollout to act on a vote."""
        ...

    async def rested_on(self, change: str) -> Sequence[Sequence[Pair]]:
        """What earlier stops of this change rested on."""
        ...

    async def add(self, record: BlameRecord) -> bool:
        """Keep a verdict; False: it is kept already."""
        ...

    async def of_rollout(self, rollout: uuid.UUID, limit: int) -> Sequence[BlameRecord]:
        """Verdicts that name this rollout, or tenants that it reached, newest first."""
        ...
