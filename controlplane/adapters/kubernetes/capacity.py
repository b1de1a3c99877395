"""Room on a cluster's nodes, counted from the API server's lists of nodes and pods, page by page, and kept for a few seconds.

Pods are everybody's, so this is the one read that costs the size of the cluster; all gates of a process share one count.
"""

from __future__ import annotations

import asyncio
import time

from controlplane.adapters.kubernetes.reads import pages
from controlplane.adapters.kubernetes.transport import Transport
from controlplane.domain.capacity import Room, RoomCount

KEPT_SECONDS = 10.0
_ALIVE = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}


class Capacity:
    """The room of one cluster."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = asyncio.Lock()
        self._kept: tuple[float, Room] | None = None

    async def room(self) -> Room:
        """Count it, unless that was done moments ago. Raises as `to_error` says."""
        async with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > KEPT_SECONDS:
                self._kept = (time.monotonic(), await self._count())
            return self._kept[1]

    async def _count(self) -> Room:
        count = RoomCount()
        async for nodes, _ in pages(self._transport, "/api/v1/nodes", "list nodes", {}):
            for node in nodes:
                count.node(node)
        async for pods, _ in pages(self._transport, "/api/v1/pods", "list pods of all namespaces", _ALIVE):
            for pod in pods:
                count.pod(pod)
        return count.room()
