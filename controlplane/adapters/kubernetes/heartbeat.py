"""One object per watched kind that is touched every few seconds, so that its echo proves the kind's watch live.

An echo counts from the time at which its beat was sent, so a watch that delivers, but late, is not taken for live. Each
process touches the same objects and listens for its own beats only.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from controlplane.adapters.fleet.cache import BEAT, FleetCache
from controlplane.adapters.kubernetes.identities import BEAT_LABEL, HEARTBEAT, SYSTEM_NAMESPACE, writer
from controlplane.adapters.kubernetes.transport import MERGE, METADATA_ONLY, RefusedError, Request, Transport
from controlplane.domain.names import MANAGED_LABEL
from controlplane.ports.clusters import ClusterUnavailableError, Manifest

_REMEMBERED = 64
_log = structlog.get_logger(__name__)


def is_heartbeat(kind: str, obj: Manifest) -> bool:
    """Whether this is a kind's heartbeat object (of kind Namespace it is Seawall's own)."""
    meta = obj["metadata"]
    if kind == "Namespace":
        return bool(meta["name"] == SYSTEM_NAMESPACE)
    return bool(meta["name"] == HEARTBEAT and meta.get("namespace") == SYSTEM_NAMESPACE)


class Heartbeat:
    """Touches the heartbeat objects of one cluster and notes which beats came back."""

    def __init__(
        self,
        transport: Transport,
        cache: FleetCache,
        paths: dict[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._cache = cache
        self._paths = paths
        self._clock = clock
        self._holder = secrets.token_hex(4)
        self._count = 0
        self._sent: OrderedDict[str, float] = OrderedDict()
        self._now = {kind: asyncio.Event() for kind in paths}
        self._failing: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start one task per kind."""
        self._tasks = [asyncio.create_task(self._run(kind)) for kind in self._paths]

    async def close(self) -> None:
        """End them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def soon(self, kind: str) -> None:
        """Touch this kind's object now: its watch has just been opened."""
        self._now[kind].set()

    def hurry(self) -> None:
        """Touch all of them now: they have just been made."""
        for kind in self._paths:
            self.soon(kind)

    def heard(self, kind: str, obj: Manifest) -> None:
        """A heartbeat object came through its watch; it counts if the beat is ours."""
        sent = self._sent.get((obj["metadata"].get("labels") or {}).get(BEAT_LABEL, ""))
        if sent is not None:
            self._cache.echo(kind, at=sent)

    async def _run(self, kind: str) -> None:
        while True:
            await self._touch(kind)
            self._cache.check()
            try:
                await asyncio.wait_for(self._now[kind].wait(), BEAT)
            except TimeoutError:
                continue
            finally:
                self._now[kind].clear()

    async def _touch(self, kind: str) -> None:
        self._count += 1
        value = f"{self._holder}-{self._count}"
        self._sent[value] = self._clock()
        while len(self._sent) > _REMEMBERED * len(self._paths):
            self._sent.popitem(last=False)
        body = {"metadata": {"labels": {BEAT_LABEL: value}}}
        headers = writer(0, "platform", SYSTEM_NAMESPACE)
        what = f"touch the heartbeat of kind {kind}"
        request = Request("PATCH", self._paths[kind], what, headers, {}, body, MERGE, METADATA_ONLY)
        try:
            await self._transport.call(request)
            self._failing.discard(kind)
        except (RefusedError, ClusterUnavailableError) as error:
            if kind not in self._failing:  # told once; if it goes on, liveness runs out, and that is told too
                _log.warning("heartbeat not sent", kind=kind, error=str(error))
            self._failing.add(kind)


def heartbeat_objects() -> list[Manifest]:
    """The heartbeat objects: of each kind the smallest that makes no controller do anything."""
    meta = {"name": HEARTBEAT, "labels": {MANAGED_LABEL: "true"}}
    pod = {"containers": [{"name": "none", "image": "registry.k8s.io/pause:3.10"}], "restartPolicy": "Always"}
    match = {"seawall.dev/beats": "none"}
    template = {"metadata": {"labels": match}, "spec": pod}
    nowhere = {**template, "spec": {**pod, "nodeSelector": match}}
    once = {"metadata": {"labels": match}, "spec": {**pod, "restartPolicy": "Never"}}
    selector = {"matchLabels": match}
    still = {"replicas": 0, "selector": selector, "template": template}
    return [
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {}}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {**still, "paused": True}},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": {**still, "serviceName": "none"}},
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": meta,
            "spec": {"selector": selector, "template": nowhere},
        },
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"suspend": True, "template": once}},
    ]
