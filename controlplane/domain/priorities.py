"""A tier's place in the scheduler's queue: one PriorityClass for each tier and value, and the pods that carry it. Pure.

A class never preempts (`preemptionPolicy: Never`): a shop of a higher tier is scheduled first, and no other shop's pod dies for it.
Its value can't be changed in Kubernetes, so the value is part of its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from controlplane.domain.manifests import Manifest, Rendered
from controlplane.domain.names import MANAGED_LABEL
from controlplane.domain.tiers import TierSpec
from controlplane.domain.walls import pod_template

QUOTA_NAME = "seawall-priority"


def class_name(tier_name: str, tier: TierSpec) -> str:
    """The PriorityClass of a tier; empty if the tier names no priority."""
    return "" if tier.priority is None else f"seawall-{tier_name}-{tier.priority}"


def priority_class(tier_name: str, tier: TierSpec) -> Manifest | None:
    """The cluster's object, or None."""
    if tier.priority is None:
        return None
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": class_name(tier_name, tier), "labels": {MANAGED_LABEL: "true"}},
        "value": tier.priority,
        "preemptionPolicy": "Never",
        "globalDefault": False,
        "description": f"Seawall tier {tier_name}",
    }


def only_these(classes: Sequence[str]) -> dict[str, Any]:
    """The spec of a ResourceQuota that refuses every pod with any other class, such as `system-cluster-critical`.

    Scopes: https://kubernetes.io/docs/concepts/policy/resource-quotas/#resource-quota-per-priorityclass
    """
    other = [
        {"scopeName": "PriorityClass", "operator": "Exists"},
        {"scopeName": "PriorityClass", "operator": "NotIn", "values": sorted(classes)},
    ]
    return {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": other}}


def with_class(rendered: Rendered, name: str) -> Rendered:
    """Content whose pods carry the class; a release may not name one itself, so nothing is overwritten."""
    if not name:
        return rendered
    jobs = tuple(job.model_copy(update={"manifest": _given(job.manifest, name)}) for job in rendered.jobs)
    objects = tuple(_given(item, name) for item in rendered.objects)
    return Rendered(objects=objects, jobs=jobs, left_out=rendered.left_out, dropped=rendered.dropped)


def _given(item: Manifest, name: str) -> Manifest:
    if pod_template(item) is None:
        return item
    made = deepcopy(item)
    found = pod_template(made)
    if found is not None:
        found[1]["spec"]["priorityClassName"] = name
    return made
