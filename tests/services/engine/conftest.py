"""A fleet of tenants on the simulated cluster, with everything a worker has, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from controlplane.adapters.cel import Cel
from controlplane.adapters.endpoints import HttpEndpoints
from controlplane.adapters.engine_metrics import PrometheusMeters
from controlplane.adapters.icalendars import ICalendars
from controlplane.adapters.postgres.asks import PostgresAsks
from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.adapters.postgres.engine.store import PostgresEngineStore
from controlplane.adapters.postgres.facts import PostgresFacts
from controlplane.adapters.postgres.gates import PostgresVotes
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.adapters.postgres.told import PostgresNotices
from controlplane.adapters.prometheus import Prometheus
from controlplane.adapters.secrets import LocalSecrets
from controlplane.adapters.signatures import OfflineSignatures
from controlplane.adapters.simulated import Front, SimulatedCluster, World
from controlplane.adapters.simulated.remote import LocalBackend
from controlplane.domain.errors import DependencyError
from controlplane.domain.names import FENCED_LABEL, MANAGED_LABEL
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.ports.clusters import Cluster
from controlplane.ports.gates import GatePorts
from controlplane.ports.leases import HeldLease
from controlplane.services.driver import drive
from controlplane.services.fleet import Fleet as Gate
from controlplane.services.jury import Jury
from controlplane.services.probing import FleetProbes
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.contract.fleets import until_read
from tests.plugins.database import Database
from tests.support.registry import Fleet
from workers.measured import measured
from workers.runner import Runner

CLUSTER = "aks-1"
SWEEP = 0.1
"""Seconds: no bus tells these workers of work, so what a wake-up would save has to come from looking more often."""


class OneCluster:
    """A registry of clusters that holds one."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def get(self, name: str) -> Cluster:
        if name != self.cluster.name:
            raise DependencyError(f"no cluster {name}", code="cluster-not-configured")
        return self.cluster

    def peek(self, name: str) -> Cluster | None:
        return self.cluster if name == self.cluster.name else None

    async def close(self) -> None:
        await self.cluster.close()


@dataclass
class Stage:
    """A worker's insides, and hands to play with them."""

    rows: Fleet
    transactions: Transactions
    world: World
    front: Front
    cluster: SimulatedCluster
    tools: RolloutTools
    gates: list[Gate] = field(default_factory=list)
    runners: list[Runner] = field(default_factory=list)
    metrics_url: str = ""
    asked: dict[str, Prometheus] = field(default_factory=dict)

    def worker(self, name: str, fleet: Gate | None = None) -> Runner:
        """Another worker in this process."""
        meters = PrometheusMeters()
        store, gate = PostgresEngineStore(self.transactions, meters), fleet or Gate(OneCluster(self.cluster))

        async def one(lease: HeldLease, stop: asyncio.Event) -> None:
            await drive(store, gate, lease, stop, replace(self.gate_ports(), probes=FleetProbes(gate)), meters)

        drives = {"rollout": measured("rollout", one, meters)}
        runner = Runner(PostgresLeases(self.transactions), name, drives, meters=meters, sweep=SWEEP)
        self.gates.append(gate)
        self.runners.append(runner)
        return runner

    def gate_ports(self) -> GatePorts:
        """What gates may ask, with the metric source the test has set by the time a rollout is taken up."""
        if self.metrics_url and self.metrics_url not in self.asked:
            self.asked[self.metrics_url] = Prometheus(self.metrics_url)
        endpoints = HttpEndpoints(self.transactions, LocalSecrets(), wait=0.01)
        asks = PostgresAsks(self.transactions, "https://seawall.example")
        metrics = self.asked.get(self.metrics_url)
        return GatePorts(
            PostgresVotes(self.transactions),
            metrics,
            endpoints,
            asks,
            facts=PostgresFacts(self.transactions.engine),
            signatures=OfflineSignatures(),
            expressions=Cel(),
            times=ICalendars(),
            notices=PostgresNotices(self.transactions),
            blames=Jury(self.transactions, ICalendars()),
        )

    async def tenants(self, names: Sequence[str], **options: Any) -> None:
        """Tenants with namespaces, nothing installed."""
        self.rows.tenants(names, cluster=CLUSTER, **options)
        for name in names:
            view = await self.cluster.create_namespace(name, {MANAGED_LABEL: "true", FENCED_LABEL: "true"}, {})
            self.rows.run("update environments set uid = %s where tenant = %s", view.uid, name)

    async def start(self, release: str, strategy: str = "all", **request: Any) -> uuid.UUID:
        """Plan and start a rollout."""
        ask = Ask(RolloutRequest.model_validate({"release": f"odoo/{release}", "strategy": strategy, **request}))
        return (await plan_and_start(self.tools, ask, actor="mia", origin={"kind": "person"})).id

    async def command(self, rollout: uuid.UUID, command: str, **body: Any) -> None:
        """Append a command as the API does."""
        async with self.transactions.platform() as uow:
            await uow.rollouts.command(rollout, command, body, "mia")

    def state(self, rollout: uuid.UUID) -> str:
        """The rollout's state."""
        return str(self.rows.ask("select state from rollouts where id = %s", rollout)[0][0])

    def targets(self, rollout: uuid.UUID) -> dict[str, str]:
        """Each target's state."""
        return dict(self.rows.ask("select tenant, state from targets where rollout_id = %s order by tenant", rollout))

    async def over(self, rollout: uuid.UUID, within: float = 30.0) -> str:
        """Wait until the rollout is in a terminal state."""

        async def look() -> str:
            return self.state(rollout) if self.state(rollout) in ("succeeded", "failed", "aborted") else ""

        return await until_read(look, within)


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    """An empty fleet with one worker that sweeps."""
    rows = Fleet(database.owner)
    rows.basics()
    transactions = Transactions(Urls(platform=database.platform, engine=database.engine))
    world = World(seed=1)
    front = Front(world)
    cluster = SimulatedCluster(CLUSTER, LocalBackend(front), world.clock)
    await cluster.start()
    await cluster.install()
    stage = Stage(rows, transactions, world, front, cluster, RolloutTools(open=transactions.platform))
    worker = stage.worker("one")
    # As in a worker that has run for a while: who asks first waits a second for its next look.
    await stage.gates[0].proven(CLUSTER)
    sweep = asyncio.create_task(worker.sweep_forever())
    yield stage
    for runner in stage.runners:
        await runner.drain()
    await sweep
    for gate in stage.gates:
        await gate.close()
    for source in stage.asked.values():
        await source.close()
    await cluster.close()
    await transactions.close()
    with contextlib.suppress(asyncio.CancelledError):
        sweep.cancel()
