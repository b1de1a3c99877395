"""A real Kubernetes control plane on this machine, for `seawall up --fleet local`, tests and benchmarks."""

from controlplane.adapters.kubernetes.local.apiserver import ApiServer
from controlplane.adapters.kubernetes.local.build import LocalControlPlaneError, ensure_binaries, ensure_prometheus
from controlplane.adapters.kubernetes.local.launch import LocalControlPlane, Options

__all__ = [
    "ApiServer",
    "LocalControlPlane",
    "LocalControlPlaneError",
    "Options",
    "ensure_binaries",
    "ensure_prometheus",
]
