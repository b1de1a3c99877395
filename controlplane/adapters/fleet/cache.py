"""What the watches of one cluster have told, in small pieces, and whether they can still be believed.

A watch that has nothing to say looks exactly like a dead one for a minute (Kubernetes sends a bookmark about once a minute).
So every watched kind has one object of our own that is touched every `BEAT` seconds: its event, coming back through
the watch, proves the watch live. No echo for `STALE_AFTER` seconds, and nothing in this cache counts as a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog

from controlplane.adapters.fleet.states import Quota, namespace_view, quota_of, tightest, workload_state
from controlplane.domain.health import WorkloadState
from controlplane.ports.clusters import Manifest, NamespaceChange, NamespaceView

BEAT = 5.0
"""Seconds between two touches of a heartbeat object."""
STALE_AFTER = 15.0
"""Seconds without an echo after which a watch is not believed any more."""

WATCHED: tuple[tuple[str, str], ...] = (
    ("v1", "Namespace"),
    ("v1", "ResourceQuota"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
)
"""(apiVersion, kind) of every watch, on marked objects."""

_log = structlog.get_logger(__name__)

type OnChange = Callable[[NamespaceChange], None]


class FleetCache:
    """Marked objects of one cluster by namespace: Namespaces, workloads, quotas; and the time of each watch's last echo."""

    def __init__(self, cluster: str, clock: Callable[[], float], kinds: Sequence[str]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._echoes = dict.fromkeys(kinds, float("-inf"))
        self._namespaces: dict[str, NamespaceView] = {}
        self._workloads: dict[str, dict[tuple[str, str], WorkloadState]] = {}
        self._quotas: dict[str, dict[str, Quota]] = {}
        self._subscribers: list[OnChange] = []
        self._was_live = False

    def workloads(self, namespace: str) -> dict[tuple[str, str], WorkloadState]:
        """A copy of what is known of a namespace's workloads and Jobs."""
        return dict(self._workloads.get(namespace, {}))

    def namespace(self, name: str) -> NamespaceView | None:
        """The Namespace if it is marked and seen."""
        return self._namespaces.get(name)

    def namespaces(self) -> list[NamespaceView]:
        """All marked Namespaces, by name."""
        return [self._namespaces[name] for name in sorted(self._namespaces)]

    def quota(self, namespace: str) -> Quota | None:
        """Used and hard of the namespace's quotas; None if no quota is seen."""
        known = self._quotas.get(namespace)
        if not known:
            return None
        return tightest(known.values())

    def holds(self, kind: str, namespace: str, name: str) -> bool | None:
        """Whether a marked object of a watched kind is seen; None: this kind is not watched here."""
        if kind == "ResourceQuota":
            return name in self._quotas.get(namespace, {})
        if kind == "Namespace" or kind not in self._echoes:
            return None
        return (kind, name) in self._workloads.get(namespace, {})

    def subscribe(self, on_change: OnChange) -> Callable[[], None]:
        """Call `on_change` for each change; returns the call that ends it."""
        self._subscribers.append(on_change)

        def end() -> None:
            if on_change in self._subscribers:
                self._subscribers.remove(on_change)

        return end

    def put(self, obj: Manifest) -> None:
        """Take in an added or modified object."""
        kind, meta = obj["kind"], obj["metadata"]
        if self._store(kind, meta.get("namespace", meta["name"]), meta["name"], obj):
            self._tell(meta.get("namespace", meta["name"]), kind, meta["name"])

    def drop(self, kind: str, namespace: str, name: str) -> None:
        """Forget a deleted object."""
        if kind == "Namespace":
            known = self._namespaces.pop(name, None) is not None
        elif kind == "ResourceQuota":
            known = self._pop(self._quotas, namespace, name)
        else:
            known = self._pop(self._workloads, namespace, (kind, name))
        if known:
            self._tell(namespace, kind, name)

    def replace(self, kind: str, objects: Iterable[Manifest]) -> None:
        """Take in a full list of one kind (the start of a watch, or its relist) and forget what is not in it."""
        seen = set()
        for obj in objects:
            meta = obj["metadata"]
            seen.add((meta.get("namespace", meta["name"]), meta["name"]))
            self.put(obj)
        for namespace, name in self._known(kind):
            if (namespace, name) not in seen:
                self.drop(kind, namespace, name)

    def echo(self, kind: str, at: float | None = None) -> None:
        """Note that this kind's heartbeat came back through its watch; `at`: when it was sent, by this cache's clock."""
        self._echoes[kind] = max(self._echoes[kind], self._clock() if at is None else at)
        self.check()

    def live(self) -> bool:
        """Whether every watch echoed within `STALE_AFTER`."""
        return self._clock() - min(self._echoes.values(), default=float("-inf")) <= STALE_AFTER

    def silent(self) -> list[str]:
        """Kinds whose watch can't be believed now."""
        oldest = self._clock() - STALE_AFTER
        return [kind for kind, at in self._echoes.items() if at < oldest]

    def forget_echoes(self) -> None:
        """Believe no watch until it echoes again (a restart, or a lost connection to what feeds this cache)."""
        self._echoes = dict.fromkeys(self._echoes, float("-inf"))
        self.check()

    def check(self) -> None:
        """Tell the subscribers if the watches became live or ceased to be."""
        live = self.live()
        if live != self._was_live:
            self._was_live = live
            _log.info("watches live" if live else "watches not live", cluster=self._cluster, silent=self.silent())
            self._tell("", liveness=True)

    def _store(self, kind: str, namespace: str, name: str, obj: Manifest) -> bool:
        if kind == "Namespace":
            view = namespace_view(obj)
            changed = self._namespaces.get(name) != view
            self._namespaces[name] = view
            return changed
        if kind == "ResourceQuota":
            return _set(self._quotas.setdefault(namespace, {}), name, quota_of(obj))
        return _set(self._workloads.setdefault(namespace, {}), (kind, name), workload_state(obj))

    def _known(self, kind: str) -> list[tuple[str, str]]:
        if kind == "Namespace":
            return [(name, name) for name in self._namespaces]
        if kind == "ResourceQuota":
            return [(ns, name) for ns, held in self._quotas.items() for name in held]
        return [(ns, name) for ns, held in self._workloads.items() for k, name in held if k == kind]

    @staticmethod
    def _pop[K, V](table: dict[str, dict[K, V]], namespace: str, key: K) -> bool:
        held = table.get(namespace, {})
        known = held.pop(key, None) is not None
        if not held:
            table.pop(namespace, None)
        return known

    def _tell(self, namespace: str, kind: str = "", name: str = "", *, liveness: bool = False) -> None:
        change = NamespaceChange(self._cluster, namespace, kind, name, liveness)
        for on_change in tuple(self._subscribers):
            try:
                on_change(change)
            except Exception:  # noqa: BLE001 # one subscriber's fault must not blind the others; it is logged with its trace
                _log.exception("subscriber failed", cluster=self._cluster, namespace=namespace)


def _set[K, V](table: dict[K, V], key: K, value: V) -> bool:
    changed = table.get(key) != value
    table[key] = value
    return changed
