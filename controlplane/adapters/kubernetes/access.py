"""How a process's configuration says where a Kubernetes cluster is."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from controlplane.ports.clusters import Cluster


class KubernetesAccess(BaseModel):
    """A kubeconfig and one of its contexts (none: its current one); without a kubeconfig the pod's own ServiceAccount."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["kubernetes"]
    kubeconfig: Path | None = None
    context: str | None = None

    async def connect(self, name: str) -> Cluster:
        """The cluster, not started yet. Raises `DependencyError` (`cluster-misconfigured`)."""
        # The client takes a second or more and 50 MB to import: a process that has no such cluster does without, and the
        # leases of one that has are renewed meanwhile.
        module = await asyncio.to_thread(import_module, "controlplane.adapters.kubernetes.cluster")
        path = self.kubeconfig.expanduser() if self.kubeconfig else None
        connected: Cluster = await module.KubernetesCluster.connect(name, path, self.context)
        return connected
