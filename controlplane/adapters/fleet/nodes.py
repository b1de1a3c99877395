"""What the watch of nodes has told: who is there, who went away lately, and whether it can still be believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from controlplane.adapters.fleet.states import workload_state
from controlplane.domain.apps import Dependency
from controlplane.domain.disturbance import RECENT_SECONDS, DependencyView, Node, Nodes, PodView
from controlplane.ports.clusters import Manifest

STALE_AFTER = 30.0
"""Seconds after which a watch that was not opened again is not believed; the server ends it every `RENEWED_AFTER` seconds."""
RENEWED_AFTER = 10
_ZONE = "topology.kubernetes.io/zone"
_POOLS = ("kubernetes.azure.com/agentpool", "agentpool")
_IMAGE = "kubernetes.azure.com/node-image-version"


class NodeCache:
    """Nodes of one cluster. Takes what a watch tells, as `FleetCache` does."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._nodes: dict[str, Node] = {}
        self._gone: dict[str, tuple[float, Node]] = {}
        self._opened = float("-inf")

    def view(self) -> Nodes:
        """The nodes now."""
        oldest = self._clock() - RECENT_SECONDS
        self._gone = {name: one for name, one in self._gone.items() if one[0] >= oldest}
        gone = {name: node for name, (_, node) in self._gone.items()}
        return Nodes(dict(self._nodes), gone, known=self._clock() - self._opened <= STALE_AFTER)

    def opened(self) -> None:
        """Note that the watch was opened (again): up to then it was right."""
        self._opened = self._clock()

    def put(self, obj: Manifest) -> None:
        """Take in an added or modified node."""
        node = node_of(obj)
        self._nodes[node.name] = node
        self._gone.pop(node.name, None)

    def drop(self, _kind: str, _namespace: str, name: str) -> None:
        """Remember a deleted node for a while."""
        node = self._nodes.pop(name, None)
        if node is not None:
            self._gone[name] = (self._clock(), node)

    def replace(self, kind: str, objects: Iterable[Manifest]) -> None:
        """Take in a full list, and drop who is not in it."""
        seen = set()
        for obj in objects:
            self.put(obj)
            seen.add(obj["metadata"]["name"])
        for name in [name for name in self._nodes if name not in seen]:
            self.drop(kind, "", name)


def node_of(obj: Manifest) -> Node:
    """Read a Node."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels = meta.get("labels") or {}
    ready: dict[str, Any] = next((c for c in status.get("conditions") or [] if c["type"] == "Ready"), {})
    return Node(
        name=meta["name"],
        zone=labels.get(_ZONE, ""),
        pool=next((labels[key] for key in _POOLS if key in labels), ""),
        ready=ready.get("status") == "True" and "deletionTimestamp" not in meta,
        cordoned=bool(spec.get("unschedulable")),
        version=str((status.get("nodeInfo") or {}).get("kubeletVersion", "")),
        image=labels.get(_IMAGE, ""),
    )


def pods_of(objects: Iterable[Manifest]) -> list[PodView]:
    """Read pods; those that ended are left out."""
    return [
        PodView(one["metadata"]["namespace"], str((one.get("spec") or {}).get("nodeName", "")), _ready(one))
        for one in objects
        if (one.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]


def _ready(pod: Manifest) -> bool:
    conditions: list[dict[str, Any]] = (pod.get("status") or {}).get("conditions") or []
    return (
        any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        and "deletionTimestamp" not in pod["metadata"]
    )


def dependency_view(dependency: Dependency, found: Manifest | None) -> DependencyView:
    """How a declared dependency is, by its workload."""
    if found is None:
        return DependencyView(
            dependency.name, f"{dependency.kind} {dependency.workload} in {dependency.namespace} is not there"
        )
    state = workload_state(found)
    if state.failed:
        return DependencyView(dependency.name, state.failed)
    if state.available < state.replicas:
        return DependencyView(dependency.name, f"{state.available} of {state.replicas} pods available")
    return DependencyView(dependency.name)
