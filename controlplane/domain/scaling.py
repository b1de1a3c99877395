"""A suspended tenant's workloads: everything that runs pods, at zero, made of what its revision says."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

from controlplane.domain.manifests import Manifest

_SCALED = frozenset({"Deployment", "StatefulSet"})


def workloads_of(objects: Iterable[Manifest]) -> list[Manifest]:
    """The objects that suspending touches."""
    return [item for item in objects if item["kind"] in _SCALED or item["kind"] == "CronJob"]


def asleep(item: Manifest) -> Manifest:
    """The object without pods: zero replicas, or a CronJob that starts nothing. An autoscaler leaves zero replicas alone."""
    result = deepcopy(item)
    if item["kind"] in _SCALED:
        result["spec"]["replicas"] = 0
    else:
        result["spec"]["suspend"] = True
    return result
