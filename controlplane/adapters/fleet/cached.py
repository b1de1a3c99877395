"""What every cluster answers from its cache, whatever feeds that cache."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.adapters.fleet.cache import FleetCache
from controlplane.adapters.fleet.states import Quota
from controlplane.domain.health import WorkloadState
from controlplane.ports.clusters import NamespaceChange, NamespaceView


class CachedReads:
    """The part of `controlplane.ports.clusters.Cluster` that makes no call; a cluster inherits it and sets `_cache`."""

    _cache: FleetCache

    def live(self) -> bool:
        """See `Cluster.live`."""
        return self._cache.live()

    def subscribe(self, on_change: Callable[[NamespaceChange], None]) -> Callable[[], None]:
        """See `Cluster.subscribe`."""
        return self._cache.subscribe(on_change)

    def workloads(self, namespace: str) -> dict[tuple[str, str], WorkloadState]:
        """See `Cluster.workloads`."""
        return self._cache.workloads(namespace)

    def namespace(self, name: str) -> NamespaceView | None:
        """See `Cluster.namespace`."""
        return self._cache.namespace(name)

    def namespaces(self) -> list[NamespaceView]:
        """See `Cluster.namespaces`."""
        return self._cache.namespaces()

    def quota(self, namespace: str) -> Quota | None:
        """See `Cluster.quota`."""
        return self._cache.quota(namespace)
