"""The Cluster port on a real Kubernetes API server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from controlplane.adapters.fleet.cache import WATCHED, FleetCache
from controlplane.adapters.fleet.cached import CachedReads
from controlplane.adapters.fleet.explain import explain_pods
from controlplane.adapters.fleet.signs import DRIFT_KINDS, Signs
from controlplane.adapters.fleet.states import namespace_view
from controlplane.adapters.kubernetes.call_metrics import WATCH_LIVE
from controlplane.adapters.kubernetes.capacity import Capacity
from controlplane.adapters.kubernetes.config import load_client
from controlplane.adapters.kubernetes.drift_watch import DriftWatches
from controlplane.adapters.kubernetes.fence import FenceControl
from controlplane.adapters.kubernetes.heartbeat import Heartbeat
from controlplane.adapters.kubernetes.identities import HEARTBEAT, SYSTEM_NAMESPACE
from controlplane.adapters.kubernetes.namespaces import Namespaces
from controlplane.adapters.kubernetes.reads import Reads
from controlplane.adapters.kubernetes.resources import Resources, group_path
from controlplane.adapters.kubernetes.surroundings import Surroundings
from controlplane.adapters.kubernetes.transport import Transport
from controlplane.adapters.kubernetes.watches import KindWatch, Watched, Watches
from controlplane.adapters.kubernetes.writes import Writes
from controlplane.domain.apps import Dependency
from controlplane.domain.capacity import Room
from controlplane.domain.disturbance import Circumstances, Nodes
from controlplane.ports.clusters import (
    Applied,
    DriftSign,
    Fence,
    FencedError,
    Identity,
    Manifest,
    NamespaceChange,
    NamespaceGoneError,
    NamespaceView,
    ObjectRef,
)

_PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
DRIFT = tuple(Watched(api, kind, _PLURALS.get(kind, f"{kind.lower()}s")) for api, kind in DRIFT_KINDS)
KINDS = tuple(Watched(api_version, kind, f"{kind.lower()}s") for api_version, kind in WATCHED)
_EXPLAINED = (("v1", "Pod"), ("v1", "Event"))


class KubernetesCluster(CachedReads):
    """One cluster behind one API server address."""

    def __init__(self, name: str, transport: Transport) -> None:
        self._name = name
        self._transport = transport
        self._cache = FleetCache(name, time.monotonic, [one.kind for one in KINDS])
        self._resources = Resources(transport)
        self._writes = Writes(transport, self._resources)
        self._namespaces = Namespaces(transport)
        self._reads = Reads(transport, self._resources)
        self._capacity = Capacity(transport)
        self._fence = FenceControl(transport, self._resources, name)
        self._beat = Heartbeat(transport, self._cache, {one.kind: _heartbeat_path(one) for one in KINDS})
        self._cache.subscribe(self._gauge)
        self._signs = Signs(name)
        self._surroundings = Surroundings(transport, self._reads)
        self._watches = Watches(
            lambda one: KindWatch(one, transport, self._cache, self._beat, self._signs),
            KINDS,
            self._surroundings.watch,
        )
        self._drift = DriftWatches(transport, self._signs, self._cache, DRIFT)

    def _gauge(self, change: NamespaceChange) -> None:
        if change.liveness:
            WATCH_LIVE.labels(self._name).set(self._cache.live())

    @classmethod
    async def connect(cls, name: str, kubeconfig: Path | None = None, context: str | None = None) -> KubernetesCluster:
        """A cluster from a kubeconfig, or as the pod's ServiceAccount. Raises `DependencyError` (`cluster-misconfigured`)."""
        return cls(name, Transport(await load_client(kubeconfig, context), name))

    @property
    def name(self) -> str:
        """See `Cluster.name`."""
        return self._name

    @property
    def kind(self) -> str:
        """Always `kubernetes`."""
        return "kubernetes"

    async def start(self) -> None:
        """See `Cluster.start`. Raises `ClusterUnavailableError` if the server doesn't answer; `live` tells when the watches are."""
        await self._reads.version()
        self._beat.start()
        self._watches.start()

    async def close(self) -> None:
        """See `Cluster.close`."""
        await self._drift.close()
        await self._watches.close()
        await self._beat.close()
        await self._transport.close()

    async def install(self) -> None:
        """See `Cluster.install`."""
        await self._fence.install()
        self._watches.hurry()
        self._beat.hurry()

    async def prove_fence(self) -> None:
        """See `Cluster.prove_fence`."""
        await self._fence.prove()
        if not self._cache.live():
            self._watches.hurry()
            self._beat.hurry()

    def listen_for_drift(self, on_sign: Callable[[DriftSign], None]) -> Callable[[], None]:
        """See `Cluster.listen_for_drift`."""
        self._drift.start()
        return self._signs.listen(on_sign)

    async def absent(self, namespace: str, objects: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]] | None:
        """See `Cluster.absent`."""
        return self._drift.absent(namespace, objects) if self._cache.live() else None

    async def room(self) -> Room | None:
        """See `Cluster.room`."""
        return await self._capacity.room()

    async def read_namespace(self, name: str) -> NamespaceView | None:
        """See `Cluster.read_namespace`."""
        found = await self._namespaces.read(name)
        return namespace_view(found) if found else None

    async def create_namespace(
        self, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]
    ) -> NamespaceView:
        """See `Cluster.create_namespace`."""
        return await self._namespaces.create(name, labels, annotations)

    async def seal(
        self, namespace: str, uid: str, fence: Fence, labels: Mapping[str, str] | None = None
    ) -> NamespaceView:
        """See `Cluster.seal`."""
        return await self._namespaces.seal(namespace, uid, fence, labels or {})

    async def ensure_priority_class(self, manifest: Manifest) -> None:
        """See `Cluster.ensure_priority_class`."""
        await self._namespaces.ensure_priority_class(manifest)

    async def apply(self, namespace: str, manifest: Manifest, fence: Fence, identity: Identity = "deployer") -> Applied:
        """See `Cluster.apply`."""
        return await self._writes.apply(namespace, manifest, fence.epoch, identity)

    async def create(
        self, namespace: str, manifest: Manifest, fence: Fence, identity: Identity = "deployer"
    ) -> Applied:
        """See `Cluster.create`."""
        return await self._writes.create(namespace, manifest, fence.epoch, identity)

    async def delete(self, namespace: str, ref: ObjectRef, fence: Fence, identity: Identity = "deployer") -> bool:
        """See `Cluster.delete`."""
        return await self._writes.delete(namespace, ref, fence.epoch, identity)

    async def delete_namespace(self, namespace: str, uid: str, fence: Fence) -> bool:
        """See `Cluster.delete_namespace`."""
        return await self._namespaces.delete(namespace, uid, fence)

    async def release_finalizer(
        self, namespace: str, ref: ObjectRef, fence: Fence, identity: Identity = "deployer"
    ) -> None:
        """See `Cluster.release_finalizer`."""
        await self._writes.release_finalizer(namespace, ref, fence.epoch, identity)

    async def get(self, namespace: str, ref: ObjectRef) -> Manifest | None:
        """See `Cluster.get`."""
        return await self._reads.get(namespace, ref)

    async def list_objects(self, namespace: str, kinds: Sequence[tuple[str, str]]) -> list[Manifest]:
        """See `Cluster.list_objects`."""
        return await self._reads.list_objects(namespace, kinds)

    async def dry_run(self, namespace: str, manifest: Manifest) -> None:
        """See `Cluster.dry_run`. The cached epoch may be old: a fenced answer is asked again with the real one."""
        cached = self._cache.namespace(namespace)
        epoch = cached.epoch if cached else await self._epoch(namespace)
        try:
            await self._writes.apply(namespace, manifest, epoch, "deployer", dry_run=True)
        except FencedError:
            epoch = await self._epoch(namespace)
            await self._writes.apply(namespace, manifest, epoch, "deployer", dry_run=True)

    async def _epoch(self, namespace: str) -> int:
        found = await self.read_namespace(namespace)
        if found is None:
            raise NamespaceGoneError(f"Namespace {namespace} does not exist. Onboard the tenant again.")
        return found.epoch

    async def explain(self, namespace: str, expected: Sequence[tuple[str, str]]) -> str:
        """See `Cluster.explain`."""
        found = await self._reads.list_objects(namespace, _EXPLAINED)
        pods = [one for one in found if one["kind"] == "Pod"]
        events = [one for one in found if one["kind"] == "Event"]
        return explain_pods(expected, self.workloads(namespace), pods, events)

    def nodes(self) -> Nodes:
        """See `Cluster.nodes`."""
        return self._surroundings.nodes()

    async def circumstances(self, namespace: str, dependencies: Sequence[Dependency]) -> Circumstances:
        """See `Cluster.circumstances`."""
        return await self._surroundings.around(namespace, dependencies)

    async def version(self) -> str:
        """See `Cluster.version`."""
        return await self._reads.version()


def _heartbeat_path(watched: Watched) -> str:
    if watched.kind == "Namespace":
        return f"/api/v1/namespaces/{SYSTEM_NAMESPACE}"
    return f"{group_path(watched.api_version)}/namespaces/{SYSTEM_NAMESPACE}/{watched.plural}/{HEARTBEAT}"
