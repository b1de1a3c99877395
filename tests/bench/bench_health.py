"""From the watch event of ill health to the last step that was still issued: how fast a rollout stops itself.

Each round rolls a release out that crashes in one tenant after it was ready, while it soaks. The clock starts when this process
receives the watch event that shows the crash; every ISSUED commit of the rollout after that counts against us.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field

from controlplane.adapters.postgres.engine.store import PostgresEngineStore
from controlplane.adapters.postgres.gates import PostgresVotes
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.adapters.simulated import Front, SimulatedCluster, World
from controlplane.adapters.simulated.profile import FaultRule, Profile
from controlplane.adapters.simulated.remote import LocalBackend
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.ports.clusters import NamespaceChange
from controlplane.ports.gates import GatePorts
from controlplane.services.driver import drive
from controlplane.services.fleet import Fleet as Gate
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.bench.bench_engine import CLUSTER, Stand, namespace_of, registry
from tests.bench.rows import Row
from tests.services.engine.conftest import OneCluster

ROUNDS = 20
TENANTS = 150
STRATEGY = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0.3S", "samples": 2}}],
    "limits": {"inFlight": 20},
    "success": {"maxFailures": 0, "progressDeadline": "PT2S"},
}


@dataclass
class Ear:
    """Notes when this process hears that the tenant's workload lost its pods after it had them."""

    cluster: SimulatedCluster
    tenant: str
    was_ready: bool = False
    heard_at: float = 0.0
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, change: NamespaceChange) -> None:
        state = self.cluster.workloads(self.tenant).get(("Deployment", "web"))
        if change.namespace != self.tenant or state is None or self.heard_at:
            return
        ready = state.available >= state.replicas and state.updated >= state.replicas
        if self.was_ready and not ready and state.updated >= state.replicas:
            self.heard_at = time.time()
            self.heard.set()
        self.was_ready = ready


async def measure() -> list[Row]:
    """The 99th percentile over the rounds (with so few, the worst)."""
    world = World(seed=3)
    cluster = SimulatedCluster(CLUSTER, LocalBackend(Front(world)), world.clock)
    await cluster.start()
    await cluster.install()
    names = [f"t{n:03}" for n in range(TENANTS)]
    uids = {name: await namespace_of(cluster, name) for name in names}
    async with registry(cluster, uids) as stand:
        stand.rows.config("strategies", "stop", STRATEGY)
        await _roll_out(stand, "0.0", "bench")
        delays = [await _round(stand, world, cluster, number) for number in range(1, ROUNDS + 1)]
    await cluster.close()
    worst = max(delays)
    what = (
        f"{ROUNDS} rounds, {TENANTS} tenants, 20 in flight, a soak of 0.3 s so that others start all the time, simulated fleet,"
        " PostgreSQL with fsync; 0 where nothing was issued any more"
    )
    spread = f"{min(delays):.3f} to {worst:.3f} ({ROUNDS} rounds)"
    return [
        Row("ill health received -> last ISSUED commit", round(worst, 3), "s", spread, "<= 1 s (p99)", worst <= 1, what)
    ]


async def _round(stand: Stand, world: World, cluster: SimulatedCluster, number: int) -> float:
    """Seconds from the event to the last commit that issued anything forward."""
    version, victim = f"{number}.0", f"t{40 + 3 * number:03}"
    stand.rows.release(version)
    image = stand.rows.ask("select spec->'images'->>'web' from releases where version = %s", version)[0][0]
    world.profile = Profile(
        ready=(0.05, 0.3),
        crash=(0.02, 0.2),
        faults=(FaultRule(namespace=victim, image=image, fault="crash-after-ready"),),
    )
    ear = Ear(cluster, victim)
    end = cluster.subscribe(ear)
    rollout = await _roll_out(stand, version, "stop", register=False)
    end()
    assert ear.heard_at, "the crash was not heard"
    statement = "select extract(epoch from max(issued_at)) from steps where subject_id = %s and phase = 'apply'"
    last = float(stand.rows.ask(statement, rollout)[0][0])
    stand.rows.run("update holds set lifted_at = now(), lift_reason = 'bench' where lifted_at is null")
    return max(0.0, last - ear.heard_at)


async def _roll_out(stand: Stand, version: str, strategy: str, *, register: bool = True) -> uuid.UUID:
    if register:
        stand.rows.release(version)
    ask = Ask(RolloutRequest.model_validate({"release": f"odoo/{version}", "strategy": strategy}))
    tools = RolloutTools(open=stand.database.platform)
    started = await plan_and_start(tools, ask, actor="bench", origin={"kind": "person"})
    gate = Gate(OneCluster(stand.cluster))
    await gate.proven(CLUSTER)
    lease = await PostgresLeases(stand.database).take("rollout", started.id, "bench")
    assert lease is not None
    await drive(
        PostgresEngineStore(stand.database), gate, lease, asyncio.Event(), GatePorts(PostgresVotes(stand.database))
    )
    await gate.close()
    return started.id
