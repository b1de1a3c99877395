"""What stands on a timeline: history, the last words of gates, ill health."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.changes import RolloutFacts
from controlplane.domain.correlation import Position, Span
from controlplane.ports.stores.looks import ChangeRecord


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """What a gate last said, since when. `tenant` is set for a gate before a single target; `index` counts gates of a place."""

    at: datetime
    rollout: str
    app: str
    version: str
    wave: str
    place: str
    index: int
    kind: str
    verdict: str
    reason: str
    evidence: dict[str, Any]
    tenant: str | None
    number: int


@dataclass(frozen=True, slots=True)
class IllnessRecord:
    """An environment that is ill now, and when that was last seen."""

    at: datetime
    tenant: str
    environment: str
    health: str
    reason: str


class CorrelationStore(Protocol):
    """Reads of one tenant (with what concerns it of the fleet, as far as the role may see that) or, without one, of all.

    Each gives at most `limit` rows of the span older than a position, newest first.
    """

    async def history(
        self, tenant: str | None, span: Span, after: Position | None, limit: int
    ) -> Sequence[ChangeRecord]:
        """What history holds."""
        ...

    async def verdicts(
        self, tenant: str | None, span: Span, after: Position | None, limit: int
    ) -> Sequence[VerdictRecord]:
        """What gates last said; an earlier word of the same gate is not kept."""
        ...

    async def ill(self, tenant: str | None, span: Span, after: Position | None, limit: int) -> Sequence[IllnessRecord]:
        """Environments that are ill, at the time they were last looked at."""
        ...

    async def rollouts(self, ids: Collection[str]) -> Mapping[str, RolloutFacts]:
        """What these rollouts are, by id; neither where they are nor how they stand, which would cost a look at all their targets."""
        ...

    async def tenants(self, environment: str) -> Sequence[str]:
        """The names of all tenants that have this environment."""
        ...
