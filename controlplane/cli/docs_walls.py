"""The documentation's tables of the walls, read from the function that makes them."""

from __future__ import annotations

from typing import Any

from controlplane.domain.manifests import Manifest
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.walls_objects import Place, deployer_rules, wall_objects

_WHAT = {
    "ResourceQuota/seawall": "the tier's `quota`; node ports and load balancers are 0 unless the tier names a number",
    "LimitRange/seawall": "what a container gets that asks for nothing, and the most one may ask for: the tier's `limits`",
    "NetworkPolicy/seawall-default-deny": "every pod, both directions: nothing",
    "NetworkPolicy/seawall-egress": "opens DNS, the pods of the same namespace, and the networks that tier and cluster name",
    "NetworkPolicy/seawall-ingress": "opens the pods of the same namespace, and those of the cluster's `ingressNamespaces`",
    "ServiceAccount/seawall-deployer": "as which a release is applied; no pod runs as it, no token of it is mounted",
    "ServiceAccount/app": "for the app's pods; no token is mounted unless a pod asks for it",
    "Role/seawall-deployer": "what the deployer may do, see below",
    "RoleBinding/seawall-deployer": "gives that Role to that ServiceAccount",
}


def wall_objects_table() -> str:
    """Give the table of wall objects; an object without a sentence is a KeyError."""
    made = wall_objects(Place("t", "production", "t"), TierSpec(), ClusterSpec())
    rows = ["| object | what it holds |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{_name(item)}` | {_WHAT[_name(item)]} |" for item in made)])


def _name(item: Manifest) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def deployer_rights() -> str:
    """Give the table of the deployer's rights."""
    rows = ["| API group | resources | verbs |", "|---|---|---|"]
    for rule in deployer_rules():
        resources = ", ".join(rule["resources"])
        rows.append(f"| {rule['apiGroups'][0] or 'core'} | {resources} | {', '.join(rule['verbs'])} |")
    return "\n".join(rows)


def tier_fields() -> str:
    """Give a tier with its defaults, as JSON."""
    import json

    body: dict[str, Any] = TierSpec().model_dump(mode="json")
    return "\n".join(["```json", json.dumps(body, indent=2), "```"])
