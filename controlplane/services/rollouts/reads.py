"""Reads of rollouts that need more than one row."""

from __future__ import annotations

import uuid

from controlplane.domain.errors import CallerError, NotFoundError
from controlplane.domain.plans import Plan
from controlplane.domain.rollout_views import RolloutEvent, RolloutTarget, WayBackView
from controlplane.ports.stores.rollout_rows import EventRow, TargetView
from controlplane.ports.uow import UnitOfWork


class EventsExpiredError(CallerError):
    """Events after the id the caller names are not kept any more."""

    status = 410
    code = "events-expired"
    title = "Too far back"


async def app_of(uow: UnitOfWork, rollout_id: uuid.UUID) -> str:
    """The app of a rollout. Raises NotFoundError."""
    app = await uow.rollouts.app(rollout_id)
    if app is None:
        raise NotFoundError(f"There is no rollout {rollout_id}.")
    return app


async def plan_of(uow: UnitOfWork, rollout_id: uuid.UUID) -> Plan:
    """The frozen plan of a rollout. Raises NotFoundError."""
    plan = await uow.rollouts.plan(rollout_id)
    if plan is None:
        raise NotFoundError(f"There is no rollout {rollout_id}.")
    return Plan.model_validate(plan)


async def check_kept(uow: UnitOfWork, rollout_id: uuid.UUID, after: int) -> None:
    """Refuse to go on after an event that is followed by a hole: EventsExpiredError (410)."""
    first, last, _ = await uow.rollouts.event_range(rollout_id)
    if last and after < first - 1:
        raise EventsExpiredError(
            f"Events after {after} are no longer kept; the oldest is {first}. Read the rollout, then follow from {last}."
        )


def target_of(row: TargetView) -> RolloutTarget:
    """A target as users see it."""
    return RolloutTarget(
        tenant=row.tenant,
        environment=row.environment,
        wave=row.wave_name,
        position=row.position,
        state=row.state,
        code=row.code,
        reason=row.reason,
        release=row.release,
        content=row.content,
        way_back=WayBackView(kind=row.way_back, revision=row.back_to),
        base_revision=row.base_revision,
        revision=row.revision,
        attempt=row.attempt,
        since=row.since,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def event_of(row: EventRow) -> RolloutEvent:
    """A line of history as users see it."""
    return RolloutEvent(id=row.seq, type=row.type, time=row.at, tenant=row.tenant, data=row.data)
