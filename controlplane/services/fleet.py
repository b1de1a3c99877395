"""Whether this process may dispatch to a cluster, and what its caches say about a namespace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from decimal import Decimal

import structlog

from controlplane.domain.admission import ClusterFacts
from controlplane.domain.disturbance import upgrading
from controlplane.domain.errors import SeawallError
from controlplane.domain.quota import fit
from controlplane.ports.clusters import Cluster, Clusters
from controlplane.ports.health import Part
from controlplane.ports.timelines import Overtaken, Standing
from controlplane.services.timelines import Timelines

RETRY_SECONDS = 1.0
PROVE_AGAIN_SECONDS = 300.0

log = structlog.get_logger(__name__)


class Fleet:
    """Starts clusters when they are first asked for and proves their fences: nothing is dispatched before.

    With `timelines`, a cluster is compared with the registry as well after each failover of PostgreSQL.
    """

    def __init__(
        self, clusters: Clusters, served: frozenset[str] | None = None, timelines: Timelines | None = None
    ) -> None:
        self._clusters = clusters
        self._served = served
        self._timelines = timelines
        self._timeline = 0
        self._standing: dict[str, Standing] = {}
        self._again: dict[str, asyncio.Event] = {}
        self._proven: dict[str, Cluster] = {}
        self._problems: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def serves(self, cluster: str) -> bool:
        """Whether this worker was told to serve the cluster (`work --clusters`)."""
        return self._served is None or cluster in self._served

    def peek(self, name: str) -> Cluster | None:
        """A cluster whose fence this process has seen refuse; None while that is not so."""
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(self._prove_forever(name), name=f"prove fence of {name}")
        return self._proven.get(name)

    async def proven(self, name: str) -> Cluster:
        """Wait until the cluster is connected and its fence proven."""
        while (cluster := self.peek(name)) is None:
            self._changed.clear()
            await self._changed.wait()
        return cluster

    def on_timeline(self, timeline: int) -> None:
        """Note on which timeline of PostgreSQL a driver works: clusters compared on another one are not proven any more."""
        self._timeline = max(self._timeline, timeline)
        for name, standing in self._standing.items():
            if standing.timeline < self._timeline and name in self._proven:
                self._proven.pop(name)
                self._problems[name] = f"PostgreSQL began timeline {timeline}; cluster {name} is being compared with it"
                self._again[name].set()

    def overtaken(self, name: str, namespace: str) -> Overtaken | None:
        """Whether a namespace turned out to run what the registry had lost at the last failover."""
        standing = self._standing.get(name)
        return standing.overtaken.get(namespace) if standing else None

    def facts(self, name: str, namespace: str, peak: Mapping[str, Decimal] | None = None) -> ClusterFacts:
        """What the caches say about a namespace; unreachable unless the watch is live and the fence proven."""
        cluster = self.peek(name)
        if cluster is None:
            return ClusterFacts(False, self._problems.get(name, f"cluster {name} is being connected"))
        if not cluster.live():
            return ClusterFacts(False, f"the watch on cluster {name} is not proven live")
        view = cluster.namespace(namespace)
        if view is None:
            return ClusterFacts(True)
        return ClusterFacts(
            True,
            uid=view.uid,
            terminating=view.terminating,
            quota_short=_short(cluster, namespace, peak),
            upgrading=upgrading(cluster.nodes()),
        )

    def parts(self) -> list[Part]:
        """How each cluster is that this process was asked about. None is needed: one that is away must not stop the others' work."""
        return [self._part(name) for name in sorted(self._tasks)]

    async def close(self) -> None:
        """Stop proving."""
        for task in self._tasks.values():
            task.cancel()
        for task in self._tasks.values():
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _part(self, name: str) -> Part:
        cluster, part = self._proven.get(name), f"cluster {name}"
        if cluster is None:
            detail = self._problems.get(name, "It is being connected; nothing is dispatched to it yet.")
            return Part(name=part, state="away", needed=False, detail=detail)
        if not cluster.live():
            detail = "Its watches are not proven live: nothing is dispatched to it, and no sample of it counts."
            return Part(name=part, state="away", needed=False, detail=detail)
        return Part(name=part, state="ok", needed=False)

    async def _prove_forever(self, name: str) -> None:
        again = self._again[name] = asyncio.Event()
        while True:
            again.clear()
            try:
                cluster = await self._clusters.get(name)
                await cluster.prove_fence()
                if self._timelines is not None:
                    self._standing[name] = await self._timelines.settle(cluster)
                    if self._standing[name].timeline < self._timeline:
                        continue  # it began while we looked
                self._proven[name] = cluster
                self._problems.pop(name, None)
                self._changed.set()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(again.wait(), PROVE_AGAIN_SECONDS)
            except SeawallError as error:
                self._proven.pop(name, None)
                self._problems[name] = error.detail
                log.warning("nothing is dispatched to the cluster", cluster=name, code=error.code, detail=error.detail)
                await asyncio.sleep(RETRY_SECONDS)


def _short(cluster: Cluster, namespace: str, peak: Mapping[str, Decimal] | None) -> str:
    """Why the computed peak does not fit the quota, or an empty string. What the quota counts now is what we replace."""
    quota = cluster.quota(namespace) if peak else None
    if not quota or peak is None:
        return ""
    fits = fit(peak, {name: hard for name, (_, hard) in quota.items()}, {})
    return "" if fits else f"quota: {fits.reason}"
