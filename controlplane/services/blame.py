"""Blame: read which changes reached which tenants around a rollout, and let them be voted on. It reads; it stops nobody."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

from pydantic import Field

from controlplane.domain.blame import WINDOWS, Verdict, Vote, judge
from controlplane.domain.wire import Wire
from controlplane.ports.uow import UnitOfWork
from controlplane.services.rollouts.retry import head_of

MOST_ROWS: Final = 50_000
"""So many touches, and signals, are read; the answer says if there were more."""


class Blame(Wire):
    """Which change made a rollout's tenants ill, and the votes."""

    rollout: uuid.UUID
    verdict: Verdict
    reason: str
    blamed: tuple[str, ...] = Field(description="The change to blame; several when they are tied; none otherwise.")
    is_this: bool = Field(description="Whether this rollout alone is blamed.")
    ill: int = Field(description="Tenants of this rollout that fell ill in the span.")
    since: datetime
    until: datetime
    votes: tuple[Vote, ...] = Field(description="Highest first, 20 at most.")
    complete: bool = Field(description="False: there was more than is read at once, and the oldest was left out.")


async def blame_of(uow: UnitOfWork, rollout_id: uuid.UUID) -> Blame:
    """Vote on everything that reached this rollout's tenants from 72 hours before its start until its end, or now.

    Raises NotFoundError.
    """
    head = await head_of(uow, rollout_id)
    since, until = (head.started_at or head.created_at) - WINDOWS[-1], head.ended_at or uow.now
    touches = await uow.outcomes.touches(since, until, MOST_ROWS)
    signals = await uow.outcomes.signals(since, until, MOST_ROWS)
    found = judge(touches, signals, await uow.outcomes.reached(rollout_id))
    return Blame(
        rollout=rollout_id,
        verdict=found.verdict,
        reason=found.reason,
        blamed=found.blamed,
        is_this=found.blamed == (f"rollout/{rollout_id}",),
        ill=found.ill,
        since=since,
        until=until,
        votes=found.votes,
        complete=max(len(touches), len(signals)) < MOST_ROWS,
    )
