"""The real API server under the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from controlplane.adapters.kubernetes.cluster import KubernetesCluster
from controlplane.ports.clusters import Cluster, Manifest
from tests.cluster.kube import Kube

_PATHS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Namespace": "/api/v1/namespaces",
}


class KubernetesFleet:
    """A started adapter, and the cluster's administrator, who is not Seawall."""

    def __init__(self, cluster: KubernetesCluster, admin: Kube) -> None:
        self.cluster: Cluster = cluster
        self.kubernetes = cluster
        self.admin = admin

    async def write(self, namespace: str, manifest: Manifest, manager: str = "somebody") -> None:
        """Create, or merge if it exists; raises AssertionError with the server's words when refused."""
        path = _PATHS[manifest["kind"]].format(namespace)
        name = manifest["metadata"]["name"]
        exists = (await asyncio.to_thread(self.admin.get, f"{path}/{name}")).is_success
        query = f"?fieldManager={manager}"
        if exists:
            answer = await asyncio.to_thread(self.admin.merge, f"{path}/{name}{query}", manifest)
        else:
            answer = await asyncio.to_thread(self.admin.create, f"{path}{query}", manifest)
        assert answer.is_success, answer.text

    async def remove(self, namespace: str, kind: str, name: str) -> None:
        """Delete without asking."""
        answer = await asyncio.to_thread(self.admin.delete, f"{_PATHS[kind].format(namespace)}/{name}")
        assert answer.is_success, answer.text

    async def admin_delete_deployment(self, namespace: str, name: str) -> None:
        """Delete a Deployment past the adapter."""
        await self.remove(namespace, "Deployment", name)


@asynccontextmanager
async def kubernetes_fleet(kubeconfig: Path, admin: Path | None = None) -> AsyncIterator[KubernetesFleet]:
    """Connected and started; installed, because every test needs that. `admin`: where the administrator connects, if elsewhere."""
    cluster = await KubernetesCluster.connect("local", kubeconfig)
    await cluster.start()
    await cluster.install()
    try:
        yield KubernetesFleet(cluster, Kube.from_kubeconfig(admin or kubeconfig))
    finally:
        await cluster.close()
