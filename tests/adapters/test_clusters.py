"""The registry of clusters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.adapters.clusters import ClusterRegistry, read_clusters
from controlplane.adapters.simulated import Front, World
from controlplane.adapters.simulated.server import FleetServer
from controlplane.domain.errors import DependencyError
from controlplane.ports.clusters import ClusterUnavailableError


@pytest.fixture
async def server() -> AsyncIterator[FleetServer]:
    made = FleetServer(Front(World()), "127.0.0.1:0")
    await made.start()
    yield made
    await made.close()


def write(folder: Path, text: str) -> Path:
    path = folder / "clusters.yaml"
    path.write_text(text)
    return path


async def test_a_configured_cluster_is_started_once_when_asked_for(server: FleetServer, tmp_path: Path) -> None:
    path = write(tmp_path, f"demo: {{kind: simulated, address: '{server.address}'}}\n")
    registry = ClusterRegistry(read_clusters(path))
    assert registry.peek("demo") is None
    cluster = await registry.get("demo")
    assert cluster is await registry.get("demo") is registry.peek("demo")
    assert (cluster.name, cluster.kind) == ("demo", "simulated")
    await registry.close()
    assert registry.peek("demo") is None


async def test_an_unknown_name_says_which_clusters_there_are(tmp_path: Path) -> None:
    registry = ClusterRegistry(read_clusters(write(tmp_path, "demo: {kind: simulated, address: '127.0.0.1:1'}")))
    with pytest.raises(DependencyError, match="knows no cluster other; it knows: demo") as refused:
        await registry.get("other")
    assert refused.value.code == "cluster-not-configured"


async def test_a_cluster_that_can_not_be_reached_is_tried_again_by_the_next_call(tmp_path: Path) -> None:
    socket = tmp_path / "fleet.sock"
    registry = ClusterRegistry(read_clusters(write(tmp_path, f"demo: {{kind: simulated, address: 'unix:{socket}'}}")))
    with pytest.raises(ClusterUnavailableError) as refused:
        await registry.get("demo")
    assert not refused.value.sent
    server = FleetServer(Front(World()), f"unix:{socket}")
    await server.start()
    assert (await registry.get("demo")).kind == "simulated"
    await registry.close()
    await server.close()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("demo: {address: '127.0.0.1:1'}", "kind"),
        ("demo: {kind: imaginary}", "kind"),
        ("demo: {kind: simulated}", "address"),
        ("demo: {kind: simulated, address: 'fleet.example:80'}", "neither unix:/path nor 127.0.0.1:port"),
        ("demo: {kind: kubernetes, kubekonfig: x}", "kubekonfig"),
        ("Demo: {kind: kubernetes}", "Demo"),
        ("{", "can't be used"),
    ],
)
def test_a_faulty_file_is_refused_with_its_fault(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(DependencyError, match=fault) as refused:
        read_clusters(write(tmp_path, text))
    assert refused.value.code == "clusters-misconfigured"


async def test_a_kubeconfig_that_is_not_there_is_told_by_its_path(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.yaml"
    registry = ClusterRegistry(read_clusters(write(tmp_path, f"k: {{kind: kubernetes, kubeconfig: '{missing}'}}")))
    with pytest.raises(DependencyError, match="nowhere") as refused:
        await registry.get("k")
    assert refused.value.code == "cluster-misconfigured"
