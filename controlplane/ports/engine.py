"""What a rollout's driver reads and writes: a snapshot once, then one transaction per tick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from controlplane.domain.admission import EnvironmentRow
from controlplane.domain.apps import Dependency
from controlplane.domain.counts import GroupCount
from controlplane.domain.dispatch import Started
from controlplane.domain.engine import Decision, EffectDone, Frozen, Memory
from controlplane.domain.exposure import Amount, Budget
from controlplane.domain.manifests import Rendered
from controlplane.domain.windows import Attached, Default
from controlplane.domain.work import DeliveryKind, Given, Work
from controlplane.ports.leases import CommandRow, HeldLease


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of one ledger row. `outcome`: `ok`, `failed`, `gone`, `skipped` (a later item after one that failed)."""

    step_id: UUID
    ordinal: int
    outcome: str
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenPhase:
    """A phase found unfinished at takeover: which of its rows are observed already, by ordinal."""

    tenant: str
    phase: str
    done: Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A migration's Job whose outcome is committed; a predecessor may have died before it took the finalizer off."""

    tenant: str
    step_id: UUID
    api_version: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A driver's snapshot. `open_phases`: work a predecessor issued and nobody has observed yet; `ended_jobs`: of targets in flight;
    `commands`: those that no driver has taken into account; `delivery`: how this rollout reaches clusters.
    """

    memory: Memory
    app: str
    release: str
    now: datetime
    timeline: int
    origin: Mapping[str, Any]
    open_phases: tuple[OpenPhase, ...]
    commands: tuple[CommandRow, ...] = ()
    requested_by: str = ""
    authors: tuple[str, ...] = ()
    delivery: DeliveryKind = "apply"
    ended_jobs: tuple[EndedJob, ...] = ()
    reason: str = ""
    dependencies: tuple[Dependency, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """Content a driver wants: a revision of a tenant's app (`revision`), or content by hash."""

    tenant: str
    environment: str
    revision: int = 0
    content: str = ""


class DataFaultError(RuntimeError):
    """PostgreSQL refused what a transaction would write, or wrote another number of rows: nothing of it was written."""


class EngineTransaction(Protocol):
    """One driver transaction. The lease is locked and renewed; leaving the context commits."""

    @property
    def now(self) -> datetime:
        """The database's clock."""
        ...

    @property
    def commands(self) -> Sequence[CommandRow]:
        """Commands that came since the driver last looked: if there are any, issue nothing and decide again."""
        ...

    async def write(self, decision: Decision, *, app: str, environment: str) -> None:
        """Write targets, waves, rollout, revisions, slots and history of a decision; what it gives back is noted for `settle`."""
        ...

    async def observe(
        self, observed: Sequence[Observed], done: Sequence[EffectDone], *, app: str, environment: str
    ) -> None:
        """Write ledger rows as OBSERVED, and the inventory of revisions whose apply came back."""
        ...

    async def lock_environments(
        self, tenants: Sequence[str], app: str, environment: str
    ) -> Mapping[str, EnvironmentRow]:
        """Lock the environments' rows; one that somebody else has locked is left out."""
        ...

    async def lock_budgets(self, scopes: Iterable[str]) -> Mapping[str, Budget]:
        """Lock budget rows in order, those of `give back` too, which are subtracted already."""
        ...

    async def issue(
        self, started: Sequence[Started], work: Mapping[str, Work], *, app: str, environment: str, release: str
    ) -> None:
        """Take slots, write revisions and the ledger rows as ISSUED."""
        ...

    async def raise_epochs(self, seals: Mapping[str, int]) -> Mapping[str, int]:
        """Raise environments above the seals found in the cluster, by tenant; returns the new epochs. The slots must be ours."""
        ...

    async def judge_breakers(self) -> Sequence[str]:
        """Judge the breakers by what this transaction has written; those that open refuse grants from `lock_budgets` on.

        Called before `lock_budgets`, when a target has newly failed or fallen ill. Returns the codes of those that open.
        """
        ...

    async def let_through(self, tenant: str, scopes: Iterable[str]) -> None:
        """Note who was let through half-open breakers of these budgets: nobody else is, until its fate is known."""
        ...

    async def write_counts(self, counts: Mapping[int, Sequence[GroupCount]], reasons: Mapping[str, str]) -> None:
        """Write how many targets of these waves stand where. `reasons`: by tenant, of the examples."""
        ...

    async def settle(self, taken: Mapping[str, Amount]) -> None:
        """Write what budgets gained and gave back; the last statement before the commit."""
        ...

    async def frozen(self, known: Frozen, tenants: Sequence[str]) -> Frozen:
        """The freezes in force for these tenants, read again only if the fleet row says that they changed."""
        ...

    async def hold(self, app: str, release: str, reason: str) -> None:
        """Hold the release by its digest until a person lifts it; one that is held already stays as it is."""
        ...

    async def prove(self, app: str, release: str) -> None:
        """Note that a rollout of the release succeeded."""
        ...

    async def postpone(self, due_at: datetime) -> None:
        """Note that nobody needs to look at the rollout before then, unless woken."""
        ...

    async def applied(self, up_to: int) -> None:
        """Note that commands up to this number were taken into account."""
        ...


class EngineStore(Protocol):
    """The driver's door to PostgreSQL."""

    async def load(self, lease: HeldLease) -> Loaded:
        """Load a rollout as its new driver: raises the epoch of each in-flight environment first."""
        ...

    def begin(self, lease: HeldLease) -> AbstractAsyncContextManager[EngineTransaction]:
        """Open one driver transaction; raises `LeaseLostError` and `DataFaultError`. `lease` learns of the renewal once the commit is known."""
        ...

    async def frozen(self, known: Frozen, tenants: Sequence[str], environment: str) -> Frozen:
        """Read the freezes again, outside a driver transaction, if the fleet row says that they changed or one has ended."""
        ...

    async def windows(self, tenants: Sequence[str], environment: str, default: Default) -> Attached:
        """Read the calendars in force and whose they are, worked out over the horizon."""
        ...

    async def stored(
        self, contents: Sequence[Ask], revisions: Sequence[Ask], app: str
    ) -> tuple[Mapping[Ask, Rendered], Mapping[Ask, Given]]:
        """Read contents by hash, and what revisions gave: content and inventory. What isn't stored is left out."""
        ...
