"""From (apiVersion, kind) to a path of the API: a table for the built-in kinds, discovery for all others."""

from __future__ import annotations

from controlplane.adapters.kubernetes.identities import reader
from controlplane.adapters.kubernetes.transport import RefusedError, Request, Transport
from controlplane.ports.clusters import RejectedError

_BUILT_IN: dict[str, str] = {
    "v1": "ConfigMap:configmaps Endpoints:endpoints Event:events LimitRange:limitranges "
    "PersistentVolumeClaim:persistentvolumeclaims Pod:pods ResourceQuota:resourcequotas Secret:secrets "
    "Service:services ServiceAccount:serviceaccounts ReplicationController:replicationcontrollers",
    "apps/v1": "DaemonSet:daemonsets Deployment:deployments ReplicaSet:replicasets StatefulSet:statefulsets",
    "batch/v1": "CronJob:cronjobs Job:jobs",
    "networking.k8s.io/v1": "Ingress:ingresses NetworkPolicy:networkpolicies",
    "policy/v1": "PodDisruptionBudget:poddisruptionbudgets",
    "autoscaling/v2": "HorizontalPodAutoscaler:horizontalpodautoscalers",
    "rbac.authorization.k8s.io/v1": "Role:roles RoleBinding:rolebindings",
}


def group_path(api_version: str) -> str:
    """`/api/v1` or `/apis/<group>/<version>`."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


class Resources:
    """Finds plurals; what discovery told is kept for the life of the process."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._plurals: dict[tuple[str, str], str] = {}
        for api_version, pairs in _BUILT_IN.items():
            for pair in pairs.split():
                kind, plural = pair.split(":")
                self._plurals[api_version, kind] = plural

    async def path(self, namespace: str, api_version: str, kind: str, name: str = "") -> str:
        """Path of a namespaced collection or object. Raises `RejectedError` for a kind that the cluster doesn't know."""
        plural = self._plurals.get((api_version, kind)) or await self._discover(api_version, kind)
        path = f"{group_path(api_version)}/namespaces/{namespace}/{plural}"
        return f"{path}/{name}" if name else path

    async def _discover(self, api_version: str, kind: str) -> str:
        what = f"look up kind {kind} of {api_version}"
        try:
            found = await self._transport.call(Request("GET", group_path(api_version), what, reader()))
        except RefusedError as error:
            if error.refusal.status != 404:
                raise
            raise _unknown(api_version, kind) from error
        for one in found.body.get("resources") or []:
            if one.get("namespaced") and "/" not in one["name"]:
                self._plurals[api_version, one["kind"]] = one["name"]
        plural = self._plurals.get((api_version, kind))
        if plural is None:
            raise _unknown(api_version, kind)
        return plural


def _unknown(api_version: str, kind: str) -> RejectedError:
    detail = f"The cluster knows no namespaced kind {kind} in {api_version}. Install its CustomResourceDefinition, or leave it out."
    return RejectedError(detail)
