"""The Cluster port on a simulated fleet. It says so: `kind` is `simulated`, and only a setting that says so makes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from controlplane.adapters.fleet.cache import BEAT, WATCHED, FleetCache
from controlplane.adapters.fleet.cached import CachedReads
from controlplane.adapters.fleet.explain import explain_pods
from controlplane.adapters.fleet.signs import DRIFT_KINDS, Signs
from controlplane.adapters.fleet.states import namespace_view
from controlplane.adapters.simulated.clock import Clock, LoopClock
from controlplane.adapters.simulated.front import Front
from controlplane.adapters.simulated.remote import Backend, LocalBackend, RemoteBackend
from controlplane.adapters.simulated.world import World
from controlplane.domain.apps import Dependency
from controlplane.domain.capacity import Room
from controlplane.domain.disturbance import Circumstances, Nodes
from controlplane.domain.errors import DependencyError
from controlplane.domain.names import JOB_FINALIZER
from controlplane.ports.clusters import (
    Applied,
    DriftSign,
    Fence,
    Identity,
    Manifest,
    NamespaceView,
    ObjectRef,
)

CHECK = 1.0
"""Seconds between two looks at whether the watches are still live."""


class SimulatedCluster(CachedReads):
    """One simulated fleet as a Cluster."""

    def __init__(self, name: str, backend: Backend, clock: Clock | None = None) -> None:
        self._name = name
        self._backend = backend
        self._clock: Clock = clock or LoopClock()
        self._cache = FleetCache(name, self._clock.now, [kind for _, kind in WATCHED])
        self._signs = Signs(name)
        self._listed: dict[str, list[Manifest]] | None = None
        self._nodes, self._around = Nodes(), Circumstances()
        self._timers: dict[str, Callable[[], None]] = {}

    @classmethod
    def in_process(cls, name: str, world: World) -> SimulatedCluster:
        """A fleet that lives in this process, on the world's clock."""
        return cls(name, LocalBackend(Front(world)), world.clock)

    @classmethod
    def at(cls, name: str, address: str) -> SimulatedCluster:
        """The fleet that `python -m controlplane.adapters.simulated` serves at this address."""
        return cls(name, RemoteBackend(address))

    @property
    def name(self) -> str:
        """See `Cluster.name`."""
        return self._name

    @property
    def kind(self) -> str:
        """Always `simulated`."""
        return "simulated"

    async def start(self) -> None:
        """See `Cluster.start`."""
        await self._backend.start(self._listen, self._cache.forget_echoes)
        self._every("beat", BEAT, self._backend.beat)
        self._every("check", CHECK, self._cache.check)

    async def close(self) -> None:
        """See `Cluster.close`."""
        for cancel in self._timers.values():
            cancel()
        self._timers.clear()
        await self._backend.close()

    async def install(self) -> None:
        """See `Cluster.install`."""
        await self._backend.call("install")

    async def prove_fence(self) -> None:
        """See `Cluster.prove_fence`."""
        passed = await self._backend.call("prove_fence")
        if passed:
            detail = f"Cluster {self._name} let a probe past {' and '.join(passed)}. Install the fence before dispatching to it."
            raise DependencyError(detail, code="fence-unproven")

    def listen_for_drift(self, on_sign: Callable[[DriftSign], None]) -> Callable[[], None]:
        """See `Cluster.listen_for_drift`."""
        return self._signs.listen(on_sign)

    async def absent(self, namespace: str, objects: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]] | None:
        """See `Cluster.absent`. Whoever simulates a fleet can as well be asked."""
        if not self._cache.live():
            return None
        watched = {kind for _, kind in (*WATCHED, *DRIFT_KINDS)} - {"Namespace"}
        kinds = sorted({kind for kind, _ in objects} & watched)
        found = await self._backend.call("list_objects", namespace=namespace, kinds=kinds) if kinds else ()
        there = {(one["kind"], one["metadata"]["name"]) for one in found}
        return [one for one in objects if one[0] in watched and one not in there]

    async def room(self) -> Room | None:
        """See `Cluster.room`: there are no nodes here."""
        return None

    async def read_namespace(self, name: str) -> NamespaceView | None:
        """See `Cluster.read_namespace`."""
        found = await self._backend.call("read_namespace", name=name)
        return namespace_view(found) if found else None

    async def create_namespace(
        self, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]
    ) -> NamespaceView:
        """See `Cluster.create_namespace`."""
        args = {"labels": dict(labels), "annotations": dict(annotations)}
        return namespace_view(await self._backend.call("create_namespace", name=name, **args))

    async def seal(
        self, namespace: str, uid: str, fence: Fence, labels: Mapping[str, str] | None = None
    ) -> NamespaceView:
        """See `Cluster.seal`."""
        args = {"epoch": fence.epoch, "step": fence.step_id, "revision": fence.revision}
        made = await self._backend.call("seal", namespace=namespace, uid=uid, labels=dict(labels or {}), **args)
        return namespace_view(made)

    async def ensure_priority_class(self, manifest: Manifest) -> None:
        """See `Cluster.ensure_priority_class`."""
        await self._backend.call("ensure_priority_class", manifest=manifest)

    async def apply(self, namespace: str, manifest: Manifest, fence: Fence, identity: Identity = "deployer") -> Applied:
        """See `Cluster.apply`."""
        return _applied(await self._backend.call("apply", namespace=namespace, manifest=manifest, epoch=fence.epoch))

    async def create(
        self, namespace: str, manifest: Manifest, fence: Fence, identity: Identity = "deployer"
    ) -> Applied:
        """See `Cluster.create`."""
        return _applied(await self._backend.call("create", namespace=namespace, manifest=manifest, epoch=fence.epoch))

    async def delete(self, namespace: str, ref: ObjectRef, fence: Fence, identity: Identity = "deployer") -> bool:
        """See `Cluster.delete`."""
        args = {"kind": ref.kind, "name": ref.name, "uid": ref.uid, "epoch": fence.epoch}
        return bool(await self._backend.call("delete", namespace=namespace, **args))

    async def delete_namespace(self, namespace: str, uid: str, fence: Fence) -> bool:
        """See `Cluster.delete_namespace`."""
        return bool(await self._backend.call("delete_namespace", namespace=namespace, uid=uid, epoch=fence.epoch))

    async def release_finalizer(
        self, namespace: str, ref: ObjectRef, fence: Fence, identity: Identity = "deployer"
    ) -> None:
        """See `Cluster.release_finalizer`."""
        args = {"kind": ref.kind, "name": ref.name, "finalizer": JOB_FINALIZER, "epoch": fence.epoch}
        await self._backend.call("release_finalizer", namespace=namespace, **args)

    async def get(self, namespace: str, ref: ObjectRef) -> Manifest | None:
        """See `Cluster.get`."""
        found: Manifest | None = await self._backend.call("get", namespace=namespace, kind=ref.kind, name=ref.name)
        return found

    async def list_objects(self, namespace: str, kinds: Sequence[tuple[str, str]]) -> list[Manifest]:
        """See `Cluster.list_objects`."""
        names = [kind for _, kind in kinds]
        found: list[Manifest] = await self._backend.call("list_objects", namespace=namespace, kinds=names)
        return found

    async def dry_run(self, namespace: str, manifest: Manifest) -> None:
        """See `Cluster.dry_run`."""
        epoch = await self._backend.call("epoch_of", namespace=namespace)
        await self._backend.call("apply", namespace=namespace, manifest=manifest, epoch=epoch, dry_run=True)

    async def explain(self, namespace: str, expected: Sequence[tuple[str, str]]) -> str:
        """See `Cluster.explain`."""
        pods = await self._backend.call("list_objects", namespace=namespace, kinds=["Pod"])
        return explain_pods(expected, self.workloads(namespace), pods, [])

    def nodes(self) -> Nodes:
        """See `Cluster.nodes`. What a test said by `play_nodes`; the simulated fleet has no nodes of its own."""
        return self._nodes

    def play_nodes(self, nodes: Nodes, around: Circumstances) -> None:
        """Let these nodes be seen from now on, and this be what surrounds every namespace; for tests and demonstrations."""
        self._nodes, self._around = nodes, around

    async def circumstances(self, namespace: str, dependencies: Sequence[Dependency]) -> Circumstances:
        """See `Cluster.circumstances`. Played, as `nodes` are."""
        return self._around

    async def version(self) -> str:
        """Always `simulated`."""
        return "simulated"

    async def control(self, do: str, **args: Any) -> Any:
        """Switch troubles on and off (`Front.control`); for tests and demonstrations."""
        return await self._backend.call("control", do=do, **args)

    def _listen(self, what: str, obj: Manifest) -> None:
        if what == "BEAT":
            self._cache.echo(obj["kind"])
        elif what == "WRITTEN":
            self._signs.see(obj["kind"], obj["metadata"])
        elif what == "GONE":
            meta = obj["metadata"]
            self._signs.gone(obj["kind"], meta.get("namespace", meta["name"]), meta["name"])
        elif what == "RESET":
            self._listed = {kind: [] for _, kind in WATCHED}
        elif what == "SYNCED":
            for kind, objects in (self._listed or {}).items():
                self._cache.replace(kind, objects)
            self._listed = None
            self._backend.beat()
        elif self._listed is not None:
            self._listed[obj["kind"]].append(obj)
        elif what == "DELETED":
            meta = obj["metadata"]
            self._cache.drop(obj["kind"], meta.get("namespace", meta["name"]), meta["name"])
        else:
            self._cache.put(obj)

    def _every(self, name: str, seconds: float, do: Callable[[], None]) -> None:
        def run() -> None:
            self._timers[name] = self._clock.call_at(self._clock.now() + seconds, run)
            do()

        run()


def _applied(answer: Mapping[str, Any]) -> Applied:
    return Applied(ObjectRef(*answer["ref"]), answer["generation"], answer["changed"], answer["takenFrom"])
