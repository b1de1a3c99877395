"""One driver's hold on one operation: its lease, its items in memory, and the only ways to write and to call a cluster."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from controlplane.domain.errors import DependencyError, SeawallError
from controlplane.domain.names import digest_of
from controlplane.domain.operations import ITEM_OVER, ITEM_TRANSITIONS, ItemState
from controlplane.domain.rollouts import check_transition
from controlplane.domain.tenants import TenantPhase, TenantSpec
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.ports.clusters import Cluster, FencedError
from controlplane.ports.faults import fault_point
from controlplane.ports.leases import HeldLease, LeaseLostError
from controlplane.ports.stores.operations import Item, OperationRecord
from controlplane.ports.stores.tenants import EnvironmentRecord
from controlplane.ports.uow import Transactions, UnitOfWork
from controlplane.services.fleet import Fleet
from controlplane.services.operations.installer import Installer
from controlplane.services.problems import problem_of

CALLS = 32
"""External calls in flight at once."""
CHUNK = 32
"""Items whose ledger rows are written in one transaction."""
CHUNKS_AT_ONCE = 3
CONNECT_SECONDS = 3.0
"""So long a driver waits for a cluster to be connected and its fence proven, before the item waits instead."""
FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(seconds=30)


@dataclass(frozen=True)
class OperationTools:
    """What drivers of operations need from outside, chosen by bootstrap."""

    transactions: Transactions
    fleet: Fleet
    installer: Installer


@dataclass
class Run:
    """An operation in the hands of its driver."""

    tools: OperationTools
    lease: HeldLease
    drain: asyncio.Event
    operation: OperationRecord
    installation: uuid.UUID
    items: list[Item]
    tiers: Mapping[str, TierSpec]
    clusters: Mapping[str, ClusterSpec]
    specs: Mapping[str, TenantSpec]
    environments: Mapping[tuple[str, str], EnvironmentRecord]
    phases: dict[str, tuple[TenantPhase, str]]
    calls: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CALLS))
    called_off: bool = False
    digests: dict[str, str] = field(default_factory=dict)
    classes: set[tuple[str, str]] = field(default_factory=set)

    def tier_digest(self, name: str) -> str:
        """The hash of a tier as it was when the operation was loaded."""
        if name not in self.digests:
            self.digests[name] = digest_of(self.tiers[name].model_dump(mode="json"))
        return self.digests[name]

    @property
    def stopping(self) -> bool:
        """Whether nothing new may begin: this process drains, or the operation was called off."""
        return self.called_off or self.drain.is_set()

    @property
    def open(self) -> list[Item]:
        """Items that are not over."""
        return [item for item in self.items if item.state not in ITEM_OVER]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UnitOfWork]:
        """One transaction under the lease; raises `LeaseLostError` if it is not ours any more.

        Sets `called_off` if somebody has cancelled the operation: then nothing may be issued in it.
        """
        async with self.tools.transactions.engine() as uow:
            sent = await uow.operations.hold(self.lease)
            self.called_off = self.called_off or uow.operations.commanded(self.lease)
            yield uow
        self.lease.sent_at = max(self.lease.sent_at, sent)

    async def cluster(self, name: str) -> Cluster:
        """A cluster to write to: its fence has refused a probe of this process."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self.tools.fleet.proven(name)
        except TimeoutError as error:
            detail = self.tools.fleet.facts(name, "").detail or f"cluster {name} is not ready"
            raise DependencyError(f"{detail}.", code="cluster-unavailable") from error

    async def call[T](self, effect: Callable[[], Awaitable[T]]) -> T:
        """Make one external call, if the lease allows it and a place is free."""
        async with self.calls:
            if not self.lease.may_issue():
                raise LeaseLostError("Our own clock says that the lease may have run out; nothing is sent.")
            result = await effect()
        fault_point("operation:after-effect")
        return result

    def move(self, item: Item, state: ItemState, stage: str | None = None) -> None:
        """Change an item's state (by the table) and stage, in memory."""
        if item.state is not state:
            item.state = check_transition(ITEM_TRANSITIONS, item.state, state)
        if stage is not None:
            item.stage = stage
        for key in ("waiting", "retryAt"):
            item.memory.pop(key, None)

    def fail(self, item: Item, error: SeawallError) -> None:
        """End an item with its problem."""
        self.move(item, ItemState.FAILED)
        item.problem = problem_of(error)

    def wait(self, item: Item, gate: str, reason: str, *, now: datetime | None = None, who: str = "") -> None:
        """Put an item off, with what it waits for, since when, and when to try again (twice as long each time)."""
        tries = int(item.memory.get("tries", 0))
        since = (item.memory.get("waiting") or {}).get("since")
        at = now or datetime.now(UTC)
        self.move(item, ItemState.WAITING)
        delay = min(FIRST_RETRY * 2 ** min(tries, 10), LONGEST_RETRY)
        waiting = {"gate": gate, "reason": reason, "tenant": item.tenant, "since": since or at.isoformat()}
        item.memory |= {"tries": tries + 1, "retryAt": (at + delay).isoformat()}
        item.memory["waiting"] = {**waiting, **({"who": who} if who else {})}

    def settle(self, item: Item, error: SeawallError) -> None:
        """Judge an error of an external call: worth repeating, or the end of the item."""
        if isinstance(error, LeaseLostError):
            raise error
        if isinstance(error, DependencyError):
            self.wait(item, "cluster", error.detail)
        elif isinstance(error, FencedError) or getattr(error, "code", "") == "namespace-terminating":
            self.wait(item, "namespace", error.detail)
        else:
            self.fail(item, error)


def ready(items: Sequence[Item], now: datetime) -> list[Item]:
    """Items that can be worked on now: new ones, a predecessor's, and waiting ones whose time has come."""
    return [item for item in items if item.state not in ITEM_OVER and _due(item, now)]


def _due(item: Item, now: datetime) -> bool:
    at = item.memory.get("retryAt")
    return at is None or datetime.fromisoformat(str(at)) <= now
