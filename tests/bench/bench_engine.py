"""The engine alone: one driver over real PostgreSQL (fsync on) and the simulated fleet in a process of its own."""

from __future__ import annotations

import asyncio
import resource
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.adapters.embedded.postgres import EmbeddedPostgres
from controlplane.adapters.embedded.processes import Child, accepts, free_port
from controlplane.adapters.postgres import migrate
from controlplane.adapters.postgres.database import Database, Urls
from controlplane.adapters.postgres.engine.store import PostgresEngineStore
from controlplane.adapters.postgres.gates import PostgresVotes
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.adapters.simulated import SimulatedCluster
from controlplane.domain.names import FENCED_LABEL, MANAGED_LABEL
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.ports.clusters import Cluster
from controlplane.ports.gates import GatePorts
from controlplane.services.driver import drive
from controlplane.services.fleet import Fleet as Gate
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.bench.rows import Row
from tests.contract.fleets import until
from tests.services.engine.conftest import OneCluster
from tests.support.registry import Fleet

CLUSTER = "aks-1"
CAP = 50
STRATEGY = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}],
    "limits": {"inFlight": CAP},
}


@dataclass
class Stand:
    """One database, one cluster, no worker."""

    rows: Fleet
    database: Database
    cluster: Cluster
    engine_url: str = ""
    address: str = ""


@asynccontextmanager
async def registry(cluster: Cluster, uids: dict[str, str]) -> AsyncIterator[Stand]:
    """A registry with fsync on, whose tenants have these namespaces and nothing installed."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-bench-"))
    try:
        with EmbeddedPostgres(folder) as postgres:
            migrate.upgrade(postgres.url())
            migrate.set_role_passwords(postgres.url(), None)
            database = Database(Urls(platform=postgres.url(user="sw_platform"), engine=postgres.url(user="sw_engine")))
            rows = Fleet(postgres.url())
            rows.basics()
            rows.config("strategies", "bench", STRATEGY)
            rows.tenants(list(uids), cluster=CLUSTER)
            statement = "update environments e set uid = x.uid from unnest(%s::text[], %s::text[]) as x(t, uid) where e.tenant = x.t"
            rows.run(statement, list(uids), list(uids.values()))
            yield Stand(rows, database, cluster, postgres.url(user="sw_engine"))
            await database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def stand(tenants: int) -> AsyncIterator[Stand]:
    """A simulated fleet in a process of its own, with its registry."""
    folder, port = Path(tempfile.mkdtemp(prefix="seawall-world-")), free_port()
    argv = [sys.executable, "-m", "controlplane.adapters.simulated", "--listen", f"127.0.0.1:{port}"]
    world = Child("simulated fleet", argv, folder / "world.log")
    try:
        await until(lambda: accepts(port))
        cluster = SimulatedCluster.at(CLUSTER, f"127.0.0.1:{port}")
        await cluster.start()
        await cluster.install()
        names = [f"t{n:05}" for n in range(tenants)]
        uids = await asyncio.gather(*(namespace_of(cluster, name) for name in names))
        async with registry(cluster, dict(zip(names, uids, strict=True))) as made:
            made.address = f"127.0.0.1:{port}"
            yield made
        await cluster.close()
    finally:
        world.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def namespace_of(cluster: SimulatedCluster, name: str) -> str:
    """Make a marked namespace; returns its uid."""
    return (await cluster.create_namespace(name, {MANAGED_LABEL: "true", FENCED_LABEL: "true"}, {})).uid


@dataclass(frozen=True)
class Run:
    """What one rollout cost: seconds on the wall, seconds of this process's CPU."""

    wall: float
    cpu: float


async def roll_out(stand: Stand, version: str, artifact: bytes | None = None, **changes: Any) -> Run:
    """One rollout of a new release over every tenant, driven in this process."""
    stand.rows.release(version, artifact, **changes)
    tools = RolloutTools(open=stand.database.platform)
    ask = Ask(RolloutRequest.model_validate({"release": f"odoo/{version}", "strategy": "bench"}))
    started = await plan_and_start(tools, ask, actor="bench", origin={"kind": "person"})
    gate = Gate(OneCluster(stand.cluster))
    await gate.proven(CLUSTER)
    lease = await PostgresLeases(stand.database).take("rollout", started.id, "bench")
    assert lease is not None
    wall, cpu = time.perf_counter(), time.process_time()
    await drive(
        PostgresEngineStore(stand.database), gate, lease, asyncio.Event(), GatePorts(PostgresVotes(stand.database))
    )
    run = Run(time.perf_counter() - wall, time.process_time() - cpu)
    await gate.close()
    _check(stand, started.id)
    return run


def _check(stand: Stand, rollout: uuid.UUID) -> None:
    states = stand.rows.ask("select state, count(*) from targets where rollout_id = %s group by state", rollout)
    assert [state for state, _ in states] == ["verified"], states


async def measure() -> list[Row]:
    """Durable steps per second, and what a tenant costs at 10,000 against 1,000."""
    rows: list[Row] = []
    per_tenant: dict[int, float] = {}
    for tenants in (1_000, 10_000):
        async with stand(tenants) as place:
            await roll_out(place, "1.0")
            runs = [await roll_out(place, f"2.{n}") for n in range(3 if tenants == 1_000 else 1)]
            steps = place.rows.ask(
                "select count(*) from steps where phase = 'apply' and subject_id = (select max(id::text)::uuid from rollouts)"
            )
        per_tenant[tenants] = statistics.median(run.cpu for run in runs) / tenants
        wall = statistics.median(run.wall for run in runs)
        conditions = f"{tenants} tenants, cap {CAP}, simulated fleet in its own process, PostgreSQL 18 with fsync, {len(runs)} runs"
        rows.append(
            Row(
                "durable steps",
                round(steps[0][0] / wall, 1),
                "steps/s",
                "",
                ">= 500",
                steps[0][0] / wall >= 500,
                conditions,
            )
        )
        rows.append(Row("driver CPU per tenant", round(1000 * per_tenant[tenants], 2), "ms", "", "", None, conditions))
    ratio = per_tenant[10_000] / per_tenant[1_000]
    rows.append(
        Row("cost per tenant at 10,000 / at 1,000", round(ratio, 2), "x", "", "<= 1.2", ratio <= 1.2, "driver CPU")
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows.append(
        Row(
            "driver memory at 10,000 targets",
            round(peak),
            "MB",
            "",
            "<= 200",
            peak <= 200,
            "whole bench process, planner included",
        )
    )
    return rows
