"""The simulated fleet's etcd: objects with uid, resourceVersion and generation, and a stream of their changes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from controlplane.adapters.simulated.clock import Clock
from controlplane.adapters.simulated.merge import Owners, json_copy
from controlplane.domain.names import MANAGED_LABEL
from controlplane.ports.clusters import Manifest

type ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
type Watcher = Callable[[ChangeType, Manifest], None]
type Key = tuple[str, str]
"""(kind, name) within a namespace."""

CLUSTER = ""
"""The namespace under which cluster-scoped objects (Namespaces) are kept."""
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Stored:
    """One object and who owns which of its fields."""

    obj: Manifest
    owners: Owners = field(default_factory=dict)

    @property
    def meta(self) -> dict[str, Any]:
        """The object's metadata."""
        return self.obj["metadata"]  # type: ignore[no-any-return] # a Manifest is JSON


class Store:
    """Objects by namespace and (kind, name). Every write moves one counter, as etcd's revision does."""

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self._clock = clock
        self._seed = seed
        self.revision = 0
        self.objects: dict[str, dict[Key, Stored]] = {}
        self._made = 0
        self._watchers: list[Watcher] = []

    def find(self, namespace: str, kind: str, name: str) -> Stored | None:
        """One object, or None."""
        return self.objects.get(namespace, {}).get((kind, name))

    def of_kind(self, namespace: str, kind: str) -> Iterator[Stored]:
        """All objects of a kind in a namespace."""
        return (one for (k, _), one in self.objects.get(namespace, {}).items() if k == kind)

    def marked(self) -> Iterator[Manifest]:
        """All marked objects, as the start of a watch lists them."""
        for held in self.objects.values():
            for one in held.values():
                if is_marked(one.obj):
                    yield one.obj

    def add(self, namespace: str, obj: Manifest, owners: Owners) -> Stored:
        """Store a new object; it gets uid, resourceVersion, generation and time."""
        self._made += 1
        meta = obj["metadata"]
        meta["uid"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._seed}/{self._made}"))
        meta["creationTimestamp"] = self.timestamp()
        if "spec" in obj:
            meta["generation"] = 1
        if namespace != CLUSTER:
            meta["namespace"] = namespace
        stored = Stored(obj, owners)
        self.objects.setdefault(namespace, {})[obj["kind"], meta["name"]] = stored
        self._changed("ADDED", stored)
        return stored

    def change(self, stored: Stored, obj: Manifest, owners: Owners) -> bool:
        """Write a new content; False if it is the old one (then nothing moves). A moved spec moves the generation."""
        before = stored.obj
        stored.owners = owners
        if obj == before:
            return False
        if "spec" in obj and obj["spec"] != before.get("spec"):
            obj["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
        stored.obj = obj
        self._changed("MODIFIED", stored)
        return True

    def status(self, stored: Stored, status: dict[str, Any]) -> None:
        """Write the status, as a controller does, if it differs."""
        if stored.obj.get("status") != status:
            stored.obj = {**stored.obj, "status": status}
            self._changed("MODIFIED", stored)

    def remove(self, namespace: str, stored: Stored) -> None:
        """Take an object out."""
        held = self.objects.get(namespace, {})
        held.pop((stored.obj["kind"], stored.meta["name"]), None)
        if not held:
            self.objects.pop(namespace, None)
        self._changed("DELETED", stored)

    def touch(self, stored: Stored, **meta: object) -> None:
        """Set fields of the metadata (deletionTimestamp, finalizers)."""
        stored.obj = {**stored.obj, "metadata": {**stored.meta, **meta}}
        self._changed("MODIFIED", stored)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Tell `watcher` of each change of a marked object; returns the call that ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def timestamp(self) -> str:
        """The clock as Kubernetes writes times."""
        return (_EPOCH + timedelta(seconds=self._clock.now())).strftime("%Y-%m-%dT%H:%M:%SZ")

    def dump(self) -> dict[str, Any]:
        """Everything, as JSON, to go on later."""
        held = [
            {"namespace": ns, "obj": one.obj, "owners": {m: sorted(p) for m, p in one.owners.items()}}
            for ns, objects in self.objects.items()
            for one in objects.values()
        ]
        return {"revision": self.revision, "made": self._made, "objects": held}

    def load(self, dumped: dict[str, Any]) -> None:
        """Take back what `dump` gave; watchers see each object as added."""
        self.revision, self._made = dumped["revision"], dumped["made"]
        for one in dumped["objects"]:
            owners = {m: {tuple(path) for path in paths} for m, paths in one["owners"].items()}
            stored = Stored(json_copy(one["obj"]), owners)
            self.objects.setdefault(one["namespace"], {})[stored.obj["kind"], stored.meta["name"]] = stored
            for watcher in tuple(self._watchers):
                watcher("ADDED", stored.obj)

    def _changed(self, what: ChangeType, stored: Stored) -> None:
        self.revision += 1
        stored.meta["resourceVersion"] = str(self.revision)
        if is_marked(stored.obj):
            for watcher in tuple(self._watchers):
                watcher(what, stored.obj)


def is_marked(obj: Manifest) -> bool:
    """Whether the object carries Seawall's mark."""
    return (obj["metadata"].get("labels") or {}).get(MANAGED_LABEL) == "true"
