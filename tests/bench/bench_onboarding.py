"""Onboarding over the local control plane against a bare apply loop of the same objects on the same API server, alternating.

Both arms make one Namespace and nine objects per tenant, with as many calls in flight. Seawall's arm is the whole way: names
reserved, ledger, seal, epochs, impersonated and fenced writes, the phase at the end; PostgreSQL (fsync on) runs on the same
two cores. `SEAWALL_BENCH_TENANTS` (100,1000) and `SEAWALL_BENCH_RUNS` (3) set the size.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial

import aiohttp
import orjson

from controlplane.adapters.kubernetes.cluster import KubernetesCluster
from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.domain.tenants import TenantSpec
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.walls_objects import Place, wall_objects
from controlplane.ports.clusters import Manifest
from controlplane.services.fleet import Fleet as Gate
from controlplane.services.onboarding import batch_onboard
from controlplane.services.operations.driver import drive_operation
from controlplane.services.operations.installer import RolloutInstaller
from controlplane.services.operations.run import CALLS, OperationTools
from controlplane.services.rollouts.tools import RolloutTools
from tests.bench.bare_loop import BareLoop
from tests.bench.bench_engine import CLUSTER, Stand, registry
from tests.bench.rows import Row, repeats, side_by_side, sizes
from tests.contract.fleets import unmarked
from tests.services.engine.conftest import OneCluster

_HOW = (
    "local control plane (kube-apiserver, controllers, scheduler, kwok; tuned controllers), PostgreSQL with fsync, all on "
    f"one machine; {CALLS} calls in flight in both arms; a namespace and nine objects per tenant"
)
_PLURALS = {"NetworkPolicy": "networkpolicies"}
_numbers = itertools.count(1)


class BareOnboarder(BareLoop):
    """The floor: create the Namespace, then apply what belongs in it."""

    async def onboard(self, name: str) -> None:
        """Make one tenant's walls, one object after the other."""
        assert self._session is not None
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
        body = orjson.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        headers = {"Content-Type": "application/json"}
        async with self._session.post("/api/v1/namespaces", data=body, headers=headers) as answer:
            answer.raise_for_status()
        for manifest in wall_objects(Place(name, "production", name), TierSpec(), ClusterSpec()):
            await self._wall(name, unmarked(manifest))

    async def _wall(self, name: str, manifest: Manifest) -> None:
        plural = _PLURALS.get(manifest["kind"], manifest["kind"].lower() + "s")
        while True:
            try:
                await self.apply(name, plural, manifest)
            except aiohttp.ClientResponseError as error:
                if error.status != 409:  # the quota controller writes to a new ResourceQuota at the same moment
                    raise
            else:
                return


async def measure() -> list[Row]:
    """The ratio for each size."""
    return [row for size in sizes() for row in await _size(size, repeats())]


async def _size(tenants: int, runs: int) -> list[Row]:
    with LocalControlPlane() as plane:
        cluster = await KubernetesCluster.connect(CLUSTER, plane.kubeconfig)
        await cluster.start()
        await cluster.install()
        bare = BareOnboarder(plane.kubeconfig, manager="bare")
        await bare.start()
        gate = Gate(OneCluster(cluster))
        await gate.proven(CLUSTER)
        try:
            async with registry(cluster, {}) as stand:
                await _seawall(stand, gate, 10)
                pairs = [await _pair(bare, stand, gate, tenants, bare_first=n % 2 == 0) for n in range(runs)]
        finally:
            await gate.close()
            await bare.close()
            await cluster.close()
    return _rows(tenants, pairs)


@dataclass(frozen=True)
class Spent:
    """What one arm took: seconds, and seconds of this process's CPU."""

    seconds: float
    cpu: float

    @classmethod
    async def on(cls, work: Awaitable[float]) -> Spent:
        """Do the work, which says its seconds."""
        before = time.process_time()
        seconds = await work
        return cls(seconds, time.process_time() - before)


async def _pair(
    bare: BareOnboarder, stand: Stand, gate: Gate, tenants: int, *, bare_first: bool
) -> tuple[Spent, Spent]:
    """What both arms took, taking turns at going first: the controllers still work on the first one's namespaces during the second."""
    if bare_first:
        return await Spent.on(_bare(bare, tenants)), await Spent.on(_seawall(stand, gate, tenants))
    ours = await Spent.on(_seawall(stand, gate, tenants))
    return await Spent.on(_bare(bare, tenants)), ours


def _names(tenants: int) -> list[str]:
    run = next(_numbers)
    return [f"r{run}-t{n:05}" for n in range(tenants)]


async def _bare(bare: BareOnboarder, tenants: int) -> float:
    names = _names(tenants)
    start = time.perf_counter()
    await side_by_side(CALLS, [partial(bare.onboard, name) for name in names])
    return time.perf_counter() - start


async def _seawall(stand: Stand, gate: Gate, tenants: int) -> float:
    lines = b"\n".join(_line(name) for name in _names(tenants))
    tools = OperationTools(stand.database, gate, RolloutInstaller(RolloutTools(open=stand.database.engine)))
    start = time.perf_counter()
    async with stand.database.platform() as uow:
        operation = await batch_onboard(uow, lines, actor="bench")
    lease = await PostgresLeases(stand.database).take("operation", operation, "bench")
    assert lease is not None
    await drive_operation(tools, lease, asyncio.Event())
    wall = time.perf_counter() - start
    states = stand.rows.ask(
        "select state, count(*) from operation_items where operation_id = %s group by state", operation
    )
    assert states == [("succeeded", tenants)], states
    return wall


def _line(name: str) -> bytes:
    environments = {"production": {"cluster": CLUSTER}}
    spec = {"name": name, "tier": "standard", "region": "west", "environments": environments}
    return TenantSpec.model_validate(spec).model_dump_json().encode()


def _rows(tenants: int, pairs: list[tuple[Spent, Spent]]) -> list[Row]:
    ratios = sorted(ours.seconds / bare.seconds for bare, ours in pairs)
    rates = sorted(tenants / ours.seconds for _, ours in pairs)
    floors = sorted(tenants / bare.seconds for bare, _ in pairs)
    cpu = sorted(1000 * ours.cpu / tenants for _, ours in pairs)
    least = sorted(1000 * bare.cpu / tenants for bare, _ in pairs)
    ratio, rate, floor = (values[len(values) // 2] for values in (ratios, rates, floors))
    what = f"{tenants} tenants, {len(pairs)} pairs, alternating; {_HOW}"
    spread = f"{ratios[0]:.3g} to {ratios[-1]:.3g}"
    return [
        Row(
            f"onboarding {tenants} tenants / bare apply loop",
            round(ratio, 3),
            "x",
            spread,
            "<= 1.3 x",
            ratio <= 1.3,
            what,
        ),
        Row(
            f"driver CPU per tenant, onboarding {tenants}",
            round(cpu[len(cpu) // 2], 2),
            "ms",
            f"{cpu[0]:.3g} to {cpu[-1]:.3g} (bare loop {least[len(least) // 2]:.3g}; PostgreSQL and the cluster not counted)",
            "",
            None,
            what,
        ),
        Row(
            f"onboarding {tenants} tenants",
            round(rate, 2),
            "tenants/s",
            f"{rates[0]:.3g} to {rates[-1]:.3g} (bare loop {floor:.3g})",
            "",
            None,
            what,
        ),
    ]
