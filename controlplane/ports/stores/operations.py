"""Operations, their items and their steps in the ledger."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from controlplane.domain.operations import ItemState, OperationKind, OperationState
from controlplane.ports.leases import HeldLease


@dataclass(frozen=True)
class NewItem:
    """One part to insert. A line that can't be carried out is born failed, with its problem."""

    tenant: str
    environment: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    problem: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class NewOperation:
    """An operation to insert, with its free lease."""

    id: uuid.UUID
    kind: OperationKind
    requested_by: str
    tenant: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    items: Sequence[NewItem] = ()


@dataclass(frozen=True)
class OperationRecord:
    """An operation without its items; `counts` maps item state to number."""

    id: uuid.UUID
    kind: OperationKind
    tenant: str | None
    state: OperationState
    spec: Mapping[str, Any]
    result: Mapping[str, Any]
    problem: Mapping[str, Any] | None
    waiting_for: Sequence[Mapping[str, Any]]
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Item:
    """One tenant environment's part, as its driver holds it in memory."""

    ordinal: int
    tenant: str
    environment: str
    state: ItemState
    stage: str
    spec: Mapping[str, Any]
    problem: Mapping[str, Any] | None
    memory: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TakenEnvironment:
    """An environment whose slot an operation holds, and its new epoch."""

    tenant: str
    environment: str
    cluster: str
    namespace: str
    uid: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class NewStep:
    """One external effect to write as ISSUED. `phase` of an item's attempt; `ordinal` its place in it."""

    step_id: uuid.UUID
    ordinal: int
    tenant: str
    environment: str
    phase: str
    verb: str
    epoch: int
    api_version: str = ""
    kind: str = ""
    name: str = ""
    fence: str = "cluster"


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What came of one step: `ok`, `failed`, `unknown` (no answer), `skipped` (never sent)."""

    step_id: uuid.UUID
    ordinal: int
    outcome: str
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepView:
    """One ledger row as users see it."""

    phase: str
    verb: str
    kind: str
    name: str
    state: str
    outcome: str
    issued_at: datetime | None
    observed_at: datetime | None


@dataclass(frozen=True, slots=True)
class InstalledTarget:
    """Where a tenant's installation stands: the rollout's target, or the rollout's own end."""

    tenant: str
    environment: str
    app: str
    rollout_id: uuid.UUID
    rollout_state: str
    state: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class CancelWish:
    """Who called an operation off, and why."""

    actor: str
    reason: str


class OperationStore(Protocol):
    """Operations in PostgreSQL."""

    async def add(self, operation: NewOperation) -> None:
        """Insert an operation, due now, with its items and its free lease."""
        ...

    async def get(self, operation_id: uuid.UUID) -> OperationRecord | None:
        """Read an operation with the number of its items by state."""
        ...

    async def page(self, after: uuid.UUID | None, limit: int) -> list[OperationRecord]:
        """List operations, newest first, from before an id."""
        ...

    async def items(
        self, operation_id: uuid.UUID, after: int = -1, limit: int = 1_000_000, *, state: str | None = None
    ) -> list[Item]:
        """Items in order, from after an ordinal."""
        ...

    async def steps(self, operation_id: uuid.UUID, tenant: str, environment: str) -> list[StepView]:
        """The ledger rows of one item, in the order in which they were planned."""
        ...

    async def creator_of(self, tenant: str) -> uuid.UUID | None:
        """The operation that onboarded a tenant first: its namespaces carry this id."""
        ...

    async def open_of(self, tenant: str) -> OperationRecord | None:
        """The unfinished operation of a tenant, if there is one."""
        ...

    async def hold(self, lease: HeldLease) -> float:
        """Lock and renew the driver's lease in this transaction; raises `LeaseLostError`.

        Returns our monotonic clock when the renewal was sent: `lease.sent_at`, once the commit is known.
        """
        ...

    def commanded(self, lease: HeldLease) -> bool:
        """Whether somebody has given a command that the lease's driver does not know: read from the row that `hold` locked."""
        ...

    async def cancel(self, operation_id: uuid.UUID, actor: str, reason: str) -> None:
        """Append the command `cancel` and make the operation due now. The caller has locked the operation."""
        ...

    async def lock(self, operation_id: uuid.UUID) -> OperationState | None:
        """Lock an operation's row; its state, or None if there is none."""
        ...

    async def cancelled_by(self, operation_id: uuid.UUID) -> CancelWish | None:
        """Who called the operation off first, if anybody did."""
        ...

    async def note_commands(self, operation_id: uuid.UUID) -> None:
        """Write that every command so far was taken into account."""
        ...

    async def take_slots(
        self, operation_id: uuid.UUID, places: Sequence[tuple[str, str]], *, dirty_too: bool = False
    ) -> list[TakenEnvironment]:
        """Take the free slots among these (tenant, environment), or keep those that are ours: epoch + 1 each. Others are left out."""
        ...

    async def free_slots(self, operation_id: uuid.UUID, places: Sequence[tuple[str, str]]) -> None:
        """Give back slots that the operation holds."""
        ...

    async def raise_epochs(self, places: Mapping[tuple[str, str], int]) -> None:
        """Set epochs to at least these: a higher fence was found in the world."""
        ...

    async def issue(self, operation_id: uuid.UUID, steps: Sequence[NewStep]) -> None:
        """Plan steps and write them as ISSUED: they may be carried out once this is committed. Row counts are compared."""
        ...

    async def observe(self, operation_id: uuid.UUID, outcomes: Sequence[StepOutcome]) -> None:
        """Write ISSUED steps as OBSERVED. Row counts are compared."""
        ...

    async def close_steps(self, operation_id: uuid.UUID) -> int:
        """Write a predecessor's ISSUED steps as OBSERVED with outcome `superseded`; returns how many."""
        ...

    async def save_items(self, operation_id: uuid.UUID, items: Sequence[Item]) -> None:
        """Write state, stage, problem and memory of items. Row counts are compared."""
        ...

    async def set_walls(self, walls: Sequence[tuple[str, str, str, Mapping[str, Any]]]) -> None:
        """Write (tenant, environment, namespace uid, walls) of environments."""
        ...

    async def set_state(
        self,
        operation_id: uuid.UUID,
        state: OperationState,
        *,
        waiting_for: Sequence[Mapping[str, Any]] = (),
        due_in: timedelta | None = None,
        result: Mapping[str, Any] | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        """Write where an operation stands; `due_in`: when a driver must look again (None when it is over); `result` adds to it."""
        ...

    async def installs(self, operation_id: uuid.UUID) -> list[InstalledTarget]:
        """Where the rollouts stand that this operation started (`origin.onboarding`), target by target."""
        ...
