"""Onboarding on a real kube-apiserver: what stands at the end, and what the identity that applies a tenant's app can't do.

Network policies exist as objects here; nothing drops packets, so that they hold traffic back is not shown by these tests.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controlplane.adapters.folder import Folder
from controlplane.adapters.kubernetes.cluster import KubernetesCluster
from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.ports.stores.operations import OperationRecord
from controlplane.services.breakglass import Keeper
from controlplane.services.fleet import Fleet as Watched
from controlplane.services.onboarding import onboard
from controlplane.services.operations.driver import drive_operation
from controlplane.services.operations.installer import RolloutInstaller
from controlplane.services.operations.run import OperationTools
from controlplane.services.rollouts.tools import RolloutTools
from controlplane.services.tenant_life import offboard
from tests.cluster.kube import Json, Kube
from tests.cluster.objects import fresh_name, namespace
from tests.contract.fleets import until, until_read
from tests.plugins.database import Database
from tests.plugins.operations import OneCluster, spec
from tests.support.registry import Fleet
from workers.drift import DriftLoop

SECURE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass
class Real:
    """A registry, a driver's tools and the administrator of one real cluster."""

    rows: Fleet
    transactions: Transactions
    tools: OperationTools
    admin: Kube

    async def onboard(self, name: str, **changes: Any) -> OperationRecord:
        async with self.transactions.platform() as uow:
            operation = await onboard(uow, spec(name, **changes), actor="mia")
        return await self.drive(operation)

    async def offboard(self, name: str) -> OperationRecord:
        async with self.transactions.platform() as uow:
            record = await uow.tenants.get(name)
            assert record is not None
            operation = await offboard(uow, record, actor="mia")
        return await self.drive(operation)

    async def drive(self, operation: Any) -> OperationRecord:
        leases = PostgresLeases(self.transactions)
        while True:
            lease = await leases.take("operation", operation, "w1")
            assert lease is not None
            await drive_operation(self.tools, lease, asyncio.Event())
            await leases.release(lease)
            async with self.transactions.platform() as uow:
                found = await uow.operations.get(operation)
            assert found is not None
            if found.ended_at:
                return found

    def deployer(self, name: str) -> Kube:
        """The identity that applies a tenant's app, with the epoch the registry gave last."""
        epoch = self.rows.ask("select epoch from environments where tenant = %s", name)[0][0]
        user = f"system:serviceaccount:{name}:seawall-deployer"
        return self.admin.with_headers({"Impersonate-User": user, "Impersonate-Extra-seawall.dev%2Fepoch": str(epoch)})


@pytest.fixture
async def real(database: Database, control_plane: LocalControlPlane) -> AsyncIterator[Real]:
    """The registry's cluster `aks-1` is the local control plane."""
    rows = Fleet(database.owner)
    rows.basics()
    transactions = Transactions(Urls(platform=database.platform, engine=database.engine))
    cluster = await KubernetesCluster.connect("aks-1", control_plane.kubeconfig)
    await cluster.start()
    await cluster.install()
    watched = Watched(OneCluster({"aks-1": cluster}))
    await watched.proven("aks-1")
    tools = OperationTools(transactions, watched, RolloutInstaller(RolloutTools(open=transactions.engine)))
    yield Real(rows, transactions, tools, Kube.from_kubeconfig(control_plane.kubeconfig))
    await watched.close()
    await cluster.close()
    await transactions.close()


async def test_an_onboarded_tenant_stands_behind_its_walls_and_offboarding_takes_them_down(real: Real) -> None:
    name = fresh_name("shop")
    assert (await real.onboard(name)).state == "succeeded"
    found = real.admin.read(f"/api/v1/namespaces/{name}")
    assert found["metadata"]["uid"] == real.rows.ask("select uid from environments where tenant = %s", name)[0][0]
    assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    quota = real.admin.read(f"/api/v1/namespaces/{name}/resourcequotas/seawall")
    assert quota["spec"]["hard"]["services.nodeports"] == "0"
    policies = real.admin.read(f"/apis/networking.k8s.io/v1/namespaces/{name}/networkpolicies")["items"]
    assert {p["metadata"]["name"] for p in policies} == {"seawall-default-deny", "seawall-egress", "seawall-ingress"}
    assert (await real.offboard(name)).state == "succeeded"
    assert real.admin.get(f"/api/v1/namespaces/{name}").status_code == 404


async def test_a_foreign_namespace_is_refused_and_untouched_on_a_real_cluster(real: Real) -> None:
    name = fresh_name("foreign")
    before = real.admin.make("/api/v1/namespaces", namespace(name, {"team": "other"}))
    operation = await real.onboard(name)
    assert operation.problem is not None
    assert operation.problem["code"] == "namespace-foreign"
    after = real.admin.read(f"/api/v1/namespaces/{name}")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_the_deployer_writes_app_objects_of_its_own_namespace_and_nothing_else(real: Real) -> None:
    mine, other = fresh_name("mine"), fresh_name("other")
    assert (await real.onboard(mine)).state == "succeeded"
    assert (await real.onboard(other)).state == "succeeded"
    deployer = real.deployer(mine)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}
    assert deployer.create(f"/api/v1/namespaces/{mine}/configmaps", config).is_success
    assert deployer.create(f"/api/v1/namespaces/{other}/configmaps", config).status_code == 403
    assert deployer.get(f"/api/v1/namespaces/{other}/configmaps").status_code == 403
    assert deployer.get(f"/api/v1/namespaces/{other}/secrets").status_code == 403
    for path in _WALLS:
        assert deployer.merge(path.format(mine), {"metadata": {"labels": {"x": "y"}}}).status_code == 403, path
        assert deployer.delete(path.format(mine)).status_code == 403, path
    for path in ("/api/v1/namespaces", "/api/v1/nodes", "/apis/rbac.authorization.k8s.io/v1/clusterroles"):
        assert deployer.get(path).status_code == 403, path
        assert deployer.create(path, {"metadata": {"name": "x"}}).status_code == 403, path


_WALLS = (
    "/api/v1/namespaces/{0}/resourcequotas/seawall",
    "/api/v1/namespaces/{0}/limitranges/seawall",
    "/apis/networking.k8s.io/v1/namespaces/{0}/networkpolicies/seawall-default-deny",
    "/api/v1/namespaces/{0}",
)


async def test_the_deployer_can_not_give_itself_or_a_chart_more_rights(real: Real) -> None:
    name = fresh_name("greedy")
    assert (await real.onboard(name)).state == "succeeded"
    deployer = real.deployer(name)
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}"
    wide = {
        "metadata": {"name": "wide"},
        "rules": [{"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["*"]}],
    }
    assert deployer.create(f"{rbac}/roles", {**_kind("Role"), **wide}).status_code == 403
    grown = {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    assert deployer.merge(f"{rbac}/roles/seawall-deployer", grown).status_code == 403
    binding = {
        **_kind("RoleBinding"),
        "metadata": {"name": "admins"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": name}],
    }
    assert deployer.create(f"{rbac}/rolebindings", binding).status_code == 403
    assert deployer.create(f"/api/v1/namespaces/{name}/serviceaccounts/app/token", {}).status_code == 403


def _kind(kind: str) -> Json:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind}


async def test_a_deployer_with_an_older_epoch_is_refused(real: Real) -> None:
    name = fresh_name("stale")
    assert (await real.onboard(name)).state == "succeeded"
    epoch = real.rows.ask("select epoch from environments where tenant = %s", name)[0][0]
    user = {"Impersonate-User": f"system:serviceaccount:{name}:seawall-deployer"}
    stale = real.admin.with_headers({**user, "Impersonate-Extra-seawall.dev%2Fepoch": str(epoch - 1)})
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}}
    answer = stale.create(f"/api/v1/namespaces/{name}/configmaps", config)
    assert answer.status_code == 403
    assert "fenced" in answer.text


async def test_pod_security_refuses_each_way_out_of_a_pod_and_admits_the_same_pod_without_it(real: Real) -> None:
    name = fresh_name("pods")
    assert (await real.onboard(name)).state == "succeeded"
    path = f"/api/v1/namespaces/{name}/pods?dryRun=All"
    good: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe"},
        "spec": {"containers": [{"name": "web", "image": "x@sha256:" + "0" * 64, "securityContext": SECURE}]},
    }
    assert real.admin.create(path, good).is_success
    privileged = real.admin.create(
        path, _with(good, {"secure": {"privileged": True, "allowPrivilegeEscalation": True}})
    )
    assert not privileged.is_success  # this API server refuses it by a flag of its own, before any policy is asked
    for field, changes in _WAYS_OUT.items():
        answer = real.admin.create(path, _with(good, changes))
        assert answer.status_code == 403, field
        assert 'violates PodSecurity "restricted' in json.loads(answer.text)["message"], field


_WAYS_OUT: dict[str, Json] = {
    "hostNetwork": {"pod": {"hostNetwork": True}},
    "hostPID": {"pod": {"hostPID": True}},
    "hostIPC": {"pod": {"hostIPC": True}},
    "hostPath": {"pod": {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}},
    "hostPort": {"container": {"ports": [{"containerPort": 80, "hostPort": 80}]}},
    "allowPrivilegeEscalation": {"secure": {"allowPrivilegeEscalation": True}},
    "capabilities": {"secure": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}},
    "runAsRoot": {"secure": {"runAsNonRoot": False, "runAsUser": 0}},
}


def _with(pod: Json, changes: Json) -> Json:
    made = deepcopy(pod)
    container = made["spec"]["containers"][0]
    made["spec"].update(changes.get("pod", {}))
    container.update(changes.get("container", {}))
    container["securityContext"].update(changes.get("secure", {}))
    return made


async def test_the_quota_refuses_node_ports_and_load_balancers(real: Real) -> None:
    name = fresh_name("ports")
    assert (await real.onboard(name)).state == "succeeded"
    for kind in ("NodePort", "LoadBalancer"):
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "out"},
            "spec": {"type": kind, "ports": [{"port": 80}], "selector": {"app": "web"}},
        }
        answer = real.admin.create(f"/api/v1/namespaces/{name}/services?dryRun=All", service)
        assert answer.status_code == 403
        assert "exceeded quota" in answer.text


async def test_a_tiers_priority_class_stands_and_a_pod_with_any_other_is_refused(real: Real) -> None:
    quota = {"requests.cpu": "2", "requests.memory": "4Gi", "pods": "20"}
    real.rows.config("tiers", "premium", {"quota": quota, "priority": 1000})
    name = fresh_name("ranked")
    assert (await real.onboard(name, tier="premium")).state == "succeeded"
    made = real.admin.read("/apis/scheduling.k8s.io/v1/priorityclasses/seawall-premium-1000")
    assert (made["value"], made["preemptionPolicy"]) == (1000, "Never")
    path = f"/api/v1/namespaces/{name}/pods?dryRun=All"
    pod: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe"},
        "spec": {"containers": [{"name": "web", "image": "x@sha256:" + "0" * 64, "securityContext": SECURE}]},
    }
    assert real.admin.create(path, _with(pod, {"pod": {"priorityClassName": "seawall-premium-1000"}})).is_success
    refused = real.admin.create(path, _with(pod, {"pod": {"priorityClassName": "system-cluster-critical"}}))
    assert refused.status_code == 403
    assert "exceeded quota: seawall-priority" in refused.text


async def test_break_glass_files_bring_a_tenant_back_by_plain_kubectl_and_the_fence_lets_its_user(
    real: Real, control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    name = fresh_name("gone")
    real.rows.config("apps", "odoo", {})
    assert (await real.onboard(name, apps={"odoo": {}})).state == "succeeded"
    real.rows.runs([name], "17.0.3")
    await Keeper(real.transactions.engine, Folder(tmp_path)).step()
    home = tmp_path / "clusters" / "aks-1" / name
    kubectl = Kubectl(control_plane.kubeconfig)
    kubectl("apply", "-f", home)  # into the sealed namespace, past both policies
    settings = f"/api/v1/namespaces/{name}/configmaps/settings"
    assert real.admin.read(settings)["data"]["version"] == "17.0.3"
    kubectl("diff", "-f", home)  # exits with 1 where anything differs
    before = real.admin.read(f"/api/v1/namespaces/{name}")["metadata"]
    assert before["annotations"]["seawall.dev/epoch"]
    kubectl("delete", "namespace", name)
    kubectl("apply", "-R", "-f", tmp_path / "clusters" / "aks-1")  # into nothing, as a whole cluster
    assert real.admin.read(settings)["data"]["version"] == "17.0.3"
    after = real.admin.read(f"/api/v1/namespaces/{name}")["metadata"]
    assert after["uid"] != before["uid"]
    assert after["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    quota = real.admin.read(f"/api/v1/namespaces/{name}/resourcequotas/seawall")
    assert quota["spec"]["hard"]["services.nodeports"] == "0"
    kubectl("apply", "--server-side", "--force-conflicts", "-f", home)


class Kubectl:
    """kubectl itself, as the administrator of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self._start = [str(Path(sys.executable).parent / "kubectl"), f"--kubeconfig={kubeconfig}"]

    def __call__(self, *words: str | Path) -> str:
        ended = subprocess.run(
            [*self._start, *map(str, words)], check=False, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, f"kubectl {words}: {ended.stdout}{ended.stderr}"
        return ended.stdout


async def test_drift_on_a_real_cluster_is_found_by_its_watches_and_repaired_under_a_new_epoch(real: Real) -> None:
    name = fresh_name("drift")
    loop = DriftLoop(real.transactions, real.tools.fleet)
    assert (await real.onboard(name)).state == "succeeded"

    async def repaired() -> Any:
        await loop.step()
        for (operation,) in real.rows.ask("select id from operations where kind = 'repair' and ended_at is null"):
            return await real.drive(operation)
        return None

    policies = f"/apis/networking.k8s.io/v1/namespaces/{name}/networkpolicies"
    assert real.admin.delete(f"{policies}/seawall-default-deny").is_success
    wide = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
    assert real.admin.merge(f"/api/v1/namespaces/{name}", wide).is_success
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/roles/seawall-deployer"
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    assert real.admin.merge(roles, {"rules": rules}).is_success
    ((before,),) = real.rows.ask("select epoch from environments where tenant = %s", name)

    async def whole() -> bool:
        await repaired()
        labels = real.admin.read(f"/api/v1/namespaces/{name}")["metadata"]["labels"]
        there = real.admin.get(f"{policies}/seawall-default-deny").is_success
        narrow = real.admin.read(roles)["rules"] != rules
        return there and narrow and labels["pod-security.kubernetes.io/enforce"] == "restricted"

    await until_read(whole, 60)
    ((epoch,),) = real.rows.ask("select epoch from environments where tenant = %s", name)
    assert epoch > before
    ((data,),) = real.rows.ask(
        "select data from history where type = 'dev.seawall.tenant.drifted.v1' and tenant = %s order by seq limit 1",
        name,
    )
    assert data["policy"] == "repair"
    for _ in range(3):
        await loop.step()
    assert real.rows.ask("select drift -> 'objects' from environments where tenant = %s", name) == [([],)]
    loop.close()


async def test_a_wall_that_went_while_no_worker_listened_comes_back(real: Real) -> None:
    name = fresh_name("unheard")
    assert (await real.onboard(name)).state == "succeeded"
    quota = f"/api/v1/namespaces/{name}/resourcequotas/seawall"
    assert real.admin.delete(quota).is_success
    cluster = real.tools.fleet.peek("aks-1")
    assert cluster is not None
    await until(lambda: cluster.quota(name) is None)
    loop = DriftLoop(real.transactions, real.tools.fleet)

    async def back() -> bool:
        await loop.step()
        for (operation,) in real.rows.ask("select id from operations where kind = 'repair' and ended_at is null"):
            await real.drive(operation)
        return real.admin.get(quota).is_success

    await until_read(back, 60)
    loop.close()
