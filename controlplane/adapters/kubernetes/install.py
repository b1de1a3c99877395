"""What a cluster needs once: Seawall's identities and rights, the two policies, the probe's namespace, the heartbeat objects."""

from __future__ import annotations

from controlplane.adapters.kubernetes.fence_policies import fence_policies
from controlplane.adapters.kubernetes.identities import (
    DEPLOYER_NAME,
    PROBE_NAMESPACE,
    STRANGER,
    SYSTEM_NAMESPACE,
    WORKER_NAME,
)
from controlplane.domain.names import EPOCH_ANNOTATION
from controlplane.ports.clusters import Manifest

RBAC = "rbac.authorization.k8s.io"
_ALL = ["get", "list", "watch", "create", "update", "patch", "delete"]
_READ = ["get", "list", "watch"]
_STRANGER_NAME = STRANGER.rpartition(":")[2]

_PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


def administrator_objects() -> list[Manifest]:
    """What only an administrator may write, in order; none of it carries a mark."""
    return [
        _object("v1", "Namespace", SYSTEM_NAMESPACE),
        _object("v1", "Namespace", PROBE_NAMESPACE),
        _object("v1", "ServiceAccount", WORKER_NAME, SYSTEM_NAMESPACE),
        _object("v1", "ServiceAccount", _STRANGER_NAME, PROBE_NAMESPACE),
        _object(f"{RBAC}/v1", "ClusterRole", WORKER_NAME, rules=worker_rules()),
        _binding("ClusterRoleBinding", WORKER_NAME, "ClusterRole", SYSTEM_NAMESPACE),
        _object(f"{RBAC}/v1", "Role", _STRANGER_NAME, PROBE_NAMESPACE, rules=[_rule([""], ["configmaps"], ["create"])]),
        _binding("RoleBinding", _STRANGER_NAME, "Role", PROBE_NAMESPACE),
        *fence_policies(),
    ]


def worker_rules() -> list[Manifest]:
    """The worker's rights. It hands out roles it doesn't hold itself (`escalate`, `bind`), because deployers get theirs from it.

    Of Secrets it may only see that they are there; the adapter asks for metadata alone.
    """
    walls = "configmaps limitranges namespaces persistentvolumeclaims resourcequotas serviceaccounts services"
    return [
        _rule([""], walls.split(), _ALL),
        _rule(["apps"], ["daemonsets", "deployments", "replicasets", "statefulsets"], _ALL),
        _rule(["batch"], ["cronjobs", "jobs"], _ALL),
        _rule(["networking.k8s.io"], ["ingresses", "networkpolicies"], _ALL),
        _rule(["policy"], ["poddisruptionbudgets"], _ALL),
        _rule(["autoscaling"], ["horizontalpodautoscalers"], _ALL),
        _rule([RBAC], ["rolebindings", "roles"], [*_ALL, "bind", "escalate"]),
        _rule(["scheduling.k8s.io"], ["priorityclasses"], ["get", "create"]),
        _rule([""], ["events", "nodes", "pods", "secrets"], _READ),
        {
            **_rule([""], ["serviceaccounts"], ["impersonate"]),
            "resourceNames": [WORKER_NAME, DEPLOYER_NAME, _STRANGER_NAME],
        },
        _rule(["authentication.k8s.io"], [f"userextras/{EPOCH_ANNOTATION}"], ["impersonate"]),
    ]


def object_path(manifest: Manifest) -> str:
    """Path of one of these objects."""
    api, meta = manifest["apiVersion"], manifest["metadata"]
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    home = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{root}{home}/{_PLURALS[manifest['kind']]}/{meta['name']}"


def _object(api_version: str, kind: str, name: str, namespace: str = "", **content: object) -> Manifest:
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **content}


def _binding(kind: str, name: str, role: str, namespace: str) -> Manifest:
    home = namespace if kind == "RoleBinding" else ""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    ref = {"apiGroup": RBAC, "kind": role, "name": name}
    return _object(f"{RBAC}/v1", kind, name, home, roleRef=ref, subjects=[subject])


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> Manifest:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}
