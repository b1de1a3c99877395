"""Rendered content: the objects of one app in one environment, in apply order, with its Jobs, marks and prune sets.

Pure. A format makes a `Rendered`; the walls judge it; the engine marks, applies and prunes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict

from controlplane.domain.names import (
    APP_LABEL,
    CONTENT_ANNOTATION,
    ENVIRONMENT_LABEL,
    JOB_FINALIZER,
    MANAGED_LABEL,
    STEP_ANNOTATION,
    TENANT_LABEL,
    digest_of,
)

Manifest = dict[str, Any]
"""A Kubernetes object as JSON: open by nature, hence `Any`."""


"""Keeps a finished Job until its outcome is committed."""

STEP_VARIABLE = "SEAWALL_STEP_ID"
"""A migration reads its step id here and writes it into the tenant's database before anything else."""

KEEP_ANNOTATION = "helm.sh/resource-policy"
WORKLOADS = ("CronJob", "StatefulSet", "Deployment", "ReplicaSet", "ReplicationController", "DaemonSet", "Pod", "Job")
NEVER_PRUNED = frozenset({"Namespace", "PersistentVolumeClaim", "Secret"})

_FIRST = ("ServiceAccount", "Secret", "ConfigMap", "PersistentVolumeClaim", "Role", "RoleBinding", "Service")
_BEFORE_WORKLOADS = ("Ingress", "PodDisruptionBudget", "HorizontalPodAutoscaler")
_CA_BUNDLE_KINDS = {
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "CustomResourceDefinition",
    "APIService",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ObjectKey(_Frozen):
    """Which object, within one namespace."""

    api_version: str
    kind: str
    name: str

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def identity(self) -> tuple[str, str, str]:
        """Group, kind, name: what stays the same when an object moves to a newer version of its API."""
        return (self.group, self.kind, self.name)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class InventoryItem(_Frozen):
    """One object a revision has in the cluster. `uid` is None until it was observed; `keep` says it is never pruned."""

    key: ObjectKey
    uid: str | None = None
    keep: bool = False


class MigrateJob(_Frozen):
    """A Job of the `migrate` step; `manifest` has the chart's name, `job_for_step` gives it the step's."""

    manifest: Manifest
    on_install: bool
    on_upgrade: bool
    weight: int = 0


class LeftOut(_Frozen):
    """A field that another controller owns, hence not applied by us."""

    key: ObjectKey
    pointer: str
    reason: str


class Rendered(_Frozen):
    """What a release renders to for one environment. `objects` are in apply order, `jobs` in the order they run."""

    objects: tuple[Manifest, ...] = ()
    jobs: tuple[MigrateJob, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    dropped: tuple[ObjectKey, ...] = ()

    @cached_property
    def content_hash(self) -> str:
        """`sha256:<hex>` of the objects and Jobs; equal hashes mean there is nothing to apply."""
        return digest_of({"objects": self.objects, "jobs": [job.model_dump(mode="json") for job in self.jobs]})

    def object_keys(self) -> tuple[ObjectKey, ...]:
        """The keys of `objects`, in apply order."""
        return tuple(key_of(item) for item in self.objects)

    def inventory(self, uids: Mapping[ObjectKey, str] | None = None) -> tuple[InventoryItem, ...]:
        """The inventory of a revision with this content, with the uids that were observed."""
        seen = uids or {}
        return tuple(InventoryItem(key=key_of(o), uid=seen.get(key_of(o)), keep=never_pruned(o)) for o in self.objects)


class Prune(_Frozen):
    """What a prune deletes, workloads first, and what it leaves behind for a person to see."""

    delete: tuple[InventoryItem, ...] = ()
    left_over: tuple[InventoryItem, ...] = ()


def key_of(manifest: Manifest) -> ObjectKey:
    """The key of an object."""
    return ObjectKey(
        api_version=manifest["apiVersion"], kind=manifest["kind"], name=str(manifest["metadata"].get("name", ""))
    )


def annotations_of(manifest: Manifest) -> dict[str, str]:
    """An object's annotations; empty when it has none."""
    return dict((manifest.get("metadata") or {}).get("annotations") or {})


def never_pruned(manifest: Manifest) -> bool:
    """Whether it stays when a release no longer has it: namespaces, claims, secrets, `resource-policy: keep`."""
    return manifest["kind"] in NEVER_PRUNED or annotations_of(manifest).get(KEEP_ANNOTATION) == "keep"


def in_apply_order(objects: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """Sort by kind, what others need first and workloads last; then by API and name, so that the order is one."""
    return tuple(sorted(objects, key=lambda item: _rank(key_of(item))))


def prune_forward(old: Iterable[InventoryItem], new: Iterable[ObjectKey]) -> Prune:
    """What the old revision had and the new one has not; to be deleted only after the new one is `verified`."""
    return _prune(old, new)


def prune_back(bad: Iterable[InventoryItem], good: Iterable[ObjectKey]) -> Prune:
    """What only the bad revision had; deleted at once on the way back, workloads first."""
    return _prune(bad, good)


def unrecreatable(previous: Rendered, new: Rendered, custom_kinds: Iterable[str] = ()) -> tuple[str, ...]:
    """What going from `previous` to `new` prunes and what no apply brings back as it was, as `Kind/name`.

    A StatefulSet whose claims go with it (`persistentVolumeClaimRetentionPolicy.whenDeleted: Delete`,
    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention), and objects of the app's own
    custom kinds (`group/Kind`): what their controller deletes behind them, a database say, Seawall can't know.
    """
    gone = {item.key for item in prune_forward(previous.inventory(), new.object_keys()).delete}
    custom = frozenset(custom_kinds)
    return tuple(str(key_of(o)) for o in previous.objects if key_of(o) in gone and _lost_for_good(o, custom))


def mark(objects: Iterable[Manifest], tenant: str, environment: str, app: str) -> tuple[Manifest, ...]:
    """Copies with Seawall's marks on their top-level metadata, and a hash of the content so marked.

    Pod templates are left alone: a mark there would restart every pod when it changes.
    """
    labels = {MANAGED_LABEL: "true", TENANT_LABEL: tenant, ENVIRONMENT_LABEL: environment, APP_LABEL: app}
    return tuple(_with_content_hash(_labelled(item, labels)) for item in objects)


def job_for_step(job: MigrateJob, step_id: str) -> Manifest:
    """The Job to create for one step: named `<name>-<step id>`, one attempt, kept until its outcome is committed.

    The chart's name is cut so that the whole stays a label of 63 characters.
    """
    manifest = deepcopy(job.manifest)
    name = manifest["metadata"]["name"][: 62 - len(step_id)].rstrip("-.")
    metadata = manifest["metadata"] | {"name": f"{name}-{step_id}"}
    metadata["finalizers"] = [*metadata.get("finalizers", []), JOB_FINALIZER]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), STEP_ANNOTATION: step_id}
    spec = manifest["spec"] | {"backoffLimit": 0}
    spec.pop("ttlSecondsAfterFinished", None)
    pod = spec["template"]["spec"]
    pod["restartPolicy"] = "Never"  # OnFailure would let the kubelet run it again inside the one attempt
    for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
        others = [v for v in container.get("env") or [] if v.get("name") != STEP_VARIABLE]
        container["env"] = [*others, {"name": STEP_VARIABLE, "value": step_id}]
    return {**manifest, "metadata": metadata, "spec": spec}


def leave_out_shared(
    objects: Iterable[Manifest], declared: Iterable[tuple[str, str]] = ()
) -> tuple[tuple[Manifest, ...], tuple[LeftOut, ...]]:
    """Take out what others own: `replicas` where an autoscaler of the same content sets it, `caBundle`, and what the app
    declares as (kind, JSON pointer).
    """
    items = [deepcopy(item) for item in objects]
    fields = tuple(declared)
    scaled = _scale_targets(items)
    left: list[LeftOut] = []
    for item in items:
        key = key_of(item)
        spec = item.get("spec")
        scaler = scaled.get((key.kind, key.name))
        if scaler and isinstance(spec, dict) and "replicas" in spec:
            del spec["replicas"]
            left.append(LeftOut(key=key, pointer="/spec/replicas", reason=f"{scaler} sets it"))
        dropped = [pointer for kind, pointer in fields if kind == key.kind and _drop(item, pointer)]
        left += [LeftOut(key=key, pointer=one, reason="the app declares it as shared") for one in dropped]
        if key.kind in _CA_BUNDLE_KINDS:
            left += _drop_ca_bundles(key, item, "")
    return tuple(items), tuple(left)


def _rank(key: ObjectKey) -> tuple[int, int, str, str, str]:
    if key.kind in _FIRST:
        return (0, _FIRST.index(key.kind), key.kind, key.api_version, key.name)
    if key.kind in WORKLOADS:
        return (3, WORKLOADS.index(key.kind), key.kind, key.api_version, key.name)
    if key.kind in _BEFORE_WORKLOADS:
        return (2, _BEFORE_WORKLOADS.index(key.kind), key.kind, key.api_version, key.name)
    return (1, 0, key.kind, key.api_version, key.name)


def _prune(gone: Iterable[InventoryItem], staying: Iterable[ObjectKey]) -> Prune:
    stays = {key.identity for key in staying}
    only = sorted(
        (item for item in gone if item.key.identity not in stays), key=lambda item: _rank(item.key), reverse=True
    )
    kept = {item.key.identity for item in only if item.keep or item.key.kind in NEVER_PRUNED}
    return Prune(
        delete=tuple(item for item in only if item.key.identity not in kept),
        left_over=tuple(item for item in only if item.key.identity in kept),
    )


def _lost_for_good(item: Manifest, custom_kinds: frozenset[str]) -> bool:
    if item["kind"] == "StatefulSet":
        policy = (item.get("spec") or {}).get("persistentVolumeClaimRetentionPolicy") or {}
        return bool(policy.get("whenDeleted") == "Delete")
    key = key_of(item)
    return f"{key.group}/{key.kind}" in custom_kinds


def _labelled(item: Manifest, labels: Mapping[str, str]) -> Manifest:
    metadata = item["metadata"]
    return {**item, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}


def _with_content_hash(item: Manifest) -> Manifest:
    annotations = {**annotations_of(item), CONTENT_ANNOTATION: digest_of(item)}
    return {**item, "metadata": {**item["metadata"], "annotations": annotations}}


def _scale_targets(items: Iterable[Manifest]) -> dict[tuple[str, str], str]:
    targets: dict[tuple[str, str], str] = {}
    for item in items:
        if item["kind"] not in ("HorizontalPodAutoscaler", "ScaledObject"):
            continue
        ref = (item.get("spec") or {}).get("scaleTargetRef") or {}
        targets[(ref.get("kind", "Deployment"), ref.get("name", ""))] = str(key_of(item))
    return targets


def _drop(item: Manifest, pointer: str) -> bool:
    """Remove what a JSON pointer (RFC 6901) names; false where there is nothing."""
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    node: Any = item
    for part in parents:
        if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict):
            node = node.get(part)
        else:
            return False
    if isinstance(node, dict) and last in node and parents:
        del node[last]
        return True
    return False


def _drop_ca_bundles(key: ObjectKey, node: Any, pointer: str) -> list[LeftOut]:
    if isinstance(node, list):
        return [left for i, child in enumerate(node) for left in _drop_ca_bundles(key, child, f"{pointer}/{i}")]
    if not isinstance(node, dict):
        return []
    left = []
    if node.pop("caBundle", None) is not None:
        left.append(LeftOut(key=key, pointer=f"{pointer}/caBundle", reason="a certificate injector sets it"))
    return left + [one for k, child in node.items() for one in _drop_ca_bundles(key, child, f"{pointer}/{k}")]
