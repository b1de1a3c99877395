"""The command lines of the five processes, as pure functions of where their files and ports are.

The figures decide what the cluster can do: with stock flags (20 requests a second for the controllers) a fleet moves
2.4 tenants a second, with these 15. Every benchmark that runs on this control plane says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SERVICE_NETWORK = "10.96.0.0/16"
SERVING_NAMES = ("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1")

CONTROLLER_CLIENT = ("--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000")
BUSY_CONTROLLERS = (
    "deployment",
    "replicaset",
    "statefulset",
    "daemonset",
    "job",
    "namespace",
    "resource-quota",
    "endpoint",
    "service-endpoint",
    "gc",
)
SYNCS = 20


@dataclass(frozen=True)
class Layout:
    """Where one run keeps its files."""

    root: Path
    binaries: Path

    def pki(self, name: str) -> str:
        """Path of a certificate or key."""
        return str(self.root / "pki" / name)

    def kubeconfig(self, name: str) -> Path:
        """Path of the kubeconfig of one identity."""
        return self.root / f"{name}.kubeconfig"

    def program(self, name: str) -> str:
        """Path of a binary."""
        return str(self.binaries / name)


def etcd(layout: Layout, port: int) -> list[str]:
    """One member on loopback, without fsync: its data lives no longer than the run."""
    url = f"http://127.0.0.1:{port}"
    return [
        layout.program("etcd"),
        f"--data-dir={layout.root / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
    ]


def apiserver(layout: Layout, etcd_port: int, port: int, audit_log: Path, extra: Sequence[str] = ()) -> list[str]:
    """kube-apiserver with RBAC, quotas and limits, service account tokens, an audit log, and room for a whole wave."""
    return [
        layout.program("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        # Two API servers on loopback would fight over one Endpoints object that nothing reads.
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--client-ca-file={layout.pki('ca.crt')}",
        f"--tls-cert-file={layout.pki('server.crt')}",
        f"--tls-private-key-file={layout.pki('server.key')}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.pki('service-account.pub')}",
        f"--service-account-signing-key-file={layout.pki('service-account.key')}",
        "--authorization-mode=RBAC",
        "--anonymous-auth=false",
        "--enable-admission-plugins=ResourceQuota,LimitRanger",
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        f"--audit-policy-file={layout.root / 'audit-policy.yaml'}",
        f"--audit-log-path={audit_log}",
        # No rotation within a run: a history is read from its beginning.
        "--audit-log-maxsize=102400",
        *extra,
    ]


def controller_manager(layout: Layout) -> list[str]:
    """kube-controller-manager; each controller acts under its own service account, as in a managed cluster."""
    return [
        layout.program("kube-controller-manager"),
        f"--kubeconfig={layout.kubeconfig('kube-controller-manager')}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={layout.pki('service-account.key')}",
        f"--root-ca-file={layout.pki('ca.crt')}",
        "--secure-port=0",
        *CONTROLLER_CLIENT,
        *(f"--concurrent-{name}-syncs={SYNCS}" for name in BUSY_CONTROLLERS),
    ]


def scheduler(layout: Layout) -> list[str]:
    """kube-scheduler."""
    return [
        layout.program("kube-scheduler"),
        f"--kubeconfig={layout.kubeconfig('kube-scheduler')}",
        "--secure-port=0",
        *CONTROLLER_CLIENT,
    ]


def kwok(layout: Layout, stages: Sequence[Path]) -> list[str]:
    """Kwok plays the kubelet of every node by the given stages."""
    return [
        layout.program("kwok"),
        f"--kubeconfig={layout.kubeconfig('kwok')}",
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        *(f"--config={stage}" for stage in stages),
    ]
