"""The local Kubernetes control plane as a fixture: one per pytest process, started by the first test that asks.

`control_plane` is always one of our own: tests that stop, pause or read the audit log need that. `cluster_kubeconfig`
also takes a cluster from outside, by envtest's convention: `KUBECONFIG` together with
`SEAWALL_KUBECONFIG_WRITABLE=1`, the word that this cluster may be written to. Tests share the cluster, so each makes
namespaces of its own. With pytest-xdist all of them run in one process (`tests.plugins.spread`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.adapters.kubernetes.local import LocalControlPlane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[LocalControlPlane]:
    """A running control plane with five nodes, built first if need be (about 8 minutes, once)."""
    with LocalControlPlane() as running:
        yield running


@pytest.fixture(scope="session")
def cluster_kubeconfig(request: pytest.FixtureRequest) -> Path:
    """An administrator's kubeconfig: the given cluster's if it may be written to, else the local control plane's."""
    given = os.environ.get("KUBECONFIG")
    if given and os.environ.get("SEAWALL_KUBECONFIG_WRITABLE") == "1":
        return Path(given)
    local: LocalControlPlane = request.getfixturevalue("control_plane")
    return local.kubeconfig
