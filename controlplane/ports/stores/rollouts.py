"""What rollouts need of the registry: facts for a plan, the rows of a new rollout, commands, and reads.

Every call is one statement (or a fixed number of them), whatever the number of targets.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.returns import PastRevision


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A registered release and its open hold. `spec` is a `ReleaseSpec` as JSON."""

    app: str
    version: str
    digest: str
    spec: dict[str, Any]
    proven_at: datetime | None = None
    hold_reason: str | None = None
    hold_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One tenant's app in one environment as the registry knows it, for the planner.

    `installed` is False where the environment has no row for the app yet. `layers` are the tenant's and the
    environment's values.
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


@dataclass(frozen=True, slots=True)
class BusyRow:
    """An unfinished rollout that still has targets among those asked about."""

    id: uuid.UUID
    state: str
    targets: int


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
    caps: Mapping[str, int]
    scopes: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetCount:
    """So many targets of a wave are in a state for the same reason (`code`, empty if there is none).

    `reason`, `tenant`: of one of them.
    """

    wave: int
    state: str
    code: str
    number: int
    reason: str
    tenant: str


@dataclass(frozen=True, slots=True)
class RolloutHead:
    """A rollout without its plan. `counts` are its targets by wave, state and reason."""

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


class RolloutFacts(Protocol):
    """Reads for a plan."""

    async def release(self, app: str, version: str) -> ReleaseRow | None:
        """A release with its open hold."""
        ...

    async def releases(self, app: str, versions: Collection[str]) -> dict[str, ReleaseRow]:
        """Several releases of one app, by version."""
        ...

    async def strategy(self, name: str, version: int | None) -> tuple[int, dict[str, Any]] | None:
        """A strategy's version and spec; None as version asks for the one in force."""
        ...

    async def configs(self, kind: str) -> dict[str, dict[str, Any]]:
        """All specs of a kind that are in force, by name."""
        ...

    async def artifact(self, digest: str) -> bytes | None:
        """The bytes of an artifact."""
        ...

    async def targets(self, app: str, environment: str, tenants: Collection[str] | None) -> list[TargetRow]:
        """Every environment of this name (of these tenants, or of all) that runs the app or is meant to."""
        ...

    async def revisions(self, app: str, environment: str, tenants: Collection[str], newest: int) -> list[PastRevision]:
        """The newest so many revisions of each tenant's app, newest first."""
        ...

    async def contents(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """Content bodies by (tenant, hash); those that don't exist are left out."""
        ...

    async def phase_times(self, app: str) -> list[PhaseTimes]:
        """How long phases took for the newest targets of this app."""
        ...

    async def tenants_on(self, clusters: Collection[str]) -> dict[str, int]:
        """How many environments each cluster has."""
        ...


class RolloutWrites(Protocol):
    """Writes; each inside the caller's transaction."""

    async def insert(self, new: NewRollout) -> None:
        """Insert all rows of a rollout; raises `RowCountError` if a statement wrote another number than it was given."""
        ...

    async def moved(self, app: str, environment: str, bases: Mapping[str, int]) -> list[str]:
        """Tenants whose current revision is not the given one any more."""
        ...

    async def busy(self, app: str, environment: str, tenants: Collection[str]) -> list[BusyRow]:
        """Unfinished rollouts of this app and environment with unsettled targets among these tenants."""
        ...

    async def lock(self, rollout_id: uuid.UUID) -> LockedRollout | None:
        """Lock lease and rollout row, in this order, until the transaction ends; None if there is no such rollout."""
        ...

    async def record(self, rollout_id: uuid.UUID, seq: int) -> None:
        """Note the number of the newest history entry on the rollout's row. The caller holds `lock` or inserted it."""
        ...

    async def command(self, rollout_id: uuid.UUID, command: str, body: Mapping[str, Any], actor: str) -> int:
        """Append a command, raise `command_seq`, make the rollout due now. The caller holds `lock`. Returns its number."""
        ...

    async def begin(self, rollout_id: uuid.UUID, due_at: datetime) -> None:
        """Turn a draft into a planned rollout. The caller holds `lock`."""
        ...

    async def abandon(self, rollout_id: uuid.UUID, reason: str) -> None:
        """End a draft nobody started. The caller holds `lock`."""
        ...

    async def save_preview(self, id_: uuid.UUID, plan_hash: str, requested_by: str, body: bytes, seconds: int) -> None:
        """Keep a preview's plan for so long, so that its targets can be paged; drops those that ran out."""
        ...


class RolloutReads(Protocol):
    """Reads for users. Each is one statement."""

    async def head(self, rollout_id: uuid.UUID) -> RolloutHead | None:
        """One rollout with its waves and counts, without its plan."""
        ...

    async def heads(
        self,
        *,
        states: Collection[str],
        apps: Collection[str] | None,
        tenant: str | None,
        before: uuid.UUID | None,
        limit: int,
    ) -> list[RolloutHead]:
        """Rollouts, newest first. `before` is the id after which the page starts."""
        ...

    async def app(self, rollout_id: uuid.UUID) -> str | None:
        """The app of a rollout; None if there is no such rollout."""
        ...

    async def plan(self, rollout_id: uuid.UUID) -> dict[str, Any] | None:
        """The frozen plan."""
        ...

    async def target_views(
        self,
        rollout_id: uuid.UUID,
        *,
        states: Collection[str],
        wave: str | None,
        tenant: str | None,
        after: tuple[int, int] | None,
        limit: int,
    ) -> list[TargetView]:
        """Targets in the order of the plan. `after` is (wave, position) of the last one seen."""
        ...

    async def events(self, rollout_id: uuid.UUID, after: int, limit: int) -> list[EventRow]:
        """History after a number, oldest first."""
        ...

    async def left_over(self, rollout_id: uuid.UUID, tenants: Collection[str] | None) -> list[LeftOver]:
        """Targets that ended without being verified (of these tenants, or of all), with their content."""
        ...

    async def event_range(self, rollout_id: uuid.UUID) -> tuple[int, int, bool]:
        """Smallest and largest number kept (0, 0 if none), and whether the rollout is over."""
        ...

    async def preview(self, id_: uuid.UUID) -> bytes | None:
        """A kept preview, unless it ran out."""
        ...

    async def preview_by_hash(self, plan_hash: str) -> bytes | None:
        """The newest kept preview with this plan hash."""
        ...


class RolloutsStore(RolloutFacts, RolloutWrites, RolloutReads, Protocol):
    """All of them: what a unit of work offers as `uow.rollouts`."""


class RowCountError(RuntimeError):
    """A multi-row write wrote another number of rows than it was given: the transaction must not commit."""
