"""What surrounds a tenant's pods: the nodes by a watch of their own; neighbours and dependencies are read when somebody is ill."""

from __future__ import annotations

import time
from collections.abc import Sequence

from controlplane.adapters.fleet.nodes import NodeCache, dependency_view, pods_of
from controlplane.adapters.kubernetes.reads import Reads, pages
from controlplane.adapters.kubernetes.transport import Transport
from controlplane.adapters.kubernetes.watches import KindWatch, Watched
from controlplane.domain.apps import Dependency
from controlplane.domain.disturbance import Circumstances, Nodes, PodView
from controlplane.ports.clusters import ObjectRef

NODES = Watched("v1", "Node", "nodes", marked=False)
_ASKED_NODES = 3
"""Nodes whose pods are read for one ill target; its ill pods are rarely on more."""
_API = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1"}


class Surroundings:
    """Of one cluster."""

    def __init__(self, transport: Transport, reads: Reads) -> None:
        self._transport = transport
        self._reads = reads
        self._nodes = NodeCache(time.monotonic)
        self.watch = KindWatch(NODES, transport, self._nodes, None, opened=self._nodes.opened)

    def nodes(self) -> Nodes:
        """The nodes, from the watch."""
        return self._nodes.view()

    async def around(self, namespace: str, dependencies: Sequence[Dependency]) -> Circumstances:
        """A namespace's pods, those beside its ill ones, and its dependencies."""
        pods = pods_of(await self._reads.list_objects(namespace, [("v1", "Pod")]))
        nodes = sorted({pod.node for pod in pods if pod.node and not pod.ready})[:_ASKED_NODES]
        neighbours = [pod for node in nodes for pod in await self._on(node) if pod.namespace != namespace]
        found = [await self._look(one) for one in dependencies]
        return Circumstances(pods, neighbours, [dependency_view(*one) for one in found])

    async def _on(self, node: str) -> list[PodView]:
        query = {"fieldSelector": f"spec.nodeName={node}"}
        found: list[PodView] = []
        async for items, _ in pages(self._transport, "/api/v1/pods", f"list the pods on node {node}", query):
            found += pods_of(items)
        return found

    async def _look(self, one: Dependency) -> tuple[Dependency, dict[str, object] | None]:
        ref = ObjectRef(_API[one.kind], one.kind, one.workload)
        return one, await self._reads.get(one.namespace, ref)
