"""Votes of people on gates, and what a gate last said."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class GateHead:
    """The plan of a rollout as far as a vote needs it. `authors` of its release; `requester` is the person behind the request."""

    state: str
    plan: dict[str, Any]
    plan_hash: str
    requester: str
    authors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewVote:
    """A vote to write."""

    id: uuid.UUID
    rollout_id: uuid.UUID
    wave: int
    place: str
    index: int
    group: str
    person: str
    plan_hash: str
    reason: str


@dataclass(frozen=True, slots=True)
class VoteRow:
    """A vote on record."""

    id: uuid.UUID
    wave: int
    place: str
    index: int
    group: str
    person: str
    plan_hash: str
    reason: str
    at: datetime
    withdrawn_at: datetime | None


class ApprovalStore(Protocol):
    """Votes in this transaction."""

    async def head(self, rollout_id: uuid.UUID) -> GateHead | None:
        """The rollout, its row locked against ending meanwhile; None if there is none."""
        ...

    async def person_behind(self, actor: str) -> str:
        """The person an actor stands for: a key votes as whoever made it, so that nobody approves his own change with a second key."""
        ...

    async def add(self, vote: NewVote) -> bool:
        """Write a vote; False if this person's vote for this gate is on record already."""
        ...

    async def withdraw(self, rollout_id: uuid.UUID, vote_id: uuid.UUID, person: str) -> bool:
        """Withdraw one's own vote; False if there is no such vote in force."""
        ...

    async def all(self, rollout_id: uuid.UUID) -> Sequence[VoteRow]:
        """Every vote, withdrawn ones too, oldest first."""
        ...
