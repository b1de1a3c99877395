"""Kubernetes objects, as JSON, turned into the few facts that Seawall keeps of them. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from sys import intern
from typing import Any

from controlplane.domain.health import WorkloadState
from controlplane.domain.names import DOMAIN, EPOCH_ANNOTATION
from controlplane.domain.quantities import parse_quantity
from controlplane.ports.clusters import Manifest, NamespaceView, ObjectRef

type Quota = Mapping[str, tuple[Decimal, Decimal]]
"""Resource name -> (used, hard), in base units: cores, bytes, pieces."""


def reference(obj: Manifest) -> ObjectRef:
    """Name an object by what the server answered, uid and resourceVersion included."""
    meta = obj["metadata"]
    return ObjectRef(
        obj["apiVersion"], obj["kind"], meta["name"], meta.get("uid", ""), str(meta.get("resourceVersion", ""))
    )


def annotation(obj: Manifest, key: str) -> str:
    """One annotation, empty if there is none."""
    return str((obj["metadata"].get("annotations") or {}).get(key, ""))


def namespace_view(obj: Manifest) -> NamespaceView:
    """Read a Namespace. Of its annotations only Seawall's are kept, so that ten thousand of them stay small."""
    meta = obj["metadata"]
    notes = meta.get("annotations") or {}
    labels = meta.get("labels") or {}
    epoch = str(notes.get(EPOCH_ANNOTATION, "0"))
    return NamespaceView(
        name=meta["name"],
        uid=meta["uid"],
        epoch=int(epoch) if epoch.isdecimal() else 0,
        terminating="deletionTimestamp" in meta,
        labels={intern(k): intern(str(v)) for k, v in labels.items()},
        annotations={intern(k): str(v) for k, v in notes.items() if k.startswith(f"{DOMAIN}/")},
    )


def quota_of(obj: Manifest) -> Quota:
    """Read one ResourceQuota as its status says; one that counts some pods only (a scope) says nothing about the others."""
    if (obj.get("spec") or {}).get("scopeSelector") or (obj.get("spec") or {}).get("scopes"):
        return {}
    status = obj.get("status") or {}
    used = status.get("used") or {}
    return {
        intern(resource): (parse_quantity(str(used.get(resource, "0"))), parse_quantity(str(hard)))
        for resource, hard in (status.get("hard") or {}).items()
    }


def tightest(quotas: Iterable[Quota]) -> Quota:
    """Join the quotas of one namespace: of several on one resource, the one with the least room."""
    joined: dict[str, tuple[Decimal, Decimal]] = {}
    for quota in quotas:
        for resource, (used, hard) in quota.items():
            known = joined.get(resource)
            if known is None or hard - used < known[1] - known[0]:
                joined[resource] = (used, hard)
    return joined


def workload_state(obj: Manifest) -> WorkloadState:
    """Read a Deployment, StatefulSet, DaemonSet or Job. Raises KeyError for any other kind."""
    return _READERS[obj["kind"]](obj)


def _conditions(obj: Manifest) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in (obj.get("status") or {}).get("conditions") or []}


def _said(condition: Mapping[str, Any]) -> str:
    return f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")


def _state(obj: Manifest, **counts: Any) -> WorkloadState:
    meta = obj["metadata"]
    observed = (obj.get("status") or {}).get("observedGeneration", 0)
    return WorkloadState(
        kind=intern(obj["kind"]),
        name=intern(meta["name"]),
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        observed_generation=observed,
        **counts,
    )


def _deployment(obj: Manifest) -> WorkloadState:
    status, conditions = obj.get("status") or {}, _conditions(obj)
    progressing, refused = conditions.get("Progressing", {}), conditions.get("ReplicaFailure", {})
    failed, blocked = "", False
    if refused.get("status") == "True":
        blocked = "exceeded quota" in str(refused.get("message", ""))
        failed = f"ReplicaFailure: {_said(refused)}"
    elif progressing.get("status") == "False" and progressing.get("reason") == "ProgressDeadlineExceeded":
        failed = _said(progressing)
    return _state(
        obj,
        replicas=(obj.get("spec") or {}).get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        total=status.get("replicas", 0),
        available=status.get("availableReplicas", 0),
        failed=failed,
        quota_blocked=blocked,
    )


def _stateful_set(obj: Manifest) -> WorkloadState:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
    replicas, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    if updated >= replicas - rolling.get("partition", 0):
        updated = max(updated, status.get("replicas", 0))  # what a partition holds back is not waited for
    return _state(
        obj,
        replicas=replicas,
        updated=updated,
        total=status.get("replicas", 0),
        available=status.get("availableReplicas", status.get("readyReplicas", 0)),
    )


def _daemon_set(obj: Manifest) -> WorkloadState:
    status = obj.get("status") or {}
    updated = status.get("updatedNumberScheduled", 0)
    return _state(
        obj,
        replicas=status.get("desiredNumberScheduled", 0),
        updated=updated,
        total=updated,  # old pods make way for new ones node by node: `updated` alone counts them
        available=status.get("numberAvailable", 0),
    )


def _job(obj: Manifest) -> WorkloadState:
    status, conditions = obj.get("status") or {}, _conditions(obj)
    failed = conditions.get("Failed", {})
    return _state(
        obj,
        replicas=(obj.get("spec") or {}).get("parallelism", 1),
        updated=status.get("active", 0),
        total=status.get("active", 0),
        available=status.get("ready", 0),
        failed=(_said(failed) or "the Job failed") if failed.get("status") == "True" else "",
        succeeded=conditions.get("Complete", {}).get("status") == "True",
    )


_READERS: dict[str, Callable[[Manifest], WorkloadState]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
}
