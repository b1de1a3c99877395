"""What users see of a rollout: its state, who or what it waits for, and what happens next. Pure."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import Field

from controlplane.domain.blame_views import VerdictView
from controlplane.domain.quantities import Amount, Money
from controlplane.domain.wire import Wire


class WaitingOn(Wire):
    """Why something does not move, that is neither paused nor deferred. `targets`: how many it holds up."""

    gate: str
    reason: str
    until: datetime | None = None
    who: str | None = None
    targets: int = 0


class WaveView(Wire):
    """A wave with its targets counted by state."""

    name: str
    state: str
    targets: int
    counts: dict[str, int]
    started_at: datetime | None = None
    ended_at: datetime | None = None
    code: str = ""
    reason: str = ""


class Trouble(Wire):
    """Targets that did not get through, by reason."""

    state: str
    code: str
    targets: int
    example: str
    reason: str


class Explanation(Wire):
    """What is going on in sentences: what it does now, why it does not go on, what comes next and who can act."""

    now: str
    why: str = ""
    next: str = ""
    who: str = ""
    troubles: list[Trouble] = Field(default_factory=list)


class RolloutItem(Wire):
    """A rollout in a list."""

    id: uuid.UUID
    kind: str
    app: str
    release: str | None
    environment: str
    selector: str
    strategy: str
    state: str
    outcome: str
    paused: bool
    reason: str
    change_ref: str
    requested_by: str
    emergency: str = Field(default="", description="The criterion, if it took the emergency lane.")
    origin: dict[str, Any]
    plan_hash: str
    not_before: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class StakeView(Wire):
    """What a rollout has in flight now, as it was taken from the budgets when each target started."""

    in_flight: int
    unverified: int
    orders_per_hour: Amount
    money_at_risk: Money = Field(description="In the reporting currency of the fleet limits.")


class RolloutView(RolloutItem):
    """A rollout with its waves. `deferred`: targets put off; `waitingFor`: all else that keeps it from moving.

    `catchUp`: targets that were left because their window stayed closed (`.../targets?code=window` lists them).
    """

    targets: int
    counts: dict[str, int]
    deferred: int
    catch_up: int = 0
    waiting_for: list[WaitingOn]
    in_flight: StakeView | None = None
    waves: list[WaveView]
    explanation: Explanation
    blame: VerdictView | None = Field(
        default=None,
        description="The newest verdict of blame that concerns it: as the guilty one, or as one of the others.",
    )
    targets_url: str
    events_url: str


class WayBackView(Wire):
    """How a target goes back."""

    kind: str
    revision: int


class RolloutTarget(Wire):
    """One target of a rollout."""

    tenant: str
    environment: str
    wave: str
    position: int
    state: str
    code: str
    reason: str
    release: str
    content: str
    way_back: WayBackView
    base_revision: int
    revision: int | None
    attempt: int
    since: datetime
    started_at: datetime | None
    ended_at: datetime | None


class RolloutEvent(Wire):
    """One line of a rollout's history. `id` counts from 1 without gaps."""

    id: int
    type: str
    time: datetime
    tenant: str | None
    data: dict[str, Any]


class Commanded(Wire):
    """A command that is in force. `commandSeq` is its number; `state` is the rollout's when it was given."""

    id: uuid.UUID
    command: str
    command_seq: int
    state: str


class StartedView(Wire):
    """An accepted rollout; `rollout` says how it goes."""

    id: uuid.UUID
    state: str
    plan_hash: str
    targets: int
    rollout: str
