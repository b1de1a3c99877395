"""An operation's driver over a real database and a simulated cluster in this process."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.adapters.postgres.engine.store import PostgresEngineStore
from controlplane.adapters.postgres.gates import PostgresVotes
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.adapters.simulated import Front, SimulatedCluster, World
from controlplane.adapters.simulated.front import Trouble
from controlplane.adapters.simulated.remote import LocalBackend
from controlplane.domain.errors import DependencyError
from controlplane.domain.tenants import TenantSpec
from controlplane.ports.clusters import Cluster
from controlplane.ports.gates import GatePorts
from controlplane.ports.stores.operations import OperationRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services.fleet import Fleet as Watched
from controlplane.services.operations.driver import drive_operation
from controlplane.services.operations.installer import RolloutInstaller
from controlplane.services.operations.run import OperationTools
from controlplane.services.rollouts.tools import RolloutTools
from tests.contract.fleets import until as until_seen
from tests.contract.fleets import until_read
from tests.plugins.database import Database
from tests.support.registry import Fleet
from workers import operations, rollouts
from workers.runner import Runner


@dataclass
class OneCluster:
    """The port `Clusters` over started clusters."""

    started: Mapping[str, Cluster] = field(default_factory=dict)

    async def get(self, name: str) -> Cluster:
        if name not in self.started:
            raise DependencyError(f"No cluster {name} here.", code="cluster-not-configured")
        return self.started[name]

    def peek(self, name: str) -> Cluster | None:
        return self.started.get(name)

    async def close(self) -> None:
        for cluster in self.started.values():
            await cluster.close()


@dataclass
class Works:
    """Everything a test of operations needs. `front` switches troubles of cluster `aks-1` on; `fleet` writes rows directly."""

    transactions: Transactions
    leases: PostgresLeases
    tools: OperationTools
    fleet: Fleet
    world: World
    front: Front
    cluster: SimulatedCluster

    async def accept[T](self, act: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Call a service in a transaction of the API."""
        async with self.transactions.platform() as uow:
            return await act(uow)

    async def drive(
        self, operation: uuid.UUID, *, holder: str = "w1", until: Callable[[], bool] | None = None
    ) -> OperationRecord:
        """Drive an operation as one worker until its driver lets go, or until then; gives where it stands."""
        lease = await self.leases.take("operation", operation, holder)
        assert lease is not None, "somebody holds the lease"
        drain = asyncio.Event()
        driving = asyncio.create_task(drive_operation(self.tools, lease, drain))
        if until is not None:
            await until_seen(until)
            drain.set()
        await driving
        await self.leases.release(lease)
        return await self.read(operation)

    async def finish(self, operation: uuid.UUID) -> OperationRecord:
        """Drive an operation until it is over, as a worker that claims it again whenever it was parked."""
        while (found := await self.drive(operation)).ended_at is None:
            pass
        return found

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """A worker in this process: claims and drives operations and rollouts until the context ends."""
        drives = {
            "operation": operations.drive_with(self.tools),
            "rollout": rollouts.drive_with(
                PostgresEngineStore(self.transactions), self.tools.fleet, GatePorts(PostgresVotes(self.transactions))
            ),
        }
        runner = Runner(self.leases, "worker", drives, sweep=0.1)
        sweep = asyncio.create_task(runner.sweep_forever())
        try:
            yield
        finally:
            await runner.drain()
            await sweep

    async def over(self, operation: uuid.UUID, within: float = 60.0) -> OperationRecord:
        """Wait until a worker has brought an operation to its end."""

        async def look() -> OperationRecord | None:
            found = await self.read(operation)
            return found if found.ended_at else None

        ended = await until_read(look, within)
        assert ended is not None
        return ended

    async def read(self, operation: uuid.UUID) -> OperationRecord:
        async with self.transactions.platform() as uow:
            found = await uow.operations.get(operation)
        assert found is not None
        return found

    async def phase(self, tenant: str) -> tuple[str, str]:
        async with self.transactions.platform() as uow:
            found = await uow.tenants.get(tenant)
        assert found is not None
        return found.phase.value, found.phase_reason

    def trouble(self, mode: Any, **where: Any) -> None:
        self.front.troubles.append(Trouble(mode, **where))

    def objects(self, namespace: str) -> set[str]:
        """Everything in a namespace, as Kind/name."""
        kinds = ["ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "Role", "RoleBinding", "Deployment"]
        found = self.world.list_objects(namespace, kinds)
        return {f"{o['kind']}/{o['metadata']['name']}" for o in found}


def spec(name: str, **changes: Any) -> TenantSpec:
    """A tenant without apps on cluster `aks-1`."""
    body = {
        "name": name,
        "tier": "standard",
        "region": "west",
        "environments": {"production": {"cluster": "aks-1"}},
        **changes,
    }
    return TenantSpec.model_validate(body)


def ndjson(*specs: TenantSpec | dict[str, Any] | str) -> bytes:
    """Lines of a batch."""
    lines = [s if isinstance(s, str) else json.dumps(s) if isinstance(s, dict) else s.model_dump_json() for s in specs]
    return "\n".join(lines).encode()


@pytest.fixture
async def works(database: Database) -> AsyncIterator[Works]:
    """A registry with a tier and two clusters, of which `aks-1` is there."""
    fleet = Fleet(database.owner)
    fleet.basics()
    transactions = Transactions(Urls(platform=database.platform, engine=database.engine))
    world = World(seed=1)
    front = Front(world)
    cluster = SimulatedCluster("aks-1", LocalBackend(front), world.clock)
    await cluster.start()
    await cluster.install()
    clusters = OneCluster({"aks-1": cluster})
    installer = RolloutInstaller(RolloutTools(open=transactions.engine))
    watched = Watched(clusters)
    tools = OperationTools(transactions, watched, installer)
    yield Works(transactions, PostgresLeases(transactions), tools, fleet, world, front, cluster)
    await watched.close()
    await clusters.close()
    await transactions.close()
