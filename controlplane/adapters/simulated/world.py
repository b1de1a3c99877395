"""The simulated API server: each operation of the Cluster port on the objects of one fleet, at once and without I/O.

Arguments and answers are JSON, so that the same world serves one process or, behind a socket, several.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from controlplane.adapters.fleet.states import annotation, namespace_view, reference
from controlplane.adapters.simulated import admission
from controlplane.adapters.simulated.admission import Writer
from controlplane.adapters.simulated.clock import Clock, LoopClock
from controlplane.adapters.simulated.controllers import Controllers, defaulted
from controlplane.adapters.simulated.merge import Owners, apply, json_copy, leaves, update
from controlplane.adapters.simulated.profile import Profile, draw
from controlplane.adapters.simulated.quota import Quotas, object_usage
from controlplane.adapters.simulated.store import CLUSTER, Store, Stored
from controlplane.domain.names import (
    EPOCH_ANNOTATION,
    FENCED_LABEL,
    INSTALLATION_ANNOTATION,
    MANAGED_LABEL,
    OPERATION_ANNOTATION,
    REVISION_ANNOTATION,
    STEP_ANNOTATION,
)
from controlplane.domain.values import merge_patch
from controlplane.ports.clusters import (
    AlreadyExistsError,
    FencedError,
    Manifest,
    NamespaceGoneError,
    QuotaExceededError,
    RejectedError,
)

MANAGER = "seawall"
HANDOVER = "seawall-handover"
_REPLICAS = ("spec", "replicas")
type Json = dict[str, Any]


class World:
    """One simulated fleet. Use it from one event loop; `seed` and `profile` decide all that differs between runs."""

    def __init__(self, clock: Clock | None = None, *, seed: int = 0, profile: Profile | None = None) -> None:
        self.clock: Clock = clock or LoopClock()
        self.seed = seed
        self.store = Store(self.clock, seed)
        self.quotas = Quotas(self.store)
        self.controllers = Controllers(self.store, self.clock, profile or Profile(), seed, self.quotas)
        self.fence_on = False

    @property
    def profile(self) -> Profile:
        """How this fleet behaves; may be replaced at any time."""
        return self.controllers.profile

    @profile.setter
    def profile(self, profile: Profile) -> None:
        self.controllers.profile = profile

    def install(self) -> None:
        """Switch the fence on, as installing the admission policies does."""
        self.fence_on = True

    def dump(self) -> Json:
        """The whole fleet as JSON, to go on later."""
        return {"fenceOn": self.fence_on, **self.store.dump()}

    def load(self, dumped: Json) -> None:
        """Go on from what `dump` gave; what was under way (rollouts, Jobs, namespaces that terminate) goes on too."""
        self.fence_on = dumped["fenceOn"]
        self.store.load(dumped)
        self.controllers.settle()
        for home in list(self.store.of_kind(CLUSTER, "Namespace")):
            if "deletionTimestamp" in home.meta:
                self._empty_later(home)

    def read_namespace(self, name: str) -> Json | None:
        """The Namespace as an object."""
        found = self.store.find(CLUSTER, "Namespace", name)
        return json_copy(found.obj) if found else None

    def create_namespace(self, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Json:
        """See `Cluster.create_namespace`; marks and fences it."""
        found = self.store.find(CLUSTER, "Namespace", name)
        if found is not None:
            return self._own_try(found, annotations)
        marks = {MANAGED_LABEL: "true", FENCED_LABEL: "true", "kubernetes.io/metadata.name": name}
        meta = {"name": name, "labels": {**labels, **marks}, "annotations": dict(annotations)}
        made = self.store.add(CLUSTER, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}, {})
        return json_copy(made.obj)

    def _own_try(self, found: Stored, annotations: Mapping[str, str]) -> Json:
        name = found.meta["name"]
        if "deletionTimestamp" in found.meta:
            raise admission.terminating(name)
        ours = (OPERATION_ANNOTATION, INSTALLATION_ANNOTATION)
        if all(annotations.get(key) and annotation(found.obj, key) == annotations[key] for key in ours):
            return json_copy(found.obj)
        detail = f"Namespace {name} exists and was not made by this operation. Adopt it, or choose another tenant name."
        raise AlreadyExistsError(detail)

    def seal(
        self, namespace: str, uid: str, epoch: int, step: str, revision: str, labels: Mapping[str, str] | None
    ) -> Json:
        """See `Cluster.seal`."""
        found = admission.living_namespace(self.store, namespace, creating=True)
        if uid and found.meta["uid"] != uid:
            raise admission.replaced(namespace, uid, found.meta["uid"])
        self._fence(found, epoch)
        notes = {EPOCH_ANNOTATION: str(epoch), STEP_ANNOTATION: step, REVISION_ANNOTATION: revision}
        marks = {**(labels or {}), MANAGED_LABEL: "true", FENCED_LABEL: "true"}
        obj = merge_patch(found.obj, {"metadata": {"labels": marks, "annotations": notes}})
        self.store.change(found, obj, found.owners)
        return json_copy(found.obj)

    def ensure_priority_class(self, manifest: Manifest) -> None:
        """See `Cluster.ensure_priority_class`."""
        name, value = manifest["metadata"]["name"], manifest["value"]
        found = self.store.find(CLUSTER, "PriorityClass", name)
        if found is None:
            self.store.add(CLUSTER, json_copy(manifest), {})
        elif found.obj["value"] != value:
            detail = (
                f"PriorityClass {name} exists with value {found.obj['value']}, not {value}; a value can't be changed."
            )
            raise AlreadyExistsError(f"{detail} Give the tier another priority, or have the class deleted.")

    def apply(self, namespace: str, manifest: Manifest, epoch: int, *, dry_run: bool = False) -> Json:
        """See `Cluster.apply` and `Cluster.dry_run` (checks everything, changes nothing)."""
        name, kind = manifest["metadata"]["name"], manifest["kind"]
        before = self.store.find(namespace, kind, name)
        home = admission.living_namespace(self.store, namespace, creating=before is None)
        self._fence(home, epoch)
        live = before.obj if before else {"metadata": {}}
        sent, owners = _sendable(manifest), before.owners if before else {}
        merged = apply(live, sent, _handed_over(sent, owners), MANAGER)
        obj = defaulted(merged.obj)
        admission.check_object(obj, before.obj if before else None)
        if before is None:
            self._within_quota(namespace, obj)
        if dry_run:
            return {}
        if before is None:
            changed, before = True, self.store.add(namespace, obj, merged.owners)
        else:
            changed = self.store.change(before, obj, merged.owners)
        if changed:
            self.controllers.written(namespace, before)
            self.quotas.publish(namespace)
        return self._answer(before, changed=changed, taken=merged.taken)

    def create(self, namespace: str, manifest: Manifest, epoch: int) -> Json:
        """See `Cluster.create`."""
        name, kind = manifest["metadata"]["name"], manifest["kind"]
        home = admission.living_namespace(self.store, namespace, creating=True)
        self._fence(home, epoch)
        found = self.store.find(namespace, kind, name)
        if found is not None:
            step = annotation(manifest, STEP_ANNOTATION)
            if step and annotation(found.obj, STEP_ANNOTATION) == step:
                return self._answer(found, changed=False, taken={})
            detail = (
                f"{kind} {name} exists in {namespace} and is not this step's. Look at who made it before repeating."
            )
            raise AlreadyExistsError(detail)
        obj = defaulted(_sendable(manifest))
        admission.check_object(obj, None)
        self._within_quota(namespace, obj)
        made = self.store.add(namespace, obj, {MANAGER: {path for path, _ in leaves(obj)}})
        self.controllers.written(namespace, made)
        self.quotas.publish(namespace)
        return self._answer(made, changed=True, taken={})

    def delete(self, namespace: str, kind: str, name: str, uid: str, epoch: int) -> bool:
        """See `Cluster.delete`. Another uid means that the object we knew is gone."""
        found = self.store.find(namespace, kind, name)
        if found is None or (uid and found.meta["uid"] != uid):
            return False
        self._fence(admission.living_namespace(self.store, namespace, creating=False), epoch)
        self._delete(namespace, found)
        return True

    def delete_namespace(self, namespace: str, uid: str, epoch: int) -> bool:
        """See `Cluster.delete_namespace`; its objects go a moment later."""
        found = self.store.find(CLUSTER, "Namespace", namespace)
        if found is None or found.meta["uid"] != uid:
            return False
        self._fence(found, epoch)
        self.terminate(namespace)
        return True

    def release_finalizer(self, namespace: str, kind: str, name: str, finalizer: str, epoch: int) -> None:
        """See `Cluster.release_finalizer`. An object that is gone needs none."""
        found = self.store.find(namespace, kind, name)
        if found is None:
            return
        self._fence(admission.living_namespace(self.store, namespace, creating=False), epoch)
        kept = [one for one in found.meta.get("finalizers") or [] if one != finalizer]
        if kept != found.meta.get("finalizers", []):
            self.store.touch(found, finalizers=kept)
        if not kept and "deletionTimestamp" in found.meta:
            self._gone(namespace, found)

    def get(self, namespace: str, kind: str, name: str) -> Json | None:
        """One object with its managers."""
        found = self.store.find(namespace, kind, name)
        return _shown(found) if found else None

    def list_objects(self, namespace: str, kinds: list[str]) -> list[Json]:
        """All objects of the kinds; pods are made up from their workloads."""
        found = [_shown(one) for kind in kinds for one in self.store.of_kind(namespace, kind)]
        return found + (self.controllers.pods(namespace) if "Pod" in kinds else [])

    def terminate(self, namespace: str) -> None:
        """Delete a Namespace as an administrator does: terminating now, gone later unless a finalizer holds an object."""
        found = self.store.find(CLUSTER, "Namespace", namespace)
        if found is None or "deletionTimestamp" in found.meta:
            return
        self.store.touch(found, deletionTimestamp=self.store.timestamp())
        self._empty_later(found)

    def foreign_write(self, namespace: str, manifest: Manifest, manager: str) -> Json:
        """Somebody else (an autoscaler, a person) creates the object or merges the manifest into it."""
        name, kind = manifest["metadata"]["name"], manifest["kind"]
        home = "" if kind == "Namespace" else namespace
        found = self.store.find(home, kind, name)
        live = found.obj if found else {"apiVersion": manifest["apiVersion"], "kind": kind, "metadata": {}}
        merged = update(live, manifest, found.owners if found else {}, manager)
        admission.check_marks(found.obj if found else None, merged.obj, Writer(ours=not self.fence_on))
        if found:
            self.store.change(found, merged.obj, merged.owners)
        else:
            found = self.store.add(home, defaulted(merged.obj), merged.owners)
        self.controllers.written(namespace, found)
        return _shown(found)

    def foreign_delete(self, namespace: str, kind: str, name: str) -> None:
        """Somebody else deletes the object."""
        if kind == "Namespace":
            self.terminate(name)
        elif found := self.store.find(namespace, kind, name):
            self._delete(namespace, found)

    def _empty_later(self, home: Stored) -> None:
        self.clock.call_at(self.clock.now() + self.profile.terminate, lambda: self._empty(home.meta["name"], home))

    def _empty(self, namespace: str, home: Stored) -> None:
        for found in list(self.store.objects.get(namespace, {}).values()):
            if "deletionTimestamp" not in found.meta:
                self._delete(namespace, found)
        if self.store.objects.get(namespace):
            self._empty_later(home)
            return
        self.quotas.forget(namespace)
        self.store.remove(CLUSTER, home)

    def _delete(self, namespace: str, found: Stored) -> None:
        if found.meta.get("finalizers"):
            self.store.touch(found, deletionTimestamp=self.store.timestamp())
        else:
            self._gone(namespace, found)

    def _gone(self, namespace: str, found: Stored) -> None:
        self.store.remove(namespace, found)
        self.controllers.deleted(namespace, found.obj["kind"], found.meta["name"])
        self.quotas.publish(namespace)

    def _fence(self, namespace: Stored, epoch: int) -> None:
        if self.fence_on:
            admission.check_fence(namespace, Writer(epoch))

    def _within_quota(self, namespace: str, obj: Manifest) -> None:
        refused = self.quotas.refuses(namespace, object_usage(obj["apiVersion"], obj["kind"]))
        if refused:
            detail = f"{obj['kind']} {obj['metadata']['name']} in {namespace}: {refused}. Raise the tier's quota."
            raise QuotaExceededError(detail)

    @staticmethod
    def _answer(stored: Stored, *, changed: bool, taken: Mapping[str, str]) -> Json:
        ref = reference(stored.obj)
        return {
            "ref": [ref.api_version, ref.kind, ref.name, ref.uid, ref.resource_version],
            "generation": stored.meta.get("generation", 0),
            "changed": changed,
            "takenFrom": {path: name for path, name in taken.items() if name != HANDOVER},
        }

    def prove_fence(self) -> list[str]:
        """Probe both policies; names those that let the probe through."""
        if self.fence_on:
            return self._probe()
        return ["the fence", "the marks"]

    def _probe(self) -> list[str]:
        meta = {"name": "probe", "labels": {FENCED_LABEL: "true"}, "annotations": {EPOCH_ANNOTATION: "2"}}
        home = Stored({"apiVersion": "v1", "kind": "Namespace", "metadata": {**meta, "uid": "probe"}})
        passed = []
        with contextlib.suppress(FencedError):  # what is hoped for: the probe is refused
            admission.check_fence(home, Writer(epoch=1))
            passed.append("the fence")
        with contextlib.suppress(RejectedError):  # as above
            admission.check_marks(None, home.obj, Writer(ours=False))
            passed.append("the marks")
        return passed

    def call_seconds(self, serial: int) -> float:
        """How long the call with this number takes."""
        return draw(self.seed, self.profile.call, "call", serial)

    def epoch_of(self, namespace: str) -> int:
        """The seal of a namespace; raises `NamespaceGoneError` without one."""
        found = self.store.find(CLUSTER, "Namespace", namespace)
        if found is None:
            raise NamespaceGoneError(f"Namespace {namespace} does not exist.")
        return namespace_view(found.obj).epoch


def _handed_over(sent: Manifest, owners: Owners) -> Owners:
    """Owners once another manager holds the `replicas` that this apply lets go (`Cluster.apply`)."""
    holding = [name for name, paths in owners.items() if _REPLICAS in paths]
    if holding == [MANAGER] and "replicas" not in (sent.get("spec") or {}):
        return {**owners, HANDOVER: {_REPLICAS}}
    return owners


def _sendable(manifest: Manifest) -> Manifest:
    sent = json_copy(manifest)
    for key in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "namespace"):
        sent["metadata"].pop(key, None)
    sent.pop("status", None)
    return sent


def _shown(stored: Stored) -> Json:
    obj = json_copy(stored.obj)
    obj["metadata"]["managedFields"] = [{"manager": name, "operation": "Apply"} for name in stored.owners]
    return obj
