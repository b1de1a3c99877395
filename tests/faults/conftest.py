"""A playing field for kill tests: tenants on a real API server, releases, and processes that may die."""

from __future__ import annotations

import contextlib
import signal
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from controlplane.adapters.embedded.processes import Child
from controlplane.adapters.kubernetes.cluster import KubernetesCluster
from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.adapters.simulated import SimulatedCluster
from controlplane.domain.names import FENCED_LABEL, MANAGED_LABEL
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.ports.clusters import Cluster, Fence
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.contract.fleets import deployer, fresh_name
from tests.plugins.database import Database
from tests.support.forked import SIMULATED, ForkedChild
from tests.support.history_checker import History, Pause, check_history, read_history
from tests.support.processes import Processes, tail, until
from tests.support.registry import Fleet

CLUSTER = "aks-1"
OVER = ("succeeded", "failed", "aborted")
SOON = {"soak": {"for": "PT0S", "samples": 1}}


def in_waves(*counts: int, limit: int = 3, **more: Any) -> dict[str, Any]:
    """A strategy of waves of so many tenants, the rest last, that does not soak."""
    first = [{"name": f"wave-{n}", "cut": {"count": c}, **SOON} for n, c in enumerate(counts)]
    last = {"name": "rest", "cut": {"percent": "100%"}, **SOON}
    return {"waves": [*first, last], "limits": {"inFlight": limit}, **more}


@dataclass
class Field:
    """The registry, one cluster, the processes, and what is needed to ask them for things."""

    rows: Fleet
    database: Database
    transactions: Transactions
    tools: RolloutTools
    cluster: Cluster
    processes: Processes
    audit_logs: Sequence[Path] = ()

    async def tenants(self, count: int, **options: Any) -> list[str]:
        """Tenants with a namespace each, its deployer in it, and nothing installed."""
        names = [fresh_name(f"shop{n}") for n in range(count)]
        self.rows.tenants(names, cluster=CLUSTER, **options)
        for name in names:
            made = await self.cluster.create_namespace(name, {MANAGED_LABEL: "true", FENCED_LABEL: "true"}, {})
            await self.cluster.seal(name, made.uid, Fence(1, f"onboard-{name}"))
            for manifest in deployer():
                await self.cluster.apply(name, manifest, Fence(1, f"onboard-{name}"), "platform")
            self.rows.run("update environments set uid = %s, epoch = 1 where tenant = %s", made.uid, name)
        return names

    async def start(self, release: str, strategy: str = "all", **request: Any) -> uuid.UUID:
        """Plan and start a rollout."""
        ask = Ask(RolloutRequest.model_validate({"release": f"odoo/{release}", "strategy": strategy, **request}))
        return (await plan_and_start(self.tools, ask, actor="mia", origin={"kind": "person"})).id

    async def command(self, rollout: uuid.UUID, command: str, **body: Any) -> Any:
        """Append a command as the API does; gives the database's clock once it was answered."""
        async with self.transactions.platform() as uow:
            await uow.rollouts.command(rollout, command, body, "mia")
        return self.rows.ask("select clock_timestamp()")[0][0]

    def state(self, rollout: uuid.UUID) -> str:
        """The rollout's state."""
        return str(self.rows.ask("select state from rollouts where id = %s", rollout)[0][0])

    def targets(self, rollout: uuid.UUID) -> dict[str, str]:
        """Each target's state."""
        return dict(self.rows.ask("select tenant, state from targets where rollout_id = %s order by tenant", rollout))

    async def over(self, *rollouts: uuid.UUID, within: float = 90.0) -> list[str]:
        """Wait until all of these are over; gives their states."""

        def states() -> list[str]:
            try:
                found = [self.state(rollout) for rollout in rollouts]
            except psycopg.OperationalError:
                return []
            return found if all(state in OVER for state in found) else []

        return await until(states, within, f"rollouts {rollouts} over; {[self.state(r) for r in rollouts]}")

    def history(self, *pauses: Pause) -> History:
        """What happened so far."""
        return read_history(self.database.owner, self.audit_logs, claims=self.processes.claims(), pauses=pauses)

    def check(self, *pauses: Pause) -> None:
        """The history keeps every promise, and no process said that it met an error of its own."""
        assert check_history(self.history(*pauses)) == []
        assert self.processes.errors() == []


def clusters_file(folder: Path, access: dict[str, Any]) -> Path:
    """A registry of one cluster."""
    path = folder / "clusters.yaml"
    path.write_text(yaml.safe_dump({CLUSTER: access}))
    return path


@pytest.fixture(scope="session")
async def kubernetes(control_plane: LocalControlPlane) -> AsyncIterator[KubernetesCluster]:
    """The local control plane with Seawall installed, as its administrator."""
    cluster = await KubernetesCluster.connect(CLUSTER, control_plane.kubeconfig)
    await cluster.start()
    await cluster.install()
    yield cluster
    await cluster.close()


def field_of(database: Database, cluster: Cluster, processes: Processes, audit_logs: Sequence[Path] = ()) -> Field:
    """A registry with a tier and clusters, and no process yet."""
    rows = Fleet(database.owner)
    rows.basics()
    transactions = Transactions(Urls(platform=database.platform, engine=database.engine))
    return Field(rows, database, transactions, RolloutTools(open=transactions.platform), cluster, processes, audit_logs)


@pytest.fixture
async def field(
    database: Database, kubernetes: KubernetesCluster, control_plane: LocalControlPlane, tmp_path: Path
) -> AsyncIterator[Field]:
    """Over the local control plane."""
    access = {"kind": "kubernetes", "kubeconfig": str(control_plane.kubeconfig)}
    processes = Processes(tmp_path, database, clusters_file(tmp_path, access))
    made = field_of(database, kubernetes, processes, [control_plane.audit_log])
    yield made
    processes.stop()
    await made.transactions.close()


@contextlib.asynccontextmanager
async def simulated_field(database: Database, folder: Path) -> AsyncIterator[Field]:
    """Over a simulated fleet in a process of its own, where the API server is not what is tested."""
    fleet = ForkedChild("simulated fleet", ["--listen", "127.0.0.1:0"], folder / "fleet.log", module=SIMULATED)
    try:
        await until(lambda: "listening on" in tail(fleet), what="the simulated fleet listens")
        address = tail(fleet).partition("listening on ")[2].split()[0]
        cluster = SimulatedCluster.at(CLUSTER, address)
        await cluster.start()
        await cluster.install()
        processes = Processes(folder, database, clusters_file(folder, {"kind": "simulated", "address": address}))
        made = field_of(database, cluster, processes)
        yield made
        processes.stop()
        await made.transactions.close()
        await cluster.close()
    finally:
        fleet.stop(signal.SIGKILL)


@pytest.fixture
async def playground(database: Database, tmp_path: Path) -> AsyncIterator[Field]:
    """Over a simulated fleet."""
    async with simulated_field(database, tmp_path) as made:
        yield made


async def driving(field: Field, name: str, fault: str = "", **env: str) -> Child:
    """A worker that has begun to drive."""
    worker = field.processes.worker(name, fault=fault, **env)
    await until(lambda: [c for c in field.processes.claims() if c.worker == name], what=f"{name} drives")
    return worker


async def standing_by(field: Field, name: str, **env: str) -> Child:
    """A worker that has started."""
    worker = field.processes.worker(name, **env)
    await until(lambda: "worker started" in tail(worker), what=f"{name} has started")
    return worker
