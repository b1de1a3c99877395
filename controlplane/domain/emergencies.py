"""The emergency lane: named criteria say who may go faster, and what each may leave out. Pure.

What can be left out is named one by one: kinds of gate, closed windows, single freezes. Never left out: walls, the fence, budgets and
breakers, pins, holds, and the way back.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.identity import Role
from controlplane.domain.names import Name
from controlplane.domain.people import OneName
from controlplane.domain.quantities import Duration
from controlplane.domain.strategies import GateSpec, Strategy
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire

WINDOW: Final = "window"
"""Among kinds to leave out: closed windows of calendars. Freezes are named one by one."""

Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][-a-z]{0,40}$")]


def _sentence(text: str) -> str:
    if len(text.split()) < 3:
        raise ValueError("say what is wrong and why it can't wait, in a sentence")
    return text


class Criterion(Wire):
    """The body of `PUT /v1/criteria/NAME`: when a change may take the emergency lane, by whom, and what it may leave out there."""

    description: Annotated[PlainText, Field(min_length=1)] = Field(description="When it applies, in a sentence.")
    roles: tuple[Role, ...] = Field(
        default=("platform-admin", "release-manager", "operator"),
        min_length=1,
        max_length=20,
        description="Who may use it; the permission `emergencies.start` is needed besides.",
    )
    people: tuple[OneName, ...] = Field(
        default=(), max_length=200, description="Only these, by any of their names; empty: everybody with the role."
    )
    apps: tuple[Name, ...] = Field(default=(), max_length=200, description="Only changes of these; empty: of all.")
    skip: tuple[Kind, ...] = Field(
        default=(), max_length=20, description="Kinds of gate that may be left out; `window` for closed windows."
    )
    freezes: bool = Field(default=False, description="Whether freezes may be passed, each named in the request.")
    max_targets: int | None = Field(default=None, ge=1, description="At most so many tenants.")
    needs_change_ref: bool = Field(default=False, description="Refuse a request without `changeRef`.")
    review_within: Duration = Field(
        default=timedelta(days=3), gt=timedelta(0), description="Until then somebody else must have looked at it."
    )


class EmergencyRequest(Wire):
    """What a request says to take the emergency lane. Everything it leaves out is named."""

    criterion: Name
    reason: Annotated[str, Field(min_length=10, max_length=1000), AfterValidator(_sentence)]
    skip: tuple[Kind, ...] = Field(default=(), max_length=20, description="Kinds of gate to leave out.")
    freezes: tuple[uuid.UUID, ...] = Field(default=(), max_length=50, description="Ids of freezes to pass.")


class LeftOut(Wire):
    """A gate that the plan would have without the emergency. `wave` empty: of every wave."""

    wave: str
    place: str
    kind: str


class PlannedEmergency(Wire):
    """What a plan says of its emergency: part of its hash, shown in the preview, kept with the rollout.

    `preempts`: it goes before unfinished rollouts of its tenants where that interrupts nothing.
    """

    criterion: str
    reason: str
    skip: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    freezes: tuple[str, ...] = ()
    preempts: bool = True

    @property
    def skips_windows(self) -> bool:
        """Whether closed windows don't hold it up."""
        return WINDOW in self.skip


def check_emergency(name: str, criterion: Criterion, wish: EmergencyRequest, app: str, change_ref: str) -> None:
    """Raise InvalidError `emergency-refused` with a pointer for each thing that the criterion does not allow."""
    found = [
        FieldError(f"/emergency/skip/{i}", f"criterion {name} does not let {kind!r} be left out")
        for i, kind in enumerate(wish.skip)
        if kind not in criterion.skip
    ]
    if wish.freezes and not criterion.freezes:
        found.append(FieldError("/emergency/freezes", f"criterion {name} passes no freeze"))
    if criterion.apps and app not in criterion.apps:
        found.append(FieldError("/emergency/criterion", f"criterion {name} is not for changes of {app}"))
    if criterion.needs_change_ref and not change_ref:
        found.append(FieldError("/changeRef", f"criterion {name} needs the number of a change"))
    _refuse(found)


def check_size(name: str, criterion: Criterion, targets: int) -> None:
    """Raise InvalidError `emergency-refused` for a plan with more tenants than the criterion allows."""
    if criterion.max_targets is not None and targets > criterion.max_targets:
        detail = f"criterion {name} allows {criterion.max_targets} tenants, and this selects {targets}"
        _refuse([FieldError("/selector", detail)])


def _refuse(found: Sequence[FieldError]) -> None:
    if found:
        detail = f"This can't take the emergency lane: {found[0].detail}."
        raise InvalidError(detail, code="emergency-refused", errors=list(found))


def relieved(strategy: Strategy, skip: Collection[str]) -> tuple[Strategy, tuple[LeftOut, ...]]:
    """The strategy without its gates of these kinds, and each of them. Limits, soak, success and the way back stay."""
    left: list[LeftOut] = []

    def kept(gates: Sequence[GateSpec], wave: str, place: str) -> tuple[GateSpec, ...]:
        left.extend(LeftOut(wave=wave, place=place, kind=kind) for gate in gates if (kind := next(iter(gate))) in skip)
        return tuple(gate for gate in gates if next(iter(gate)) not in skip)

    waves = tuple(
        wave.model_copy(
            update={
                "before": kept(wave.before, wave.name, "before"),
                "before_each": kept(wave.before_each, wave.name, "beforeEach"),
                "after": kept(wave.after, wave.name, "after"),
            }
        )
        for wave in strategy.waves
    )
    during = kept(strategy.during, "", "during")
    return strategy.model_copy(update={"waves": waves, "during": during}), tuple(left)
