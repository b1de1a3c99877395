"""The rows that rollouts are planned from, written as, and read back as."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A registered release and its open hold. `spec` is a `ReleaseSpec` as JSON; `on_behalf_of` counts as an author."""

    app: str
    version: str
    digest: str
    spec: dict[str, Any]
    proven_at: datetime | None = None
    hold_reason: str | None = None
    hold_since: datetime | None = None
    on_behalf_of: str = ""


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One tenant's app in one environment as the registry knows it, for the planner.

    `installed` is False where the environment has no row for the app yet. `layers` are the tenant's and the
    environment's values. `priority`: the PriorityClass of its walls, or
    empty. `others` names what other apps of the environment run, so that equal surroundings are equal text.
    """

    tenant: str
    environment: str
    phase: str
    tier: str
    region: str
    cluster: str
    namespace: str
    hosts: list[str]
    labels: dict[str, str]
    exposure: dict[str, Any]
    app: dict[str, Any] | None
    slot_id: uuid.UUID | None
    dirty: bool
    installed: bool
    values: dict[str, Any]
    revision: int
    verified_revision: int
    deferred_until: datetime | None
    version: str | None
    content: str | None
    values_hash: str | None
    others: str
    priority: str


@dataclass(frozen=True, slots=True)
class BusyRow:
    """An unfinished rollout that still has targets among those asked about. `yields`: an emergency may go before it."""

    id: uuid.UUID
    state: str
    targets: int
    yields: bool = True


@dataclass(frozen=True, slots=True)
class NewTarget:
    """One target row to insert."""

    tenant: str
    environment: str
    wave: int
    position: int
    release: str
    values_hash: str
    base_revision: int
    attempt: int
    memory: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewContent:
    """One body under its hash: zlib-compressed canonical JSON of a `Rendered`, or of the values it was rendered with."""

    tenant: str
    hash: str
    body: bytes


@dataclass(frozen=True)
class NewRollout:
    """Everything a new rollout writes, in one transaction.

    `caps`: budget rows it brings, scope to cap; `scopes`: rows that must exist (without a cap unless there is one).
    """

    id: uuid.UUID
    kind: str
    app: str
    version: str
    environment: str
    selector: str
    strategy: str
    strategy_version: int
    state: str
    plan: Mapping[str, Any]
    plan_hash: str
    schema_version: int
    reason: str
    change_ref: str
    not_before: datetime | None
    requested_by: str
    origin: Mapping[str, Any]
    due_at: datetime
    waves: tuple[str, ...]
    targets: Sequence[NewTarget]
    contents: Sequence[NewContent]
    caps: Mapping[str, int | Decimal]
    scopes: Mapping[str, int | Decimal | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetCount:
    """So many targets of a wave are in a state for the same reason (`code`, empty if there is none).

    `reason`, `tenant`: of one of them; `until`: when the first of them goes on by itself, if that is known.
    """

    wave: int
    state: str
    code: str
    number: int
    reason: str
    tenant: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RolloutHead:
    """A rollout without its plan. `counts` are its targets by wave, state and reason; `gates` those that hold it up now."""

    id: uuid.UUID
    kind: str
    app: str
    version: str
    environment: str
    selector: str
    strategy: str
    strategy_version: int
    state: str
    outcome: str
    plan_hash: str
    reason: str
    change_ref: str
    not_before: datetime | None
    requested_by: str
    origin: dict[str, Any]
    waiting_for: list[dict[str, Any]]
    memory: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    command_seq: int
    pending_commands: list[dict[str, Any]]
    waves: list[dict[str, Any]]
    counts: list[TargetCount]
    event_seq: int = 0
    gates: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LockedRollout:
    """What a command needs to know of the rollout it is for; its rows are locked.

    `pending`: the driver has not taken up every command yet; `ending`: it was told to end (aborted, superseded).
    """

    id: uuid.UUID
    state: str
    kind: str
    app: str
    version: str
    environment: str
    plan_hash: str
    not_before: datetime | None
    origin: dict[str, Any]
    command_seq: int
    pending: bool
    ending: bool


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A target of a finished rollout that was not verified, and what it had been given."""

    tenant: str
    content: str
    release: str
    values_hash: str
    attempt: int


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target of a rollout as users see it."""

    tenant: str
    environment: str
    wave: int
    wave_name: str
    position: int
    state: str
    code: str
    reason: str
    release: str
    content: str
    way_back: str
    back_to: int
    base_revision: int
    revision: int | None
    attempt: int
    since: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One history entry of a rollout."""

    seq: int
    type: str
    tenant: str | None
    at: datetime
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """Median and 90th percentile of a phase in seconds, over `samples` past targets."""

    phase: str
    p50: float
    p90: float
    samples: int


@dataclass(frozen=True, slots=True)
class PastFailures:
    """Of an app's newest rollouts, as (targets, failed): how many got somewhere, and how many failed by themselves (not by policy or a
    person).
    """

    rollouts: Sequence[tuple[int, int]] = ()

    @property
    def targets(self) -> int:
        """All that got somewhere."""
        return sum(targets for targets, _ in self.rollouts)


@dataclass(frozen=True, slots=True)
class GateTimes:
    """Of the newest gates of one kind that stood before or after a wave, or during it: how many there were, how many failed, and how long
    the others took to open (median and 90th percentile, seconds after the wave or the gate began to ask).
    """

    kind: str
    stood: int
    failed: int
    p50: float
    p90: float


class RowCountError(RuntimeError):
    """A multi-row write wrote another number of rows than it was given: the transaction must not commit."""
