"""The emergency lane: who may take it, what is written down, and the look at it afterwards by somebody else."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.domain.emergencies import Criterion, EmergencyRequest, PlannedEmergency
from controlplane.domain.errors import ConflictError, FieldError, ForbiddenError, InvalidError, NotFoundError
from controlplane.domain.identity import Principal
from controlplane.domain.people import one_name
from controlplane.domain.plans import Plan
from controlplane.ports.stores.emergencies import EmergencyRecord, Finding, Review
from controlplane.ports.uow import UnitOfWork
from controlplane.services.configuration.objects import get_object
from controlplane.services.people import all_names

_AT_ONCE = 50


@dataclass(frozen=True)
class Looker:
    """Who looks: the credential's id, and the e-mail address it vouches for."""

    actor: str
    email: str = ""


async def criterion_of(uow: UnitOfWork, wish: EmergencyRequest) -> tuple[str, Criterion]:
    """The criterion in force as `name@version`. Raises InvalidError `unknown-criterion`."""
    record = await uow.configuration.current("criteria", wish.criterion)
    if record is None:
        raise InvalidError(
            f"There is no criterion {wish.criterion}. `GET /v1/criteria` lists them; a platform admin makes them.",
            code="unknown-criterion",
            errors=[FieldError("/emergency/criterion", "no such criterion")],
        )
    return f"{record.name}@{record.version}", Criterion.model_validate(record.spec)


async def take_lane(uow: UnitOfWork, wish: EmergencyRequest) -> tuple[str, Criterion]:
    """The criterion, once every freeze that the request names is one in force. Raises InvalidError `unknown-freeze` and as above."""
    for index, freeze_id in enumerate(wish.freezes):
        freeze = await uow.freezes.get(freeze_id)
        if freeze is None or not freeze.in_force(uow.now):
            raise InvalidError(
                f"There is no freeze {freeze_id} in force, so there is none to pass. `GET /v1/freezes` lists them.",
                code="unknown-freeze",
                errors=[FieldError(f"/emergency/freezes/{index}", "not in force")],
            )
    return await criterion_of(uow, wish)


async def check_may_take_lane(uow: UnitOfWork, wish: EmergencyRequest, principal: Principal) -> None:
    """Raise ForbiddenError `not-for-you` unless the criterion names one of the caller's roles, and the caller if it names people."""
    name, criterion = await criterion_of(uow, wish)
    if not principal.roles & set(criterion.roles):
        needed = ", ".join(criterion.roles)
        raise ForbiddenError(f"Criterion {name} is for {needed}; ask one of them to start it.", code="not-for-you")
    if not criterion.people:
        return
    person = await uow.approvals.person_behind(principal.id)
    mine, named = await all_names(uow, [person, principal.id, principal.email], criterion.people)
    if not mine & named:
        raise ForbiddenError(
            f"Criterion {name} names the people who may use it; you are none of them.", code="not-for-you"
        )


async def write_down(uow: UnitOfWork, rollout_id: uuid.UUID, plan: Plan, change_ref: str, actor: str) -> None:
    """Write the emergency of a rollout that starts, in its transaction: open until somebody else looked at it."""
    emergency = plan.emergency
    if emergency is None:
        return
    record_of, _, version = emergency.criterion.partition("@")
    stored = await get_object(uow, "criteria", f"{record_of}@{version}")
    criterion = Criterion.model_validate(stored.spec)
    behind = await uow.approvals.person_behind(actor)
    (names,) = await all_names(uow, [behind, actor])
    record = EmergencyRecord(
        rollout_id=rollout_id,
        criterion=emergency.criterion,
        reason=emergency.reason,
        app=plan.app,
        version=plan.release or "",
        environment=plan.environment,
        selector=plan.selector,
        targets=plan.size,
        change_ref=change_ref,
        plan_hash=plan.plan_hash,
        left_out=_left_out(emergency),
        actor=actor,
        person=one_name(behind, names),
    )
    await uow.emergencies.add(record, criterion.review_within)
    data = {"criterion": record.criterion, "reason": record.reason, "app": record.app, "targets": record.targets}
    data |= {"leftOut": record.left_out, "person": record.person, "changeRef": change_ref, "planHash": plan.plan_hash}
    await uow.audit(actor, "emergency.start", f"rollouts/{rollout_id}", detail=data)
    await uow.record("emergency", str(rollout_id), "started", data=data)


async def review(
    uow: UnitOfWork, rollout_id: uuid.UUID, finding: Finding, note: str, looker: Looker
) -> EmergencyRecord:
    """Close an emergency with what a look at it found. Never by whoever started it.

    Raises NotFoundError, InvalidError `reason-needed`, ForbiddenError `own-change`, ConflictError `reviewed-already`.
    """
    found = await get(uow, rollout_id)
    if not note.strip():
        raise InvalidError(
            "A review says in a note what was found.", code="reason-needed", errors=[FieldError("/note", "is empty")]
        )
    behind = await uow.approvals.person_behind(looker.actor)
    mine, theirs = await all_names(uow, [behind, looker.actor, looker.email], [found.person, found.actor])
    if mine & theirs:
        raise ForbiddenError("You started this emergency; somebody else must look at it.", code="own-change")
    look = Review(rollout_id, finding, note, looker.actor, one_name(behind, mine))
    if not await uow.emergencies.review(look):
        raise ConflictError(
            f"It was looked at already by {found.reviewed_by or 'somebody else'}.", code="reviewed-already"
        )
    data = {"finding": finding, "note": note, "person": look.person, "criterion": found.criterion, "app": found.app}
    await uow.audit(looker.actor, "emergency.review", f"rollouts/{rollout_id}", detail=data)
    await uow.record("emergency", str(rollout_id), "reviewed", data=data)
    return await get(uow, rollout_id)


async def tell_overdue(uow: UnitOfWork) -> Sequence[EmergencyRecord]:
    """Tell, once for each, of emergencies that nobody looked at in time; gives those. Workers call it again and again."""
    late = await uow.emergencies.newly_overdue(_AT_ONCE)
    for one in late:
        data = {"criterion": one.criterion, "app": one.app, "person": one.person, "reviewBy": one.review_by}
        await uow.record("emergency", str(one.rollout_id), "overdue", data=data)
    return late


async def get(uow: UnitOfWork, rollout_id: uuid.UUID) -> EmergencyRecord:
    """One. Raises NotFoundError."""
    found = await uow.emergencies.get(rollout_id)
    if found is None:
        raise NotFoundError(f"No rollout {rollout_id} took the emergency lane.")
    return found


def _left_out(emergency: PlannedEmergency) -> dict[str, object]:
    return {
        "kinds": list(emergency.skip),
        "gates": [one.model_dump(mode="json", by_alias=True) for one in emergency.left_out],
        "freezes": list(emergency.freezes),
    }
