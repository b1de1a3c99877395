"""As whom Seawall speaks to an API server, and the names of what it keeps there for itself."""

from __future__ import annotations

from controlplane.adapters.kubernetes.fence_policies import IMPERSONATE_EPOCH
from controlplane.ports.clusters import Identity

SYSTEM_NAMESPACE = "seawall-system"
WORKER_NAME = "seawall-worker"
DEPLOYER_NAME = "seawall-deployer"
WORKER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{WORKER_NAME}"
PROBE_NAMESPACE = "seawall-fence-probe"
"""Sealed with `PROBE_EPOCH` for ever: where a process sees the fence refuse before it dispatches."""
PROBE_EPOCH = 2
STRANGER = f"system:serviceaccount:{PROBE_NAMESPACE}:stranger"
"""May create ConfigMaps in the probe namespace, and is not Seawall: the marks policy must refuse it."""
HEARTBEAT = "seawall-heartbeat"
BEAT_LABEL = "seawall.dev/beat"
FIELD_MANAGER = "seawall"
HANDOVER_MANAGER = "seawall-handover"
"""Holds a field that Seawall lets go, until whoever is to have it takes it."""


def reader() -> dict[str, str]:
    """Headers of a call that changes nothing."""
    return {"Impersonate-User": WORKER}


def writer(epoch: int, identity: Identity, namespace: str) -> dict[str, str]:
    """Headers of a mutating call: who writes, and by which epoch."""
    user = WORKER if identity == "platform" else f"system:serviceaccount:{namespace}:{DEPLOYER_NAME}"
    return {"Impersonate-User": user, IMPERSONATE_EPOCH: str(epoch)}
