"""The engine alone: one driver over real PostgreSQL (fsync on) and the simulated fleet in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
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
from controlplane.ports.meters import SILENT, Meters, Silent, Tick
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
WIDE = 100
"""A cap at which tenants don't wait for each other's pods: then the ledger's own pace shows."""
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
    postmaster: int = 0

    def database_cpu(self) -> float:
        """Seconds of CPU that PostgreSQL's processes have used: the postmaster's children, also those that ended."""
        if not self.postmaster:
            return 0.0
        return sum(_cpu_of(stat) for stat in _stats() if self.postmaster in (int(stat[0]), int(stat[3])))


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
            rows.config("strategies", "wide", {**STRATEGY, "limits": {"inFlight": WIDE}})
            rows.tenants(list(uids), cluster=CLUSTER)
            statement = "update environments e set uid = x.uid from unnest(%s::text[], %s::text[]) as x(t, uid) where e.tenant = x.t"
            rows.run(statement, list(uids), list(uids.values()))
            pid = postgres.child.pid if postgres.child else 0
            yield Stand(rows, database, cluster, postgres.url(user="sw_engine"), postmaster=pid)
            await database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stats() -> Iterator[list[str]]:
    """Fields of proc(5) `stat` of every process, the name taken out: pid, (state), ppid at 0 and 3 counted with a place for the name."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            head, _, rest = path.read_text().rpartition(")")
            yield [head.split()[0], "", *rest.split()]


def _cpu_of(stat: list[str]) -> float:
    """User and system time, its own and of children it has waited for."""
    return sum(int(ticks) for ticks in stat[13:17]) / os.sysconf("SC_CLK_TCK")


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
    """What one rollout cost: seconds on the wall, seconds of CPU of this process and of PostgreSQL."""

    wall: float
    cpu: float
    database: float = 0.0


class Book(Silent):
    """Keeps every transaction that a driver committed."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []

    def ticked(self, tick: Tick) -> None:
        """Keep one."""
        self.ticks.append(tick)


async def _start(
    stand: Stand, version: str, artifact: bytes | None = None, *, strategy: str = "bench", **changes: Any
) -> uuid.UUID:
    stand.rows.release(version, artifact, **changes)
    tools = RolloutTools(open=stand.database.platform)
    ask = Ask(RolloutRequest.model_validate({"release": f"odoo/{version}", "strategy": strategy}))
    return (await plan_and_start(tools, ask, actor="bench", origin={"kind": "person"})).id


async def roll_out(
    stand: Stand, version: str, artifact: bytes | None = None, *, meters: Meters = SILENT, **changes: Any
) -> Run:
    """One rollout of a new release over every tenant, driven in this process."""
    started = await _start(stand, version, artifact, **changes)
    gate = Gate(OneCluster(stand.cluster))
    await gate.proven(CLUSTER)
    lease = await PostgresLeases(stand.database).take("rollout", started, "bench")
    assert lease is not None
    wall, cpu, database = time.perf_counter(), time.process_time(), stand.database_cpu()
    store, ports = PostgresEngineStore(stand.database, meters), GatePorts(PostgresVotes(stand.database))
    await drive(store, gate, lease, asyncio.Event(), ports, meters)
    run = Run(time.perf_counter() - wall, time.process_time() - cpu, stand.database_cpu() - database)
    await gate.close()
    _check(stand, started)
    return run


def _check(stand: Stand, rollout: uuid.UUID) -> None:
    states = stand.rows.ask("select state, count(*) from targets where rollout_id = %s group by state", rollout)
    assert [state for state, _ in states] == ["verified"], states


@dataclass(frozen=True)
class Size:
    """What one size of fleet gave: runs in this process and ledger rows of the last."""

    tenants: int
    cap: int
    runs: list[Run]
    steps: int
    ticks: list[Tick]

    @property
    def conditions(self) -> str:
        """How it was taken."""
        return f"{self.tenants} tenants, cap {self.cap}, simulated fleet in its own process, PostgreSQL 18 with fsync, {len(self.runs)} runs"

    def each(self, what: str) -> list[float]:
        """Milliseconds of CPU per tenant, by run: `cpu` of the driver, `database` of PostgreSQL."""
        return [1000 * getattr(run, what) / self.tenants for run in self.runs]


async def measure() -> list[Row]:
    """Durable steps per second with what they wait for it, what a tenant costs at 10,000 against 1,000, and the memory of it."""
    async with stand(1_000) as place:
        await roll_out(place, "1.0")
        small, fast = await _size(place, 1_000, runs=3), await _size(place, 1_000, runs=3, cap=WIDE)
    async with stand(10_000) as place:
        memory = await _by_worker(place, "1.0")
        large = await _size(place, 10_000, runs=1)
    return [*_speed(fast), *_costs(small), *_costs(large), *_growth(small, large, memory)]


async def _size(place: Stand, tenants: int, runs: int, *, cap: int = CAP) -> Size:
    book, strategy = Book(), "bench" if cap == CAP else "wide"
    done = [await roll_out(place, f"{cap}.{n}", meters=book, strategy=strategy) for n in range(runs)]
    newest = "select count(*) from steps where subject_id = (select max(id::text)::uuid from rollouts)"
    return Size(tenants, cap, done, int(place.rows.ask(newest)[0][0]), book.ticks)


async def _by_worker(place: Stand, version: str) -> float:
    """The same by a worker process of its own; its peak of resident memory in MB."""
    started = await _start(place, version)
    folder = Path(tempfile.mkdtemp(prefix="seawall-worker-"))
    clusters = folder / "clusters.yaml"
    clusters.write_text(f"{CLUSTER}: {{kind: simulated, address: '{place.address}'}}\n")
    env = {"SEAWALL_DATABASE_URL_ENGINE": place.engine_url, "SEAWALL_CLUSTERS": str(clusters)}
    worker = Child("worker", [sys.executable, "-m", "workers"], folder / "worker.log", env=env)
    try:
        over = "select count(*) from rollouts where id = %s and state = 'succeeded'"
        await until(lambda: place.rows.ask(over, started)[0][0] == 1, 900)
        return _peak_mb(worker.pid)
    finally:
        worker.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _speed(size: Size) -> list[Row]:
    rate = size.steps / statistics.median(run.wall for run in size.runs)
    waits = [1000 * tick.seconds for tick in size.ticks for _ in range(_rows_of(tick))]
    p99 = statistics.quantiles(waits, n=100)[98]
    batches = [_rows_of(tick) for tick in size.ticks if _rows_of(tick)]
    spread = f"median {statistics.median(waits):.3g}, highest {max(waits):.3g}"
    told = f"{size.conditions}; a step also waits up to 10 ms for others to be written with it"
    many = f"{min(batches)} to {max(batches)} ({len(batches)} transactions)"
    return [
        Row("durable steps", round(rate, 1), "steps/s", "", ">= 500", rate >= 500, size.conditions),
        Row("commit that a step waits for, p99", round(p99, 1), "ms", spread, "<= 25 ms", p99 <= 25, told),
        Row("ledger rows in a transaction", statistics.median(batches), "rows", many, "", None, size.conditions),
    ]


def _rows_of(tick: Tick) -> int:
    return sum(tick.issued.values()) + sum(tick.observed.values())


def _costs(size: Size) -> list[Row]:
    driver, database = statistics.median(size.each("cpu")), statistics.median(size.each("database"))
    return [
        Row("driver CPU per tenant", round(driver, 2), "ms", "", "", None, size.conditions),
        Row("PostgreSQL CPU per tenant", round(database, 2), "ms", "", "", None, size.conditions),
    ]


def _growth(small: Size, large: Size, memory: float) -> list[Row]:
    def both(size: Size) -> float:
        return statistics.median(a + b for a, b in zip(size.each("cpu"), size.each("database"), strict=True))

    ratio = both(large) / both(small)
    what = "CPU of the driver and of PostgreSQL"
    process = "peak of a whole worker process that drives a rollout of 10,000 and observes 10,000 environments"
    return [
        Row("cost per tenant at 10,000 / at 1,000", round(ratio, 2), "x", "", "<= 1.2", ratio <= 1.2, what),
        Row("driver memory at 10,000 targets", round(memory), "MB", "", "<= 200", memory <= 200, process),
    ]
