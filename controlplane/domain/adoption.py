"""An existing namespace, looked at before anybody writes: who owns what in it, and what the walls would refuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from controlplane.domain.manifests import Manifest, Rendered, annotations_of, key_of
from controlplane.domain.quantities import parse_quantity
from controlplane.domain.quota import fit, peak_resources
from controlplane.domain.tiers import TierSpec
from controlplane.domain.walls import WallRules, check_walls
from controlplane.domain.wire import Wire, pointer

OBSERVED_KINDS: Final = (
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
)
"""What `adopt: observe` reads."""

_ARGO = "argocd.argoproj.io/tracking-id"
_FLUX = (("kustomize.toolkit.fluxcd.io/name", "Kustomization"), ("helm.toolkit.fluxcd.io/name", "HelmRelease"))
_CLUSTERS_OWN = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_AMOUNTS = frozenset({"hard", "default", "defaultRequest", "max", "min", "limits", "requests"})
"""Fields whose values are quantities."""
_NOT_COUNTED = {"own-mark", "wall-object", "owner-or-finalizer"}


class Owner(Wire):
    """Who made an object: a Helm release, an Argo CD application, a Flux resource."""

    tool: str
    name: str
    objects: tuple[str, ...]


class Refusal(Wire):
    """What a wall would refuse if the namespace were adopted as it is."""

    code: str
    object: str
    pointer: str
    detail: str


class AdoptionReport(Wire):
    """What was found. Nothing was written."""

    namespace: str
    exists: bool
    objects: int
    owners: tuple[Owner, ...]
    refusals: tuple[Refusal, ...]
    quota: str = ""


def owner_of(item: Manifest) -> tuple[str, str] | None:
    """The tool whose marks an object carries, and the name it goes by there; None if nobody's.

    Marks: Helm `app.kubernetes.io/managed-by` with `meta.helm.sh/release-name`; Argo CD `argocd.argoproj.io/tracking-id` or the
    label `argocd.argoproj.io/instance`; Flux `kustomize.toolkit.fluxcd.io/name`, `helm.toolkit.fluxcd.io/name`.
    """
    labels: Mapping[str, Any] = (item.get("metadata") or {}).get("labels") or {}
    annotations = annotations_of(item)
    for key, kind in _FLUX:
        if key in labels:
            return f"Flux {kind}", str(labels[key])
    if _ARGO in annotations:
        return "Argo CD", str(annotations[_ARGO]).partition(":")[0]
    if "argocd.argoproj.io/instance" in labels:
        return "Argo CD", str(labels["argocd.argoproj.io/instance"])
    if labels.get("app.kubernetes.io/managed-by") == "Helm" and "meta.helm.sh/release-name" in annotations:
        return "Helm", str(annotations["meta.helm.sh/release-name"])
    return None


def owners_of(items: Iterable[Manifest]) -> tuple[Owner, ...]:
    """All owners with what they own, in order of tool and name."""
    found: dict[tuple[str, str], list[str]] = {}
    for item in items:
        owner = owner_of(item)
        if owner is not None:
            found.setdefault(owner, []).append(str(key_of(item)))
    return tuple(
        Owner(tool=tool, name=name, objects=tuple(sorted(objects))) for (tool, name), objects in sorted(found.items())
    )


def report_on(namespace: str, items: Iterable[Manifest], tier: TierSpec, *, exists: bool = True) -> AdoptionReport:
    """Judge what lives in a namespace by the walls it would get."""
    theirs = tuple(item for item in items if (item["kind"], item["metadata"]["name"]) not in _CLUSTERS_OWN)
    content = Rendered(objects=tuple(_bare(item) for item in theirs))
    findings = check_walls(content, WallRules(namespace=namespace))
    refusals = tuple(
        Refusal(code=f.code, object=str(f.key), pointer=f.pointer, detail=f.detail)
        for f in findings
        if f.code not in _NOT_COUNTED
    )
    none_used: Mapping[str, Decimal] = {}
    short = fit(peak_resources(content, defaults=tier.limit_defaults()), tier.resources(), none_used)
    return AdoptionReport(
        namespace=namespace,
        exists=exists,
        objects=len(theirs),
        owners=owners_of(theirs),
        refusals=refusals,
        quota=short.reason,
    )


def _bare(item: Manifest) -> Manifest:
    """The object as somebody would apply it: without status and data of secrets (which must not travel into a report)."""
    bare = {k: v for k, v in item.items() if k not in ("status", "data", "stringData")}
    return bare if item["kind"] == "Secret" else {**bare, **{k: v for k, v in item.items() if k == "data"}}


def differences(wanted: Manifest, found: Manifest | None) -> list[str]:
    """Where an existing object differs from the wanted one, as JSON pointers; fields that only the cluster set don't count."""
    if found is None:
        return [f"/{key_of(wanted)}"]
    return [f"/{key_of(wanted)}{at}" for at in _subset(wanted, found, ())]


def _subset(wanted: Any, found: Any, at: tuple[str | int, ...]) -> list[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [d for key, value in wanted.items() for d in _subset(value, found.get(key), (*at, key))]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [d for i, pair in enumerate(zip(wanted, found, strict=True)) for d in _subset(*pair, (*at, i))]
    empty = wanted in ({}, [], None) and found in ({}, [], None)
    return [] if wanted == found or empty or _same_amount(wanted, found, at) else [pointer(at)]


def _same_amount(wanted: Any, found: Any, at: tuple[str | int, ...]) -> bool:
    """Whether both are one quantity, written in two ways (`1000m`, `1`): the API server keeps them as they were sent."""
    if len(at) < 2 or at[-2] not in _AMOUNTS:
        return False
    try:
        return parse_quantity(str(wanted)) == parse_quantity(str(found))
    except ValueError:
        return False
