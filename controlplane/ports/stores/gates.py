"""Reads of gates for people: what each said, and what is outstanding."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class GateRecord:
    """A gate with what it last said, on which evidence, and the rollout it stands in."""

    rollout_id: uuid.UUID
    app: str
    version: str
    environment: str
    change_ref: str
    plan_hash: str
    requested_by: str
    wave: int
    wave_name: str
    place: str
    index: int
    kind: str
    verdict: str
    reason: str
    who: str
    since: datetime | None
    until: datetime | None
    evidence: dict[str, Any]


class GateReads(Protocol):
    """Gates in this transaction."""

    async def of_rollout(self, rollout_id: uuid.UUID) -> Sequence[GateRecord]:
        """Every gate of a rollout that was looked at, in the order of its plan."""
        ...

    async def outstanding(
        self, apps: Collection[str] | None, after: tuple[uuid.UUID, int, str, int] | None, limit: int
    ) -> Sequence[GateRecord]:
        """Gates of unfinished rollouts that somebody must answer, oldest rollout first."""
        ...
