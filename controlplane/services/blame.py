"""Blame as people read it: the vote of now on which change made a rollout's tenants ill, and the verdicts that were acted on. It acts on nothing."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import Field

from controlplane.domain.blame import WINDOWS, Signal, Touch, Verdict, Vote, judge
from controlplane.domain.blame_views import VerdictView
from controlplane.domain.wire import Wire
from controlplane.ports.calendars import Calendars
from controlplane.ports.stores.blames import BlameRecord
from controlplane.ports.stores.windows import Attachments
from controlplane.ports.uow import UnitOfWork
from controlplane.services.campaigns import campaigns_of
from controlplane.services.rollouts.retry import head_of

MOST_ROWS: Final = 50_000
"""So many touches, and signals, are read; the answer says if there were more."""
MOST_VERDICTS: Final = 20


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
    verdicts: tuple[VerdictView, ...] = Field(
        description="Verdicts on this rollout's tenants that were taken while it ran, with what followed; newest first, 20 at most."
    )


@dataclass(frozen=True, slots=True)
class BlameFacts:
    """What was read for one answer, in one transaction."""

    rollout: uuid.UUID
    since: datetime
    until: datetime
    touches: Sequence[Touch]
    signals: Sequence[Signal]
    reached: Sequence[str]
    marked: Attachments
    verdicts: Sequence[BlameRecord]


async def read_blame(uow: UnitOfWork, rollout_id: uuid.UUID) -> BlameFacts:
    """Read everything that reached this rollout's tenants from 72 hours before its start until its end, or now. Raises NotFoundError."""
    head = await head_of(uow, rollout_id)
    since, until = (head.started_at or head.created_at) - WINDOWS[-1], head.ended_at or uow.now
    return BlameFacts(
        rollout_id,
        since,
        until,
        await uow.outcomes.touches(since, until, MOST_ROWS),
        await uow.outcomes.signals(since, until, MOST_ROWS),
        await uow.outcomes.reached(rollout_id),
        await uow.windows.marked("production"),
        await uow.blames.of_rollout(rollout_id, MOST_VERDICTS),
    )


async def blame_of(facts: BlameFacts, calendars: Calendars, now: datetime) -> Blame:
    """Vote. Works calendars out, so it belongs outside of transactions."""
    campaigns = await campaigns_of(facts.marked, calendars, facts.since, min(facts.until, now))
    found = judge([*facts.touches, *campaigns.touches], facts.signals, facts.reached)
    return Blame(
        rollout=facts.rollout,
        verdict=found.verdict,
        reason=found.reason,
        blamed=found.blamed,
        is_this=found.blamed == (f"rollout/{facts.rollout}",),
        ill=found.ill,
        since=facts.since,
        until=facts.until,
        votes=found.votes,
        complete=max(len(facts.touches), len(facts.signals)) < MOST_ROWS,
        verdicts=tuple(verdict_view(record, facts.rollout) for record in facts.verdicts),
    )


def verdict_view(record: BlameRecord, rollout: uuid.UUID) -> VerdictView:
    """A verdict as one of the rollouts that it concerns sees it."""
    guilty = f"rollout/{rollout}" in record.blamed
    return VerdictView(
        id=record.id,
        at=record.at,
        verdict=record.verdict,
        role="suspected" if record.verdict != "blamed" else "blamed" if guilty else "acquitted",
        blamed=record.blamed,
        act=record.act,
        reason=record.reason,
        why=record.why,
        tenants=tuple(tenant for tenant, _ in record.rests_on),
        votes=tuple(Vote.model_validate(vote) for vote in record.votes),
    )


async def newest_verdict(uow: UnitOfWork, rollout: uuid.UUID) -> VerdictView | None:
    """The newest verdict that concerns a rollout."""
    found = await uow.blames.of_rollout(rollout, 1)
    return verdict_view(found[0], rollout) if found else None
