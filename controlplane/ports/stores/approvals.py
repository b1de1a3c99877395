"""Votes of people on gates: an append-only record."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

type Word = Literal["approve", "reject", "withdraw"]


@dataclass(frozen=True, slots=True)
class GateHead:
    """A rollout as far as a vote needs it. `authors` of its release; `requester` is the person behind the request."""

    state: str
    plan: dict[str, Any]
    plan_hash: str
    requester: str
    authors: tuple[str, ...]
    app: str
    version: str
    environment: str
    change_ref: str


@dataclass(frozen=True, slots=True)
class GateState:
    """What a gate last said, and whether it asks people now."""

    verdict: str
    reason: str
    asked: bool


@dataclass(frozen=True, slots=True)
class VoteRow:
    """One line of the record. `of`: the vote that a `withdraw` takes back; `withdrawn_at`: when this one was taken back."""

    id: uuid.UUID
    rollout_id: uuid.UUID
    word: Word
    of: uuid.UUID | None
    app: str
    version: str
    environment: str
    change_ref: str
    plan_hash: str
    wave: int
    wave_name: str
    place: str
    index: int
    group: str
    person: str
    names: tuple[str, ...]
    actor: str
    reason: str
    at: datetime | None = None
    withdrawn_at: datetime | None = None

    @property
    def gate(self) -> tuple[int, str, int]:
        """Which gate of its rollout."""
        return self.wave, self.place, self.index


class ApprovalStore(Protocol):
    """Votes in this transaction."""

    async def head(self, rollout_id: uuid.UUID) -> GateHead | None:
        """The rollout; None if there is none. The caller locks it (`rollouts.lock`) before it decides anything."""
        ...

    async def states(self, rollout_id: uuid.UUID) -> dict[tuple[int, str, int], GateState]:
        """What each gate that was asked about last said, by wave, place and number."""
        ...

    async def person_behind(self, actor: str) -> str:
        """The person an actor stands for: a key votes as whoever made it, so that nobody approves his own change with a second key."""
        ...

    async def add(self, vote: VoteRow) -> None:
        """Write a line; its `at` and `withdrawn_at` are the database's to say."""
        ...

    async def all(self, rollout_id: uuid.UUID) -> Sequence[VoteRow]:
        """Every vote, withdrawn ones too, oldest first; also of a rollout that is gone."""
        ...

    async def of_actor(self, actor: str) -> Sequence[VoteRow]:
        """Votes in force that were said with this key, on rollouts that are not over."""
        ...
