"""ResourceQuotas of the simulated fleet: what a namespace uses, and what no longer fits.

Names and meaning: https://kubernetes.io/docs/concepts/policy/resource-quotas/ (pods, requests.*, limits.*, count/<resource>.<group>).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from controlplane.adapters.simulated.store import Store
from controlplane.domain.quantities import format_quantity, parse_quantity
from controlplane.ports.clusters import Manifest

type Usage = dict[str, Decimal]

CLASS = "priorityclass/"
"""A pod's usage names its class under this, for quotas that have it as scope."""
_COUNTED = {"ConfigMap", "Secret", "Service", "PersistentVolumeClaim", "ResourceQuota", "ReplicationController"}
"""Kinds of the core group whose plural alone (`configmaps`) is a quota's resource name too."""


def object_usage(api_version: str, kind: str) -> Usage:
    """What one object counts as, whatever is in it."""
    group = api_version.partition("/")[0] if "/" in api_version else ""
    plural = plural_of(kind)
    usage = {f"count/{plural}.{group}" if group else f"count/{plural}": Decimal(1)}
    if kind in _COUNTED:
        usage[plural] = Decimal(1)
    return usage


def plural_of(kind: str) -> str:
    """The resource's name of a kind, by the rule that all built-in kinds follow."""
    low = kind.lower()
    if low.endswith("y"):
        return f"{low[:-1]}ies"
    return f"{low}es" if low.endswith(("s", "x", "ch")) else f"{low}s"


def pod_usage(template: Mapping[str, Any], limit_ranges: Iterable[Manifest] = ()) -> Usage:
    """What one pod of a template counts as; a LimitRange of the namespace fills what its containers leave out."""
    defaults = _defaults(limit_ranges)
    usage: Usage = {"pods": Decimal(1), "count/pods": Decimal(1)}
    if name := (template.get("spec") or {}).get("priorityClassName"):
        usage[CLASS + str(name)] = Decimal(1)
    for container in (template.get("spec") or {}).get("containers") or []:
        resources = container.get("resources") or {}
        limits = {**defaults["limits"], **(resources.get("limits") or {})}
        requests = {**defaults["requests"], **(resources.get("requests") or {})}
        for name, amount in {**limits, **requests}.items():
            _add(usage, f"requests.{name}", amount)
            _add(usage, name, amount)
        for name, amount in limits.items():
            _add(usage, f"limits.{name}", amount)
    return usage


def _add(usage: Usage, name: str, amount: object) -> None:
    usage[name] = usage.get(name, Decimal(0)) + parse_quantity(str(amount))


def other_classes(quota: Manifest, usage: Mapping[str, Decimal]) -> set[str]:
    """The priority classes in `usage` that a quota of that scope counts (`Exists` and `NotIn`, the form that Seawall writes)."""
    expressions = ((quota.get("spec") or {}).get("scopeSelector") or {}).get("matchExpressions") or []
    allowed = {value for one in expressions for value in one.get("values") or []}
    return {key for key in usage if key.startswith(CLASS)} - {CLASS + name for name in allowed}


def is_scoped(quota: Manifest) -> bool:
    """Whether a quota counts some pods only."""
    spec = quota.get("spec") or {}
    return bool(spec.get("scopeSelector") or spec.get("scopes"))


def _defaults(limit_ranges: Iterable[Manifest]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {"limits": {}, "requests": {}}
    for one in limit_ranges:
        for limit in (one.get("spec") or {}).get("limits") or []:
            if limit.get("type") == "Container":
                found["limits"].update(limit.get("default") or {})
                found["requests"].update(limit.get("defaultRequest") or {})
    return found


class Quotas:
    """Checks and counts for all namespaces. `pods` gives the usage of a namespace's pods."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pods: dict[str, Usage] = {}

    def refuses(self, namespace: str, usage: Usage) -> str:
        """The API server's sentence if adding `usage` breaks a quota; empty if it fits."""
        for quota in self._store.of_kind(namespace, "ResourceQuota"):
            if is_scoped(quota.obj):
                if others := other_classes(quota.obj, usage):
                    return f"exceeded quota: {quota.meta['name']}, requested: pods={len(others)}, used: pods=0, limited: pods=0"
                continue
            hard = (quota.obj.get("spec") or {}).get("hard") or {}
            broken = [name for name in hard if name in usage]
            if not broken:
                continue
            used = self._used(namespace)
            broken = [n for n in broken if used.get(n, Decimal(0)) + usage[n] > parse_quantity(str(hard[n]))]
            if broken:
                asked = ",".join(f"{n}={format_quantity(usage[n])}" for n in broken)
                have = ",".join(f"{n}={format_quantity(used.get(n, Decimal(0)))}" for n in broken)
                limit = ",".join(f"{n}={hard[n]}" for n in broken)
                return f"exceeded quota: {quota.meta['name']}, requested: {asked}, used: {have}, limited: {limit}"
        return ""

    def pods(self, namespace: str, usage: Usage, sign: int) -> None:
        """Count a pod in (1) or out (-1)."""
        held = self._pods.setdefault(namespace, {})
        for name, amount in usage.items():
            held[name] = held.get(name, Decimal(0)) + sign * amount

    def forget(self, namespace: str) -> None:
        """The namespace is gone."""
        self._pods.pop(namespace, None)

    def publish(self, namespace: str) -> None:
        """Write used and hard into each quota's status, as the quota controller does."""
        quotas = list(self._store.of_kind(namespace, "ResourceQuota"))
        if not quotas:
            return
        used = self._used(namespace)
        for quota in quotas:
            if is_scoped(quota.obj):
                continue
            hard = dict((quota.obj.get("spec") or {}).get("hard") or {})
            shown = {name: format_quantity(used.get(name, Decimal(0)), binary="memory" in name) for name in hard}
            self._store.status(quota, {"hard": hard, "used": shown})

    def _used(self, namespace: str) -> Usage:
        used = dict(self._pods.get(namespace, {}))
        for stored in self._store.objects.get(namespace, {}).values():
            for name, amount in object_usage(stored.obj["apiVersion"], stored.obj["kind"]).items():
                used[name] = used.get(name, Decimal(0)) + amount
        return used
