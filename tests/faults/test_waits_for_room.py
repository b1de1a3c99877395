"""A wave that waits for room on the nodes of a real control plane, says how much is missing, and goes on when there is some."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.domain.names import MANAGED_LABEL
from controlplane.ports.clusters import Fence
from tests.cluster.kube import Kube
from tests.plugins.prometheus import Scraped
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


def asking_for_a_cpu() -> dict[str, Any]:
    """A pod that Pod Security lets in, and that counts against the quota of its namespace."""
    container = {
        "name": "a",
        "image": "i",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    safe = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": safe}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "before"}, "spec": spec}


async def running(admin: Kube, name: str) -> None:
    """What runs in a tenant's namespace before the wave, counted by its quota."""
    admin.make(f"/api/v1/namespaces/{name}/pods", asking_for_a_cpu())
    path = f"/api/v1/namespaces/{name}/resourcequotas/seawall"
    # admission counts a pod only if it has heard of the quota; a quota that is changed is counted again in any case
    assert admin.merge(path, {"spec": {"hard": {"pods": "21"}}}).is_success
    await until(lambda: used(admin.read(path)) == "1", what="the quota counts the pod")


def used(found: dict[str, Any]) -> str:
    """The processors that a quota says are requested."""
    return str(found.get("status", {}).get("used", {}).get("requests.cpu", ""))


async def test_a_wave_waits_for_room_on_the_nodes_and_says_how_much_is_missing(field: Field, cordoned: Kube) -> None:
    field.rows.release("1.0")
    (name,) = await field.tenants(1)
    meta = {"name": "seawall", "labels": {MANAGED_LABEL: "true"}}
    hard = {"pods": "20", "requests.cpu": "2", "requests.memory": "4Gi", "limits.cpu": "4", "limits.memory": "8Gi"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}
    await field.cluster.apply(name, quota, Fence(1, f"onboard-{name}"), "platform")
    # what runs there already asks for as much again; it has been waiting for a node since before the wave
    await running(cordoned, name)
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


def quota(cpu: str) -> dict[str, Any]:
    meta = {"name": "seawall", "labels": {MANAGED_LABEL: "true"}}
    hard = {"pods": "20", "requests.cpu": cpu, "requests.memory": "4Gi", "limits.cpu": "8", "limits.memory": "8Gi"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}


async def test_before_each_target_only_the_one_whose_quota_is_short_waits_and_all_while_the_database_is_full(
    field: Field, control_plane: LocalControlPlane, prometheus: Scraped
) -> None:
    admin = Kube.from_kubeconfig(control_plane.kubeconfig)
    roomy, tight = await field.tenants(2)
    for name, cpu in ((roomy, "4"), (tight, "1500m")):
        await field.cluster.apply(name, quota(cpu), Fence(1, f"onboard-{name}"), "platform")
        await running(admin, name)
    prometheus.page = "# TYPE db_used_ratio gauge\ndb_used_ratio 0.97\n"
    await prometheus.sees("db_used_ratio")
    full: dict[str, Any] = {"query": "max(db_used_ratio)", "max": 0.8, "samples": 1}
    gate = {"capacity": {"quota": True, "databases": [full], "interval": "PT1S"}}
    wave = {"name": "all", "cut": {"percent": "100%"}, "beforeEach": [gate], **SOON}
    field.rows.config("strategies", "roomy", {"waves": [wave], "limits": {"inFlight": 2}})
    field.rows.release("1.0")
    rollout = await field.start("1.0", "roomy")
    await driving(field, "worker", SEAWALL_METRICS_SOURCE=prometheus.url)

    def said(name: str, what: str) -> str:
        rows = field.rows.ask(
            "select reason from target_gates where rollout_id = %s and tenant = %s and verdict = 'wait'", rollout, name
        )
        return str(rows[0][0]) if rows and what in rows[0][0] else ""

    await until(lambda: said(roomy, "0.97 > 0.8"), what="a full database holds everybody")
    assert field.targets(rollout) == {roomy: "pending", tight: "pending"}
    prometheus.page = "# TYPE db_used_ratio gauge\ndb_used_ratio 0.4\n"
    await until(lambda: field.targets(rollout)[roomy] == "verified", what="there is room for one")
    reason = await until(lambda: said(tight, "quota of"), what="the other one waits for its quota")
    assert reason == f"quota of {tight}: requests.cpu needs 1, 500m is free, 500m is missing"
    assert field.targets(rollout)[tight] == "pending"
    assert admin.merge(f"/api/v1/namespaces/{tight}/resourcequotas/seawall", quota("4")).is_success
    assert await field.over(rollout) == ["succeeded"]
    field.check()
