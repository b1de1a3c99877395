"""Nodes that are drained and lost during a wave, on the real control plane: the release is not blamed, and goes on when they are back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.adapters.kubernetes.local.objects import node
from tests.cluster.kube import Kube
from tests.support.charts import DEPLOYMENT, SERVICE, chart
from tests.support.processes import until

from .conftest import Field, driving

pytestmark = pytest.mark.kill

ZONE = "topology.kubernetes.io/zone"
IN_ZONE = DEPLOYMENT.replace("      containers:", f"      nodeSelector: {{{ZONE}: lost}}\n      containers:")
CAREFUL: dict[str, Any] = {
    "waves": [
        {"name": "pilot", "cut": {"count": 1}, "soak": {"for": "PT5S", "samples": 1}},
        {"name": "rest", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}},
    ],
    "limits": {"inFlight": 3},
    "success": {"maxFailures": 0, "progressDeadline": "PT4S", "disturbanceLimit": "PT2M"},
}


@contextlib.contextmanager
def zone_of_its_own(admin: Kube) -> Iterator[list[str]]:
    """Two nodes in a zone that no other test uses."""
    names = ["lost-1", "lost-2"]
    try:
        for name in names:
            add_node(admin, name)
        yield names
    finally:
        for name in names:
            admin.delete(f"/api/v1/nodes/{name}")


def add_node(admin: Kube, name: str) -> None:
    made = node(0)
    made["metadata"] |= {
        "name": name,
        "labels": {**made["metadata"]["labels"], "kubernetes.io/hostname": name, ZONE: "lost"},
    }
    admin.make("/api/v1/nodes", made)


def cordon(admin: Kube, name: str, on: bool = True) -> None:
    assert admin.merge(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": on or None}}).is_success


def code_of(field: Field, rollout: UUID, tenant: str) -> tuple[str, str, str]:
    """(state, code, reason) of a target."""
    asked = "select state, code, reason from targets where rollout_id = %s and tenant = %s"
    state, code, reason = field.rows.ask(asked, rollout, tenant)[0]
    return state, code, reason


async def test_a_zone_that_is_drained_and_lost_during_a_wave_is_waited_out_and_not_blamed_on_the_release(
    field: Field, control_plane: LocalControlPlane
) -> None:
    admin = Kube.from_kubeconfig(control_plane.kubeconfig)
    parts = {"web.yaml": IN_ZONE, "service.yaml": SERVICE}
    for version in ("1.0", "2.0"):
        field.rows.release(version, chart(parts, values={"release": version}, base=False))
    field.rows.config("strategies", "careful", CAREFUL)
    with zone_of_its_own(admin) as nodes:
        names = await field.tenants(3)
        first = await field.start("1.0")
        await driving(field, "worker")
        assert await field.over(first) == ["succeeded"]
        rollout = await field.start("2.0", "careful")
        await until(lambda: "soak" in field.targets(rollout).values(), 30, "the pilot soaks")
        pilot = next(tenant for tenant, state in field.targets(rollout).items() if state == "soak")
        for name in nodes:
            cordon(admin, name)
        assert admin.delete(f"/api/v1/namespaces/{pilot}/pods").is_success
        for name in nodes:
            assert admin.delete(f"/api/v1/nodes/{name}").is_success

        await until(lambda: code_of(field, rollout, pilot)[1] == "disturbed", 30, "the pilot is held")
        past = "select now() > since + interval '10 seconds' from targets where rollout_id = %s and tenant = %s"
        await until(
            lambda: field.rows.ask(past, rollout, pilot)[0][0], 30, "more than two progress deadlines have passed"
        )
        state, code, reason = code_of(field, rollout, pilot)
        assert (state, code) == ("soak", "disturbed")
        assert "lost" in reason
        assert {s for t, s in field.targets(rollout).items() if t != pilot} == {"pending"}

        for name in nodes:
            add_node(admin, name)
        assert await field.over(rollout) == ["succeeded"]
        assert field.targets(rollout) == dict.fromkeys(names, "verified") | {}
    told = field.rows.ask(
        "select type from history where subject_id = %s and tenant = %s order by seq", str(rollout), pilot
    )
    assert [t.split(".")[3] for (t,) in told] == ["target-started", "target-disturbed", "target-verified"]
    assert field.rows.ask("select count(*) from holds") == [(0,)]
    field.check()


async def test_waves_hold_on_a_cluster_whose_nodes_are_being_replaced(
    field: Field, control_plane: LocalControlPlane
) -> None:
    admin = Kube.from_kubeconfig(control_plane.kubeconfig)
    field.rows.release("1.0")
    with zone_of_its_own(admin) as nodes:
        (name,) = await field.tenants(1)
        cordon(admin, nodes[0])
        rollout = await field.start("1.0")
        await driving(field, "worker")
        await until(lambda: code_of(field, rollout, name)[1] == "cluster-upgrading", 30, "it waits for the upgrade")
        assert "lost-1 is cordoned" in code_of(field, rollout, name)[2]
        assert field.rows.ask("select count(*) from steps") == [(0,)]
        cordon(admin, nodes[0], on=False)
        assert await field.over(rollout) == ["succeeded"]
    field.check()
