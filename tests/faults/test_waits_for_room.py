"""A wave that waits for room on the nodes of a real control plane, says how much is missing, and goes on when there is some."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.domain.names import MANAGED_LABEL
from controlplane.ports.clusters import Fence
from tests.cluster.kube import Kube
from tests.support.processes import until

from .conftest import SOON, Field, driving

pytestmark = pytest.mark.kill


@pytest.fixture
def cordoned(control_plane: LocalControlPlane) -> Iterator[Kube]:
    """A cluster none of whose nodes takes a new pod."""
    admin = Kube.from_kubeconfig(control_plane.kubeconfig)
    names = [node["metadata"]["name"] for node in admin.read("/api/v1/nodes")["items"]]
    _cordon(admin, names, shut=True)
    yield admin
    _cordon(admin, names, shut=False)


def _cordon(admin: Kube, names: list[str], *, shut: bool) -> None:
    for name in names:
        assert admin.merge(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": shut}}).is_success


async def test_a_wave_waits_for_room_on_the_nodes_and_says_how_much_is_missing(field: Field, cordoned: Kube) -> None:
    field.rows.release("1.0")
    (name,) = await field.tenants(1)
    meta = {"name": "seawall", "labels": {MANAGED_LABEL: "true"}}
    hard = {"pods": "20", "requests.cpu": "2", "requests.memory": "4Gi", "limits.cpu": "4", "limits.memory": "8Gi"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}
    await field.cluster.apply(name, quota, Fence(1, f"onboard-{name}"), "platform")
    # what runs there already asks for as much again; it has been waiting for a node since before the wave
    container = {
        "name": "a",
        "image": "i",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    }
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    safe = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "metadata": {"name": "before"},
        "spec": {"containers": [{**container, "securityContext": security}], "securityContext": safe},
    }
    cordoned.make(f"/api/v1/namespaces/{name}/pods", {"apiVersion": "v1", "kind": "Pod", **pod})
    gate = {"capacity": {"interval": "PT1S"}}
    wave = {"name": "all", "cut": {"percent": "100%"}, "before": [gate], **SOON}
    field.rows.config("strategies", "roomy", {"waves": [wave]})
    rollout = await field.start("1.0", "roomy")
    await driving(field, "worker")

    def said() -> str:
        rows = field.rows.ask("select reason from gates where rollout_id = %s and verdict = 'wait'", rollout)
        return str(rows[0][0]) if rows else ""

    reason = await until(lambda: said() if "missing" in said() else "", what="the gate waits for room")
    found = re.search(r"requests\.cpu needs 1, (-?[\d.m]+) is free, ([\d.m]+) is missing", reason)
    assert found, reason
    assert field.targets(rollout) == {name: "pending"}
    nodes = [node["metadata"]["name"] for node in cordoned.read("/api/v1/nodes")["items"]]
    await asyncio.to_thread(_cordon, cordoned, nodes, shut=False)
    assert await field.over(rollout) == ["succeeded"]
    passed = field.rows.ask("select verdict, reason from gates where rollout_id = %s", rollout)[0]
    assert passed[0] == "pass"
    assert "has room" in passed[1]
    field.check()
