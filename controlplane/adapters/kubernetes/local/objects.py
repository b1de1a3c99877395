"""The objects a fresh control plane gets before anybody else writes to it, and its audit policy."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]
"""A Kubernetes object as JSON: its shape is the API server's to check."""

ADMIN_GROUP = "seawall:local-admins"
KWOK_USER = "seawall-local:kwok"
RBAC = "rbac.authorization.k8s.io"


def node(index: int) -> Manifest:
    """A fake node that kwok plays, large enough that capacity never decides a test."""
    capacity = {"cpu": "10k", "memory": "64Ti", "pods": "100k", "ephemeral-storage": "1Pi"}
    name = f"node-{index}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"},
        },
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def access() -> list[tuple[str, Manifest]]:
    """(path, object) of the roles: administrators by RBAC like in a managed cluster, and kwok as kubelet of all nodes.

    kwok's rules are those of its own `kustomize/rbac/role.yaml`, without the kinds of its CRDs.
    """
    rules = [
        _rule([""], ["events"], ["create", "patch", "update"]),
        _rule([""], ["nodes"], ["get", "list", "watch"]),
        _rule([""], ["nodes/status", "pods/status"], ["patch", "update"]),
        _rule([""], ["pods"], ["get", "list", "watch", "patch", "update", "delete"]),
        _rule(["coordination.k8s.io"], ["leases"], ["get", "list", "watch", "create", "patch", "update"]),
    ]
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": KWOK_USER}, "rules": rules}
    roles = f"/apis/{RBAC}/v1/clusterroles"
    bindings = f"{roles[: -len('roles')]}rolebindings"
    return [
        (bindings, _binding(ADMIN_GROUP, "cluster-admin", "Group", ADMIN_GROUP)),
        (roles, role),
        (bindings, _binding(KWOK_USER, KWOK_USER, "User", KWOK_USER)),
    ]


def audit_policy() -> Manifest:
    """Every write to the kinds a tenant's namespace is made of, with bodies; nothing of what controllers and kwok write.

    Audit rules can't select by label, and they see the authenticated user, not the impersonated one; the event
    itself carries both, with the impersonated extra.
    """
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "None", "users": ["system:kube-controller-manager", "system:kube-scheduler", KWOK_USER]},
            {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", "serviceaccounts/token"]}]},
            {"level": "RequestResponse", "resources": _audited()},
            {"level": "Metadata"},
        ],
    }


def _audited() -> list[Manifest]:
    core = "namespaces services configmaps serviceaccounts resourcequotas limitranges persistentvolumeclaims pods"
    groups = ("apps", "batch", "networking.k8s.io", "policy", "autoscaling", RBAC)
    return [{"group": "", "resources": core.split()}, *({"group": group} for group in groups)]


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> Manifest:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


def _binding(name: str, role: str, kind: str, subject: str) -> Manifest:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": kind, "name": subject}],
    }
