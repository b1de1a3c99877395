"""What rollouts need of the registry: facts for a plan, the rows of a new rollout, commands, and reads.

Every call is one statement (or a fixed number of them), whatever the number of targets.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.returns import PastRevision
from controlplane.ports.stores.rollout_rows import (
    BusyRow,
    EventRow,
    GateTimes,
    LeftOver,
    LockedRollout,
    NewRollout,
    PastFailures,
    PhaseTimes,
    ReleaseRow,
    RolloutHead,
    TargetRow,
    TargetView,
)


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

    async def other_apps(self, app: str, environment: str, tenants: Collection[str]) -> list[tuple[str, bytes]]:
        """(tenant, content body) of what other apps of these environments run now."""
        ...

    async def phase_times(self, app: str) -> list[PhaseTimes]:
        """How long phases took for the newest targets of this app."""
        ...

    async def past_failures(self, app: str) -> PastFailures:
        """How the newest targets of this app fared."""
        ...

    async def gate_times(self, app: str) -> list[GateTimes]:
        """How gates of this app's newest rollouts fared, by kind."""
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

    async def one_start_at_a_time(self, app: str, environment: str) -> None:
        """Wait until no other transaction starts a rollout of this app and environment; held until this one ends.

        Without it two starts could each fail to see the other and both pass `whenBusy: reject`.
        """
        ...

    async def busy(self, app: str, environment: str, tenants: Collection[str]) -> list[BusyRow]:
        """Unfinished rollouts of this app and environment with unsettled targets among these tenants."""
        ...

    async def queue_behind(self, rollout_id: uuid.UUID, others: Sequence[uuid.UUID]) -> None:
        """Let the targets of a rollout that has not begun wait for those of others."""
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
        code: str | None = None,
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
