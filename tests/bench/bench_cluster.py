"""The Kubernetes adapter against a bare loop on the same local control plane, in one run.

Both arms use the same manifests, the same cap and the same done rule, and take turns every hundred tenants. The
bare loop patches as an administrator, without sealing and without epochs; the adapter seals each namespace, writes as its
deployer and waits on its cache.
`SEAWALL_BENCH_TENANTS` (300) and `SEAWALL_BENCH_RUNS` (1 pair) set the size.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import batched

import orjson

from controlplane.adapters.fleet.cache import FleetCache
from controlplane.adapters.kubernetes.cluster import KubernetesCluster
from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.domain.health import Expected, Health, judge_workload
from controlplane.ports.clusters import Manifest, NamespaceChange
from tests.bench.bare_loop import BareLoop
from tests.bench.rows import Row, side_by_side
from tests.contract.fleets import config_map, deployer, deployment, fence, notes

CAP = 50
BLOCK = 100
"""Tenants (or updates) that one arm does before the other has its turn."""
UPDATES = 2000
_HOW = "local control plane (kube-apiserver, controllers, scheduler, kwok; tuned controllers), one machine"


@dataclass(frozen=True)
class Pair:
    """Seconds of the two arms for the same work."""

    bare: float
    ours: float


@dataclass
class Fleet:
    """Namespaces to move, with the uid of each and the epoch it is sealed with."""

    cluster: KubernetesCluster
    bare: BareLoop
    uids: dict[str, str]
    epoch: int = 1
    tag: int = 0

    def next_image(self) -> Manifest:
        """A Deployment that differs from all before: going back to an old image would reuse its ReplicaSet."""
        self.tag += 1
        return deployment(image=f"registry.example/web:{self.tag}")


async def measure() -> list[Row]:
    """Updates a second, and a pass over all tenants at the cap, each as a ratio to the bare loop."""
    tenants, runs = int(os.environ.get("SEAWALL_BENCH_TENANTS", "300")), int(os.environ.get("SEAWALL_BENCH_RUNS", "1"))
    with LocalControlPlane() as plane:
        cluster = await KubernetesCluster.connect("bench", plane.kubeconfig)
        await cluster.install()
        await cluster.start()
        bare = BareLoop(plane.kubeconfig)
        await bare.start()
        fleet = Fleet(cluster, bare, {})
        try:
            onboarded = await _timed(lambda: _onboard(fleet, tenants))
            updates = [await _updates(fleet) for _ in range(runs)]
            passes = [await _passes(fleet) for _ in range(runs)]
        finally:
            await bare.close()
            await cluster.close()
    return [
        *_update_rows(updates),
        *_pass_rows(passes, tenants),
        _onboard_row(onboarded, tenants),
        _memory_row(),
    ]


async def _onboard(fleet: Fleet, count: int) -> None:
    async def one(name: str) -> None:
        made = await fleet.cluster.create_namespace(name, {}, notes())
        await fleet.cluster.seal(name, made.uid, fence(fleet.epoch))
        for manifest in deployer():
            await fleet.cluster.apply(name, manifest, fence(fleet.epoch), "platform")
        fleet.uids[name] = made.uid

    await side_by_side(CAP, [partial(one, f"bench-{n}") for n in range(count)])
    with _mover(fleet) as move:
        await side_by_side(CAP, [partial(move, name) for name in fleet.uids])


async def _updates(fleet: Fleet) -> Pair:
    """Seconds for `UPDATES` server-side applies of changed ConfigMaps."""
    names = list(fleet.uids)

    async def through_adapter(number: int) -> None:
        await fleet.cluster.apply(names[number % len(names)], config_map(n=f"a{number}"), fence(fleet.epoch))

    async def bare(number: int) -> None:
        await fleet.bare.apply(names[number % len(names)], "configmaps", config_map(n=f"b{number}"))

    await side_by_side(CAP, [partial(through_adapter, number) for number in range(len(names))])
    blocks = list(batched(range(UPDATES), BLOCK, strict=False))
    return await _alternate(blocks, bare, through_adapter)


async def _passes(fleet: Fleet) -> Pair:
    """Seconds to bring every tenant to a new image and see it done."""
    manifest = fleet.next_image()

    async def bare(name: str) -> None:
        await fleet.bare.move(name, manifest)

    with _mover(fleet) as move:
        return await _alternate(list(batched(fleet.uids, BLOCK, strict=False)), bare, move)


async def _alternate[T](
    blocks: list[tuple[T, ...]], bare: Callable[[T], Awaitable[None]], ours: Callable[[T], Awaitable[None]]
) -> Pair:
    """Time both arms block by block in turn, so that what else the machine does hits both alike."""
    seconds = [0.0, 0.0]
    for number, block in enumerate(blocks):
        arms = [(0, bare), (1, ours)]
        for index, work in arms if number % 2 else reversed(arms):
            start = time.perf_counter()
            await side_by_side(CAP, [partial(work, one) for one in block])
            seconds[index] += time.perf_counter() - start
    return Pair(*seconds)


@contextmanager
def _mover(fleet: Fleet) -> Iterator[Callable[[str], Awaitable[None]]]:
    """Moves a tenant to a new image: seal, apply, and wait on the cache."""
    fleet.epoch += 1
    manifest, cluster = fleet.next_image(), fleet.cluster
    changed: dict[str, asyncio.Event] = {name: asyncio.Event() for name in fleet.uids}

    def heard(change: NamespaceChange) -> None:
        if change.namespace in changed:
            changed[change.namespace].set()

    async def one(name: str) -> None:
        await cluster.seal(name, fleet.uids[name], fence(fleet.epoch))
        applied = await cluster.apply(name, manifest, fence(fleet.epoch))
        expected = Expected("Deployment", "web", applied.ref.uid, applied.generation)
        while True:
            changed[name].clear()
            if judge_workload(expected, cluster.workloads(name).get(("Deployment", "web"))).health is Health.HEALTHY:
                return
            await changed[name].wait()

    end = cluster.subscribe(heard)
    try:
        yield one
    finally:
        end()


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


def _update_rows(runs: list[Pair]) -> list[Row]:
    rates = sorted(UPDATES / run.ours for run in runs)
    ratios = sorted(run.ours / run.bare for run in runs)
    what = f"{UPDATES} changed ConfigMaps, {CAP} at once, fenced and impersonated; {_HOW}"
    return [
        _row("server-side applies through the adapter", rates, "1/s", None, what),
        _row("the same / bare loop as administrator", ratios, "x", None, what),
    ]


def _pass_rows(runs: list[Pair], tenants: int) -> list[Row]:
    what = f"{tenants} tenants, cap {CAP}, seal + apply + wait until done; {_HOW}"
    return [
        _row(
            "pass over the fleet through the adapter",
            sorted(tenants / run.ours for run in runs),
            "tenants/s",
            None,
            what,
        ),
        _row("the same / bare patch-and-watch loop", sorted(run.ours / run.bare for run in runs), "x", 1.3, what),
    ]


def _onboard_row(seconds: float, tenants: int) -> Row:
    what = (
        f"Namespace, seal, deployer with its role, first Deployment healthy; {tenants} tenants, {CAP} at once; {_HOW}"
    )
    return _row("namespaces made ready", [tenants / seconds], "tenants/s", None, what)


def _memory_row() -> Row:
    """What the cache of 10,000 tenants takes: a Namespace with six labels, two Deployments and a quota of eight resources each."""
    gc.collect()
    tracemalloc.start()
    cache = FleetCache("bench", time.monotonic, [])
    for number in range(10_000):
        for obj in _tenant_objects(f"tenant-{number}"):
            cache.put(orjson.loads(orjson.dumps(obj)))
    gc.collect()
    megabytes = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    what = "10,000 tenants: Namespace, two Deployments, one quota each; Python's own count, without the 60 MB of the client library"
    return _row("memory of the cache", [megabytes], "MB", 100, what)


def _tenant_objects(name: str) -> list[Manifest]:
    labels = {f"seawall.dev/{key}": "some-value" for key in ("managed", "fenced", "tenant", "environment", "a", "b")}
    meta = {"name": name, "uid": f"uid-{name}", "labels": labels, "annotations": {"seawall.dev/epoch": "7"}}
    amounts = dict.fromkeys(
        ("pods", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "a", "b", "c"), "12"
    )
    inner = {"namespace": name, "uid": f"uid-of-{name}", "labels": labels, "generation": 3}
    return [
        {"kind": "Namespace", "metadata": meta},
        {
            "kind": "ResourceQuota",
            "metadata": {**inner, "name": "seawall"},
            "status": {"hard": amounts, "used": amounts},
        },
        *(
            {"kind": "Deployment", "metadata": {**inner, "name": app}, "spec": {}, "status": {}}
            for app in ("web", "cron")
        ),
    ]


def _row(name: str, values: list[float], unit: str, at_most: float | None, conditions: str) -> Row:
    median = values[len(values) // 2]
    spread = f"{values[0]:.3g} to {values[-1]:.3g} ({len(values)} runs)"
    target = "" if at_most is None else f"<= {at_most:g} {unit}"
    return Row(name, round(median, 3), unit, spread, target, None if at_most is None else median <= at_most, conditions)
