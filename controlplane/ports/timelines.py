"""What the comparison after a failover reads and writes. Each call is its own transaction as the engine's role."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controlplane.domain.timelines import Difference, KnownEnvironment, Rebuilt, RunningApp, Seal

type Place = tuple[str, str]
"""(tenant, environment)."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A namespace that ran what the registry had lost: work on an older revision than `revision` must not go on there."""

    revision: int
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a cluster stands on PostgreSQL's present timeline. `pending`: it has yet to be compared."""

    timeline: int
    pending: bool
    overtaken: Mapping[str, Overtaken] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing a cluster found: how many environments were looked at, the differences, what was rebuilt where."""

    timeline: int
    cluster: str
    environments: int
    differences: Sequence[Difference]
    rebuilt: Mapping[Place, Sequence[Rebuilt]]


class TimelineStore(Protocol):
    """The registry's side of the comparison."""

    async def standing(self, cluster: str) -> Standing:
        """Where a cluster stands; notes a timeline that was never seen before, with every cluster still to be compared."""
        ...

    async def known(self, cluster: str, seals: Mapping[str, Seal]) -> tuple[uuid.UUID, list[KnownEnvironment]]:
        """The installation's id, and the environments on a cluster; steps are read only of those whose seal is ahead."""
        ...

    async def running(self, places: Sequence[Place]) -> Mapping[Place, Sequence[RunningApp]]:
        """The apps of environments with what they run, as it is applied."""
        ...

    async def settle(self, comparison: Comparison) -> bool:
        """Write what was rebuilt and found, with its history. False: somebody else had done it first; nothing is written then."""
        ...
