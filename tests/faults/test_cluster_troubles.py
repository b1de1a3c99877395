"""An API server that is busy, broken, silent or in conflict while a rollout runs, and namespaces that say no."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.domain.names import MANAGED_LABEL
from controlplane.ports.clusters import Fence
from tests.cluster.kube import Kube
from tests.support.kube_proxy import Rule, kube_proxy

from .conftest import Field, clusters_file, driving

pytestmark = pytest.mark.kill


async def test_a_rollout_goes_through_what_an_api_server_in_trouble_answers(
    field: Field, control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    field.rows.release("1.0")
    names = await field.tenants(4)
    rollout = await field.start("1.0")
    async with kube_proxy(control_plane.kubeconfig) as proxy:
        through = {"kind": "kubernetes", "kubeconfig": str(proxy.kubeconfig(tmp_path))}
        field.processes.clusters = clusters_file(tmp_path, through)
        conflict = {"kind": "Status", "reason": "Conflict", "message": "the object has been modified", "code": 409}
        proxy.rules += [
            Rule("answer", "PATCH", f"{names[0]}/deployments", status=500, times=2),
            Rule("lose", "PATCH", f"{names[0]}/services"),
            Rule("answer", "PATCH", f"{names[1]}/deployments", status=429, headers={"Retry-After": "1"}),
            Rule("answer", "PATCH", f"{names[2]}/services", status=409, body=conflict),
            Rule("hang", "PATCH", f"{names[3]}/services"),
        ]
        await driving(field, "worker")
        assert await field.over(rollout) == ["succeeded"]
        assert [rule.hits for rule in proxy.rules] == [2, 1, 1, 1, 1]
    assert len(field.processes.claims()) == 1
    assert field.rows.ask("select count(*) from holds") == [(0,)]
    field.check()


async def test_a_full_quota_and_a_dying_namespace_are_never_blamed_on_the_release(
    field: Field, control_plane: LocalControlPlane
) -> None:
    admin = Kube.from_kubeconfig(control_plane.kubeconfig)
    field.rows.release("1.0")
    field.rows.release("2.0")
    full, dying, well = await field.tenants(3)
    first = await field.start("1.0")
    await driving(field, "worker")
    assert await field.over(first) == ["succeeded"]
    meta = {"name": "seawall", "labels": {MANAGED_LABEL: "true"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "1"}}}
    epoch = field.rows.ask("select epoch from environments where tenant = %s", full)[0][0]
    await field.cluster.apply(full, quota, Fence(epoch, "tier"), "platform")
    keeps = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "keeps", "finalizers": ["seawall.test/keep"]},
    }
    admin.make(f"/api/v1/namespaces/{dying}/configmaps", keeps)
    assert admin.delete(f"/api/v1/namespaces/{dying}").is_success
    second = await field.start("2.0")
    await field.over(second)
    states = field.targets(second)
    assert states == {full: "skipped", dying: "skipped", well: "verified"}
    codes = dict(field.rows.ask("select tenant, code from targets where rollout_id = %s", second))
    assert (codes[full], codes[dying]) == ("quota", "namespace-terminating")
    assert field.rows.ask("select count(*) from holds") == [(0,)]
    admin.merge(f"/api/v1/namespaces/{dying}/configmaps/keeps", {"metadata": {"finalizers": None}})
    field.check()
