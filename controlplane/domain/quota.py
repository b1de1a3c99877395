"""What a change needs of a namespace's quota at its worst moment, and whether that fits.

Peak = steady + the largest surge + Jobs, over both ways: while old and new stand side by side each workload counts with
the larger of its two shapes, because what the new revision no longer has is deleted only after it is verified. Surges of
several workloads are not added up: the controllers retry, so one after the other gets through.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from controlplane.domain.manifests import Manifest, Rendered, key_of
from controlplane.domain.quantities import format_quantity, parse_quantity
from controlplane.domain.resources import Resources, add, largest, times

SCOPES = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort")
_COUNTED = {
    "Service": "services",
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "PersistentVolumeClaim": "persistentvolumeclaims",
}
_PLURALS = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}
_ONE = Decimal(1)


@dataclass(frozen=True)
class LimitDefaults:
    """What the namespace's LimitRange gives a container that asks for nothing: `cpu` and `memory` to quantities."""

    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shortfall:
    """One resource that does not fit: `needed` at the peak, `free` = hard - used by others."""

    needed: Decimal
    free: Decimal


@dataclass(frozen=True)
class Fit:
    """Whether a peak fits a quota; `short` names each resource that does not. True in `if` when it fits."""

    short: Mapping[str, Shortfall] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return not self.short

    @property
    def reason(self) -> str:
        """One sentence for a person; empty when it fits."""
        return "; ".join(
            f"{name} needs {_written(name, s.needed)} at the peak and {_written(name, s.free)} is free"
            for name, s in sorted(self.short.items())
        )


def _written(name: str, amount: Decimal) -> str:
    return format_quantity(amount, binary=name.endswith(("memory", "storage")))


def peak_resources(
    new: Rendered,
    quota_scopes: Iterable[str] = (),
    *,
    previous: Rendered | None = None,
    defaults: LimitDefaults | None = None,
) -> Resources:
    """What the change from `previous` to `new` needs at its worst moment, forward or back.

    Keys are those of a ResourceQuota (`requests.cpu` in cores, `limits.memory` in bytes, `pods`, `services`,
    `count/deployments.apps`, ...). `quota_scopes` are the quota's scopes; a scope we can't judge counts everything.
    """
    judge = _Judge(tuple(s for s in quota_scopes if s in SCOPES), defaults or LimitDefaults())
    revisions = [new] if previous is None else [previous, new]
    steady: dict[tuple[str, str, str], Resources] = {}
    surge: Resources = {}
    for revision in revisions:
        scaled = _max_replicas(revision.objects)
        for item in revision.objects:
            key = key_of(item)
            steady[key.identity] = largest(steady.get(key.identity, {}), judge.steady(item, scaled))
            if item["kind"] == "Deployment":
                surge = largest(surge, judge.surge(item, scaled))
    jobs = largest(*(add(*(judge.job(job.manifest) for job in revision.jobs)) for revision in revisions))
    return {name: amount for name, amount in add(*steady.values(), surge, jobs).items() if amount}


def steady_resources(content: Rendered, *, defaults: LimitDefaults | None = None) -> Resources:
    """What content uses when nothing changes in it, autoscalers at their maximum: another app of the same namespace."""
    judge, scaled = _Judge((), defaults or LimitDefaults()), _max_replicas(content.objects)
    return add({}, *(judge.steady(item, scaled) for item in content.objects))


def fit(peak: Mapping[str, Decimal], hard: Mapping[str, Decimal], used_by_others: Mapping[str, Decimal]) -> Fit:
    """Compare a peak with `hard` minus what others use; only resources that the quota names can be short."""
    short: dict[str, Shortfall] = {}
    for name, limit in hard.items():
        free = limit - used_by_others.get(name, Decimal(0))
        needed = peak.get(name, Decimal(0))
        if needed > free:
            short[name] = Shortfall(needed=needed, free=free)
    return Fit(short)


@dataclass(frozen=True)
class _Judge:
    scopes: tuple[str, ...]
    defaults: LimitDefaults

    def steady(self, item: Manifest, scaled: Mapping[tuple[str, str], int]) -> Resources:
        pods = times(self._pod(item), _replicas(item, scaled)) if "template" in (item.get("spec") or {}) else {}
        if item["kind"] == "CronJob":
            pods = self._pod(item["spec"]["jobTemplate"])
        return add(self._counts(item), pods, _storage(item))

    def surge(self, deployment: Manifest, scaled: Mapping[tuple[str, str], int]) -> Resources:
        return times(self._pod(deployment), _max_surge(deployment, _replicas(deployment, scaled)))

    def job(self, manifest: Manifest) -> Resources:
        parallel = int(manifest["spec"].get("parallelism", 1))
        return add(self._counts(manifest), times(self._pod(manifest), parallel))

    def _counts(self, item: Manifest) -> Resources:
        if self.scopes:
            return {}  # a scoped quota tracks pods only
        key = key_of(item)
        plural = _PLURALS.get(key.kind, key.kind.lower() + "s")
        counts = {f"count/{plural}.{key.group}" if key.group else f"count/{plural}": _ONE}
        if key.kind in _COUNTED:
            counts[_COUNTED[key.kind]] = _ONE
        return counts

    def _pod(self, owner: Manifest) -> Resources:
        spec = owner["spec"]["template"]["spec"]
        amounts = {
            **pod_amounts(spec, "requests", self.defaults.requests, self.defaults.limits),
            **pod_amounts(spec, "limits", self.defaults.limits, {}),
        }
        ends = "activeDeadlineSeconds" in spec or "activeDeadlineSeconds" in owner["spec"]
        return {"pods": _ONE, **amounts} if self._in_scope(ends=ends, asks=bool(amounts)) else {}

    def _in_scope(self, *, ends: bool, asks: bool) -> bool:
        matches = {"Terminating": ends, "NotTerminating": not ends, "BestEffort": not asks, "NotBestEffort": asks}
        return all(matches[scope] for scope in self.scopes)


def pod_amounts(spec: Manifest, side: str, defaults: Mapping[str, str], limit_defaults: Mapping[str, str]) -> Resources:
    """What a pod counts with: the larger of its containers together and its largest init container, plus overhead.

    Rule: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
    """
    inits = spec.get("initContainers") or []
    sidecars = [c for c in inits if c.get("restartPolicy") == "Always"]
    running = add(
        *(_container(c, side, defaults, limit_defaults) for c in [*(spec.get("containers") or []), *sidecars])
    )
    first = largest(*(_container(c, side, defaults, limit_defaults) for c in inits if c not in sidecars))
    overhead = {f"{side}.{n}": parse_quantity(q) for n, q in (spec.get("overhead") or {}).items()}
    return add(largest(running, first), overhead)


def _container(
    container: Manifest, side: str, defaults: Mapping[str, str], limit_defaults: Mapping[str, str]
) -> Resources:
    """A container's amounts; a missing request is its limit, then the LimitRange's default (as admission fills it in)."""
    resources = container.get("resources") or {}
    limits = {} if side == "limits" else (resources.get("limits") or {})
    amounts = {**limit_defaults, **defaults, **limits, **(resources.get(side) or {})}
    return {f"{side}.{name}": parse_quantity(amount) for name, amount in amounts.items()}


def _replicas(item: Manifest, scaled: Mapping[tuple[str, str], int]) -> int:
    if item["kind"] == "Job":
        return int(item["spec"].get("parallelism", 1))
    return max(int(item["spec"].get("replicas", 1)), scaled.get((item["kind"], item["metadata"]["name"]), 0))


def _max_surge(item: Manifest, replicas: int) -> int:
    """Pods above `replicas` during an update; percentages round up (`deployment.spec.strategy.rollingUpdate.maxSurge`)."""
    strategy = item["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0
    surge = (strategy.get("rollingUpdate") or {}).get("maxSurge", "25%")
    if isinstance(surge, str) and surge.endswith("%"):
        return math.ceil(replicas * int(surge[:-1]) / 100)
    return int(surge)


def _max_replicas(items: Iterable[Manifest]) -> dict[tuple[str, str], int]:
    """How far an autoscaler may go, by (kind, name) of its target; KEDA's default maximum is 100."""
    result: dict[tuple[str, str], int] = {}
    for item in items:
        spec = item.get("spec") or {}
        ref = spec.get("scaleTargetRef") or {}
        target = (ref.get("kind", "Deployment"), ref.get("name", ""))
        if item["kind"] == "HorizontalPodAutoscaler":
            result[target] = int(spec.get("maxReplicas", 1))
        elif item["kind"] == "ScaledObject":
            result[target] = int(spec.get("maxReplicaCount", 100))
    return result


def _storage(item: Manifest) -> Resources:
    """`requests.storage` in bytes of a claim or of a StatefulSet's claim templates."""
    spec = item.get("spec") or {}
    if item["kind"] == "PersistentVolumeClaim":
        return {"requests.storage": _claim(item)}
    replicas = int(spec.get("replicas", 1)) if item["kind"] == "StatefulSet" else 0
    claims = (spec.get("volumeClaimTemplates") or []) if replicas else []
    each = add({}, *({"requests.storage": _claim(c), "persistentvolumeclaims": _ONE} for c in claims))
    return times(each, replicas)


def _claim(claim: Manifest) -> Decimal:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return parse_quantity(requests.get("storage", "0"))
