"""A wave over the local control plane against a bare patch-and-watch loop on the same API server, alternating.

Both arms move one Deployment of each tenant to a new image at the same cap and by the same done rule. Seawall's arm is the whole
engine: registry with fsync, ledger, budgets, seal, epochs, the driver; PostgreSQL runs on the same two cores.
`SEAWALL_BENCH_TENANTS` (100,1000) and `SEAWALL_BENCH_RUNS` (3) set the size.
"""

from __future__ import annotations

import itertools
import time
from functools import partial

from controlplane.adapters.kubernetes.cluster import KubernetesCluster
from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.domain.names import FENCED_LABEL, MANAGED_LABEL, digest_of
from controlplane.ports.clusters import Manifest
from tests.bench.bare_loop import BareLoop
from tests.bench.bench_engine import CAP, CLUSTER, Stand, registry, roll_out
from tests.bench.rows import Row, repeats, side_by_side, sizes
from tests.contract.fleets import deployer, deployment, fence, notes, unmarked
from tests.support.charts import manifests

_HOW = "local control plane (kube-apiserver, controllers, scheduler, kwok; tuned controllers), PostgreSQL with fsync, all on one machine"
_tags = itertools.count(1)


def next_image() -> str:
    """An image no tenant has run: going back to an old one would reuse its ReplicaSet."""
    return f"registry.example/web@{digest_of(f'{time.time_ns()} {next(_tags)}')}"


async def measure() -> list[Row]:
    """The ratio for each size."""
    return [row for size in sizes() for row in await _size(size, repeats())]


async def _size(tenants: int, runs: int) -> list[Row]:
    with LocalControlPlane() as plane:
        cluster = await KubernetesCluster.connect(CLUSTER, plane.kubeconfig)
        await cluster.start()
        await cluster.install()
        # A manager of its own: as `seawall` it would drop Seawall's marks, which the fence refuses.
        bare = BareLoop(plane.kubeconfig, manager="bare")
        await bare.start()
        try:
            uids = await _namespaces(cluster, [f"t{n:05}" for n in range(tenants)])
            async with registry(cluster, uids) as stand:
                await _seawall(stand, next_image())
                pairs = [(await _bare(bare, list(uids)), await _seawall(stand, next_image())) for _ in range(runs)]
        finally:
            await bare.close()
            await cluster.close()
    return _rows(tenants, pairs)


async def _namespaces(cluster: KubernetesCluster, names: list[str]) -> dict[str, str]:
    uids: dict[str, str] = {}

    async def one(name: str) -> None:
        made = await cluster.create_namespace(name, {MANAGED_LABEL: "true", FENCED_LABEL: "true"}, notes())
        await cluster.seal(name, made.uid, fence(1))
        for manifest in deployer():
            await cluster.apply(name, manifest, fence(1), "platform")
        uids[name] = made.uid

    await side_by_side(CAP, [partial(one, name) for name in names])
    return {name: uids[name] for name in names}


async def _bare(bare: BareLoop, names: list[str]) -> float:
    manifest = _plain(next_image())
    start = time.perf_counter()
    await side_by_side(CAP, [partial(bare.move, name, manifest) for name in names])
    return time.perf_counter() - start


async def _seawall(stand: Stand, image: str) -> float:
    body = manifests(_plain(image))
    source = {"format": "manifests", "artifact": digest_of(body)}
    return (await roll_out(stand, f"v{next(_tags)}", body, source=source, images={"web": image})).wall


def _plain(image: str) -> Manifest:
    return unmarked(deployment(image=image))


def _rows(tenants: int, pairs: list[tuple[float, float]]) -> list[Row]:
    ratios = sorted(ours / bare for bare, ours in pairs)
    rates = sorted(tenants / ours for _, ours in pairs)
    median = ratios[len(ratios) // 2]
    what = f"{tenants} tenants, cap {CAP}, {len(pairs)} pairs, alternating; {_HOW}"
    return [
        Row(
            f"wave of {tenants} tenants / bare patch-and-watch loop",
            round(median, 3),
            "x",
            f"{ratios[0]:.3g} to {ratios[-1]:.3g}",
            "<= 1.3 x",
            median <= 1.3,
            what,
        ),
        Row(
            f"wave of {tenants} tenants",
            round(rates[len(rates) // 2], 2),
            "tenants/s",
            f"{rates[0]:.3g} to {rates[-1]:.3g}",
            "",
            None,
            what,
        ),
    ]
