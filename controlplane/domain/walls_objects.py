"""The walls of one tenant environment as Kubernetes objects. Pure: tier, cluster and tenant in, manifests out.

Who is kept from what: Pod Security `restricted` (no host access), ResourceQuota and LimitRange (nobody starves another),
NetworkPolicies (nobody reaches another), and the Role of `seawall-deployer`, as which a tenant's app is applied: app kinds
in its own namespace only, no quota, no policy. A Role it writes can't grant what it has not itself, because it has
neither `escalate` nor `bind` (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controlplane.domain.manifests import Manifest
from controlplane.domain.names import (
    ENVIRONMENT_LABEL,
    EPOCH_ANNOTATION,
    FENCED_LABEL,
    INSTALLATION_ANNOTATION,
    MANAGED_LABEL,
    OPERATION_ANNOTATION,
    TENANT_LABEL,
    digest_of,
)
from controlplane.domain.priorities import QUOTA_NAME as PRIORITY_QUOTA
from controlplane.domain.priorities import only_these
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.walls import NAMESPACED_KINDS

DEPLOYER: Final = "seawall-deployer"
APP_ACCOUNT: Final = "app"
QUOTA_NAME: Final = "seawall"
_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_PLURALS: Final = {"Ingress": "ingresses"}
_WRITE: Final = ["get", "list", "create", "update", "patch", "delete"]


@dataclass(frozen=True, slots=True)
class Place:
    """One tenant environment and its namespace."""

    tenant: str
    environment: str
    namespace: str


def namespace_labels(place: Place) -> dict[str, str]:
    """What marks the Namespace as ours, fences it, and puts it under Pod Security `restricted`."""
    modes = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {**_marks(place), FENCED_LABEL: "true", **modes}


def namespace_annotations(installation: str, operation: str, epoch: int) -> dict[str, str]:
    """What says who created the Namespace, and its first seal: it is born with the creator's epoch."""
    return {
        INSTALLATION_ANNOTATION: installation,
        OPERATION_ANNOTATION: operation,
        EPOCH_ANNOTATION: str(epoch),
    }


def wall_objects(
    place: Place, tier: TierSpec, cluster: ClusterSpec, classes: Sequence[str] = ()
) -> tuple[Manifest, ...]:
    """All wall objects besides the Namespace, in the order in which they are applied.

    `classes`: the PriorityClasses that pods may have; without any, nothing limits them here.
    """
    return (
        *([_object(place, "v1", "ResourceQuota", PRIORITY_QUOTA, spec=only_these(classes))] if classes else []),
        _quota(place, tier),
        _limits(place, tier),
        _policy(place, "seawall-default-deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
        _policy(place, "seawall-egress", _egress(tier, cluster)),
        _policy(place, "seawall-ingress", _ingress(cluster)),
        _object(place, "v1", "ServiceAccount", DEPLOYER, automountServiceAccountToken=False),
        _object(place, "v1", "ServiceAccount", APP_ACCOUNT, automountServiceAccountToken=False),
        _object(place, "rbac.authorization.k8s.io/v1", "Role", DEPLOYER, rules=deployer_rules()),
        _binding(place),
    )


def wall_names() -> frozenset[tuple[str, str]]:
    """(kind, name) of the wall objects that every tenant's namespace holds."""
    made = wall_objects(Place("t", "production", "t"), TierSpec(), ClusterSpec())
    return frozenset((one["kind"], one["metadata"]["name"]) for one in made)


def walls_hash(objects: tuple[Manifest, ...], labels: Mapping[str, str]) -> str:
    """One hash of all that the walls should be: equal hashes mean there is nothing to change."""
    return digest_of({"objects": list(objects), "labels": dict(labels)})


def deployer_rules() -> list[dict[str, Any]]:
    """What the deployer may write: the kinds a release may hold, and reading the pods they lead to."""
    groups: dict[str, list[str]] = {}
    for group, kind in sorted(NAMESPACED_KINDS):
        groups.setdefault(group, []).append(_PLURALS.get(kind, kind.lower() + "s"))
    rules = [{"apiGroups": [group], "resources": names, "verbs": _WRITE} for group, names in sorted(groups.items())]
    return [*rules, {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["get", "list"]}]


def _marks(place: Place) -> dict[str, str]:
    return {MANAGED_LABEL: "true", TENANT_LABEL: place.tenant, ENVIRONMENT_LABEL: place.environment}


def _object(place: Place, api_version: str, kind: str, name: str, **content: Any) -> Manifest:
    metadata = {"name": name, "namespace": place.namespace, "labels": _marks(place)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def _policy(place: Place, name: str, spec: Manifest) -> Manifest:
    return _object(place, "networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)


def _quota(place: Place, tier: TierSpec) -> Manifest:
    return _object(place, "v1", "ResourceQuota", QUOTA_NAME, spec={"hard": tier.hard()})


def _limits(place: Place, tier: TierSpec) -> Manifest:
    limits = tier.limits
    container: dict[str, Any] = {
        "type": "Container",
        "default": limits.default.model_dump(),
        "defaultRequest": limits.default_request.model_dump(),
    }
    if limits.max is not None:
        container["max"] = limits.max.model_dump()
    return _object(place, "v1", "LimitRange", QUOTA_NAME, spec={"limits": [container]})


def _egress(tier: TierSpec, cluster: ClusterSpec) -> Manifest:
    dns = {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
    }
    rules: list[dict[str, Any]] = [dns, {"to": [{"podSelector": {}}]}]
    networks = sorted({*tier.egress, *cluster.egress})
    if networks:
        rules.append({"to": [{"ipBlock": {"cidr": cidr}} for cidr in networks]})
    return {"podSelector": {}, "policyTypes": ["Egress"], "egress": rules}


def _ingress(cluster: ClusterSpec) -> Manifest:
    sources: list[dict[str, Any]] = [{"podSelector": {}}]
    sources += [
        {"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: name}}} for name in sorted(cluster.ingress_namespaces)
    ]
    return {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": sources}]}


def _binding(place: Place) -> Manifest:
    return _object(
        place,
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        DEPLOYER,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": DEPLOYER},
        subjects=[{"kind": "ServiceAccount", "name": DEPLOYER, "namespace": place.namespace}],
    )
