"""From an intent's commit to the worker that holds its lease: PostgreSQL with fsync, JetStream synced on every write, a relay process.

Measured in one process that commits and works, so that both ends share a clock; the relay is a process of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from controlplane.adapters.embedded.nats import EmbeddedNats
from controlplane.adapters.embedded.postgres import EmbeddedPostgres
from controlplane.adapters.embedded.processes import Child
from controlplane.adapters.nats import NatsBus, NatsRole, nats_authorization, new_nkey
from controlplane.adapters.postgres import migrate
from controlplane.adapters.postgres.database import Database, Urls
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.ports.leases import HeldLease
from tests.bench.rows import Row
from tests.waiting import until
from workers.runner import Runner
from workers.wakeups import Wakeups

INTENTS = 300
PER_SECOND = 10
BURST = 500
CALLERS = 10
TARGET_MS = 25.0
CONDITIONS = "PostgreSQL fsync on, JetStream sync always, relay in a process of its own, 2 cores"


@dataclass
class Stand:
    """The parts, and when each subject was first held."""

    database: Database
    held: dict[uuid.UUID, float] = field(default_factory=dict)

    async def accept(self) -> tuple[uuid.UUID, float]:
        """Commit an intent as the API does; gives the moment of the commit's answer."""
        async with self.database.platform() as uow:
            subject = uow.new_id()
            insert = "insert into leases (subject_kind, subject_id, holder) values ('operation', :id, '')"
            await uow.session.execute(text(insert), {"id": subject})
            await uow.wake("operation", str(subject))
        return subject, time.perf_counter()

    async def drive(self, lease: HeldLease, drain: asyncio.Event) -> None:
        """Note the moment, and end."""
        self.held[lease.subject_id] = time.perf_counter()


@asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    """Start everything over fresh folders."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-bench-"))
    keys = {role: new_nkey() for role in NatsRole}
    seeds = {role: folder / f"{role.value}.nk" for role in NatsRole}
    for role, (seed, _) in keys.items():
        seeds[role].write_text(seed)
    authorization = nats_authorization({role: public for role, (_, public) in keys.items()})
    try:
        with EmbeddedPostgres(folder) as postgres, EmbeddedNats(folder / "nats", authorization) as nats:
            migrate.upgrade(postgres.url())
            migrate.set_role_passwords(postgres.url(), None)
            urls = {role: postgres.url(user=f"sw_{role}") for role in ("platform", "engine")}
            relay = _relay(folder, urls["engine"], nats.url, seeds[NatsRole.RELAY])
            database = Database(Urls(**urls))
            made = Stand(database)
            runner = Runner(PostgresLeases(database), "bench", {"operation": made.drive}, most=2 * BURST)
            bus = NatsBus(nats.url, NatsRole.WORK, seed=seeds[NatsRole.WORK])
            work = asyncio.create_task(Wakeups(bus, runner.nudge).run(runner.draining))
            try:
                yield made
            finally:
                runner.draining.set()
                await work
                await bus.close()
                await database.close()
                relay.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _relay(folder: Path, engine: str, nats: str, seed: Path) -> Child:
    env = {
        "SEAWALL_DATABASE_URL_ENGINE": engine,
        "SEAWALL_NATS_URL": nats,
        "SEAWALL_NATS_CREDENTIALS": str(seed),
    }
    return Child("relay", [sys.executable, "-m", "controlplane.cli", "relay"], folder / "relay.log", env=env)


async def paced(stand: Stand, count: int) -> list[float]:
    """One intent after another at an even pace; seconds from commit to lease."""
    accepted = []
    begin = time.perf_counter()
    for number in range(count):
        accepted.append(await stand.accept())
        await asyncio.sleep(max(0.0, begin + (number + 1) / PER_SECOND - time.perf_counter()))
    await until(lambda: asyncio.sleep(0, all(subject in stand.held for subject, _ in accepted)))
    return [stand.held[subject] - at for subject, at in accepted]


async def burst(stand: Stand, count: int) -> float:
    """As fast as `CALLERS` callers can; seconds until each is held."""
    gate = asyncio.Semaphore(CALLERS)

    async def one() -> tuple[uuid.UUID, float]:
        async with gate:
            return await stand.accept()

    begin = time.perf_counter()
    accepted = await asyncio.gather(*(one() for _ in range(count)))
    await until(lambda: asyncio.sleep(0, all(subject in stand.held for subject, _ in accepted)), 60)
    return time.perf_counter() - begin


async def measure() -> list[Row]:
    """The rows of this bench."""
    async with stand() as parts:
        await paced(parts, 40)  # connections, plans, byte code
        taken = sorted(1000 * seconds for seconds in await paced(parts, INTENTS))
        together = await burst(parts, BURST)
    spread = f"{taken[0]:.1f} to {taken[-1]:.1f} ({INTENTS} intents)"
    p99 = taken[int(0.99 * len(taken)) - 1]
    conditions = f"{CONDITIONS}; {PER_SECOND}/s"
    return [
        Row(
            "intent accepted to worker holds it, p50",
            round(statistics.median(taken), 1),
            "ms",
            spread,
            "",
            None,
            conditions,
        ),
        Row(
            "intent accepted to worker holds it, p99",
            round(p99, 1),
            "ms",
            spread,
            f"<= {TARGET_MS:g} ms",
            p99 <= TARGET_MS,
            conditions,
        ),
        Row(
            "intents accepted, relayed and held in a burst",
            round(BURST / together),
            "per s",
            f"{BURST} by {CALLERS} callers",
            "",
            None,
            CONDITIONS,
        ),
    ]
