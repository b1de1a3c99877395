"""The fleets that the contract suite runs against: each gives a started cluster and a hand that is not Seawall's."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, Protocol

from controlplane.adapters.simulated import Front, SimulatedCluster, World
from controlplane.adapters.simulated.remote import LocalBackend
from controlplane.domain.health import WorkloadState
from controlplane.domain.names import (
    INSTALLATION_ANNOTATION,
    MANAGED_LABEL,
    OPERATION_ANNOTATION,
    STEP_ANNOTATION,
)
from controlplane.ports.clusters import Cluster, Fence, FencedError, Manifest, NamespaceView

_serial = itertools.count(1)
_RUN = f"{time.time_ns() // 1_000_000 % 10_000_000:07d}"


class Fleet(Protocol):
    """A cluster under contract, and somebody else who writes to it."""

    cluster: Cluster

    async def write(self, namespace: str, manifest: Manifest, manager: str = "somebody") -> None:
        """Create or merge an object as an administrator who isn't Seawall."""
        ...

    async def remove(self, namespace: str, kind: str, name: str) -> None:
        """Delete an object as that administrator."""
        ...


class SimulatedFleet:
    """The simulated fleet."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster: Cluster = cluster
        self.simulated = cluster

    async def write(self, namespace: str, manifest: Manifest, manager: str = "somebody") -> None:
        await self.simulated.control("foreign_write", namespace=namespace, manifest=manifest, manager=manager)

    async def remove(self, namespace: str, kind: str, name: str) -> None:
        await self.simulated.control("foreign_delete", namespace=namespace, kind=kind, name=name)


@asynccontextmanager
async def simulated_fleet(world: World | None = None) -> AsyncIterator[SimulatedFleet]:
    """A simulated fleet in this process, installed and started."""
    world = world or World(seed=1)
    cluster = SimulatedCluster("sim", LocalBackend(Front(world)), world.clock)
    await cluster.start()
    await cluster.install()
    try:
        yield SimulatedFleet(cluster)
    finally:
        await cluster.close()


async def until[T](look: Callable[[], T], within: float = 30.0) -> T:
    """Wait until `look` gives something true; fails with what it gave last."""

    async def looked() -> T:
        return look()

    return await until_read(looked, within)


async def until_read[T](look: Callable[[], Awaitable[T]], within: float = 30.0) -> T:
    """Wait until `look`, which asks the cluster, gives something true; fails with what it gave last."""
    deadline = time.monotonic() + within
    while not (seen := await look()):
        assert time.monotonic() < deadline, f"not within {within} s; last seen: {seen!r}"
        await asyncio.sleep(0.01)
    return seen


def fresh_name(stem: str = "t") -> str:
    """A namespace name that no other test uses, also on a cluster that outlives this run."""
    return f"{stem}-{_RUN}-{next(_serial)}"


def notes(operation: str = "op-1") -> dict[str, str]:
    """The annotations of a namespace made by this operation."""
    return {OPERATION_ANNOTATION: operation, INSTALLATION_ANNOTATION: "test"}


def fence(epoch: int = 1, step: str = "step-1") -> Fence:
    """A writer's right."""
    return Fence(epoch, step, "rev-1")


async def fenced(fleet: Fleet, namespace: str, epoch: int = 1) -> bool:
    """Whether a seal above `epoch` acts: a real cluster's admission hears of it some milliseconds later."""
    try:
        await fleet.cluster.apply(namespace, config_map("probe"), fence(epoch))
    except FencedError:
        return True
    return False


async def sealed_namespace(fleet: Fleet, epoch: int = 1) -> NamespaceView:
    """A new namespace, sealed with the epoch and ready for a deployer."""
    name = fresh_name()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    made = await fleet.cluster.create_namespace(name, labels, notes())
    sealed = await fleet.cluster.seal(name, made.uid, fence(epoch))
    for manifest in deployer():
        await fleet.cluster.apply(name, manifest, fence(epoch), "platform")
    return sealed


def deployer() -> list[Manifest]:
    """The deployer of a namespace and its rights, as onboarding writes them."""
    meta = {"name": "seawall-deployer", "labels": {MANAGED_LABEL: "true"}}
    rules = [{"apiGroups": ["", "apps", "batch"], "resources": ["*"], "verbs": ["*"]}]
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "seawall-deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "seawall-deployer"}],
        },
    ]


def config_map(name: str = "settings", **data: str) -> Manifest:
    """A marked ConfigMap."""
    meta = {"name": name, "labels": {MANAGED_LABEL: "true"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def unmarked(manifest: Manifest) -> Manifest:
    """A copy without Seawall's marks: what somebody else may write."""
    copy = deepcopy(manifest)
    copy["metadata"].pop("labels", None)
    return copy


def deployment(
    name: str = "web", image: str = "registry.example/web@sha256:" + "1" * 64, fault: str = "", replicas: int | None = 1
) -> Manifest:
    """A marked Deployment that is valid under Pod Security `restricted`."""
    notes = {"seawall.test/fault": fault} if fault else {}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}, "annotations": notes}, "spec": pod_spec(image)},
    }
    if replicas is not None:
        spec["replicas"] = replicas
    meta = {"name": name, "labels": {MANAGED_LABEL: "true"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def job(name: str, step: str, fault: str = "", finalizers: tuple[str, ...] = ()) -> Manifest:
    """A marked Job that belongs to a step."""
    notes = {"seawall.test/fault": fault} if fault else {}
    spec = pod_spec("registry.example/job@sha256:" + "2" * 64) | {"restartPolicy": "Never"}
    meta = {"name": name, "labels": {MANAGED_LABEL: "true"}, "annotations": {STEP_ANNOTATION: step}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta | ({"finalizers": list(finalizers)} if finalizers else {}),
        "spec": {"backoffLimit": 0, "template": {"metadata": {"annotations": notes}, "spec": spec}},
    }


def pod_spec(image: str) -> dict[str, Any]:
    """One container that may do nothing."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}}
    return {
        "containers": [{"name": "main", "image": image, "securityContext": security, "resources": resources}],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    }


def quota(name: str = "tier", **hard: str) -> Manifest:
    """A marked ResourceQuota; `count_` in a name stands for `count/`."""
    limits = {key.replace("count_", "count/"): value for key, value in hard.items()}
    meta = {"name": name, "labels": {MANAGED_LABEL: "true"}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": limits}}


def changed_copy(manifest: Manifest, change: Callable[[Manifest], object]) -> Manifest:
    """A deep copy, changed."""
    copy = deepcopy(manifest)
    change(copy)
    return copy


def state(fleet: Fleet, namespace: str, kind: str = "Deployment", name: str = "web") -> WorkloadState | None:
    """A workload from the cluster's cache."""
    return fleet.cluster.workloads(namespace).get((kind, name))
