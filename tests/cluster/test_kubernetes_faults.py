"""The Kubernetes adapter when its API server is busy, broken, silent, or has forgotten where a watch was."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from controlplane.adapters.fleet.cache import STALE_AFTER
from controlplane.ports.clusters import ClusterUnavailableError, NamespaceChange, ObjectRef
from tests.contract.fleets import config_map, deployment, fence, sealed_namespace, state, until, until_read
from tests.contract.kubernetes_fleet import KubernetesFleet, kubernetes_fleet
from tests.support.kube_proxy import KubeProxy, Rule, kube_proxy


@pytest.fixture(scope="module")
async def proxy(cluster_kubeconfig: Path) -> AsyncIterator[KubeProxy]:
    async with kube_proxy(cluster_kubeconfig) as made:
        yield made


@pytest.fixture(scope="module")
async def fleet(
    proxy: KubeProxy, cluster_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KubernetesFleet]:
    through = proxy.kubeconfig(tmp_path_factory.mktemp("proxy"))
    async with kubernetes_fleet(through, admin=cluster_kubeconfig) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(proxy: KubeProxy) -> None:
    proxy.rules.clear()


def calls(outcome: str) -> float:
    labels = {"cluster": "local", "method": "PATCH", "outcome": outcome}
    return REGISTRY.get_sample_value("seawall_cluster_call_seconds_count", labels) or 0


async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(proxy: KubeProxy, fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    proxy.rules.append(Rule("answer", "PATCH", f"{home.name}/configmaps", status=429, headers={"Retry-After": "1"}))
    asked, counted = time.monotonic(), calls("busy")
    with pytest.raises(ClusterUnavailableError) as refused:
        await fleet.cluster.apply(home.name, config_map(), fence())
    assert calls("busy") == counted + 1
    assert (refused.value.code, refused.value.retry_after, refused.value.sent) == ("cluster-busy", 1, False)
    before = len(proxy.seen)
    with pytest.raises(ClusterUnavailableError) as waiting:
        await fleet.cluster.apply(home.name, config_map(), fence())
    assert waiting.value.code == "cluster-busy"
    assert not [one for one in proxy.seen[before:] if "configmaps" in one]

    async def applied() -> bool:
        try:
            return (await fleet.cluster.apply(home.name, config_map(), fence())).changed
        except ClusterUnavailableError:
            return False

    await until_read(applied)
    assert time.monotonic() - asked >= 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_error_leaves_the_outcome_open(proxy: KubeProxy, fleet: KubernetesFleet, status: int) -> None:
    home = await sealed_namespace(fleet)
    proxy.rules.append(Rule("answer", "PATCH", f"{home.name}/configmaps", status=status))
    with pytest.raises(ClusterUnavailableError) as refused:
        await fleet.cluster.apply(home.name, config_map(), fence())
    assert (refused.value.code, refused.value.sent) == ("cluster-unavailable", True)
    assert (await fleet.cluster.apply(home.name, config_map(), fence())).changed


async def test_a_silent_server_is_given_up_within_5_seconds(proxy: KubeProxy, fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    proxy.rules.append(Rule("hang", "PATCH", f"{home.name}/configmaps"))
    asked = time.monotonic()
    with pytest.raises(ClusterUnavailableError, match="no answer within 5 s") as refused:
        await fleet.cluster.apply(home.name, config_map(), fence())
    assert refused.value.sent
    assert 4.5 < time.monotonic() - asked < 6
    assert any("timeout=5s" in one for one in proxy.seen if f"{home.name}/configmaps" in one)


async def test_a_lost_answer_is_not_taken_for_a_write_that_did_not_happen(
    proxy: KubeProxy, fleet: KubernetesFleet
) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, config_map("first"), fence())  # the deployer's rights act now
    proxy.rules.append(Rule("lose", "PATCH", f"{home.name}/configmaps"))
    with pytest.raises(ClusterUnavailableError) as refused:
        await fleet.cluster.apply(home.name, config_map(a="1"), fence())
    assert refused.value.sent
    seen = await until_read(lambda: fleet.cluster.get(home.name, ObjectRef("v1", "ConfigMap", "settings")))
    assert seen is not None
    assert seen["data"] == {"a": "1"}


async def test_a_delete_whose_preconditions_never_hold_says_that_the_object_is_busy(
    proxy: KubeProxy, fleet: KubernetesFleet
) -> None:
    home = await sealed_namespace(fleet)
    made = await fleet.cluster.apply(home.name, config_map(), fence())
    conflict = {"kind": "Status", "reason": "Conflict", "message": "the precondition does not hold", "code": 409}
    rule = Rule("answer", "DELETE", f"{home.name}/configmaps", times=None, status=409, body=conflict)
    proxy.rules.append(rule)
    with pytest.raises(ClusterUnavailableError) as refused:
        await fleet.cluster.delete(home.name, made.ref, fence())
    assert (refused.value.code, refused.value.sent, rule.hits) == ("object-busy", False, 3)


async def test_an_answer_that_is_no_status_is_still_told(proxy: KubeProxy, fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    proxy.rules.append(Rule("answer", "PATCH", f"{home.name}/configmaps", status=502, body={"gateway": "down"}))
    with pytest.raises(ClusterUnavailableError, match="502"):
        await fleet.cluster.apply(home.name, config_map(), fence())


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_watch_that_the_server_has_forgotten_lists_again(
    proxy: KubeProxy, fleet: KubernetesFleet, streamed: bool
) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, deployment("kept"), fence())
    await fleet.cluster.apply(home.name, deployment("doomed"), fence())
    await until(lambda: state(fleet, home.name, name="doomed"))
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    body = {"type": "ERROR", "object": gone} if streamed else gone
    proxy.rules.append(Rule("answer", "GET", "deployments.*watch=1", status=200 if streamed else 410, body=body))
    lists = [one for one in proxy.seen if "apps/v1/deployments" in one and "watch=1" not in one]
    await proxy.stop()
    await fleet.admin_delete_deployment(home.name, "doomed")
    await proxy.start()
    await until(lambda: state(fleet, home.name, name="doomed") is None)
    assert state(fleet, home.name, name="kept")
    relisted = [one for one in proxy.seen if "apps/v1/deployments" in one and "watch=1" not in one]
    assert len(relisted) > len(lists)
    assert proxy.rules[0].hits == 1
    await until(fleet.cluster.live)


async def test_a_broken_connection_resumes_where_the_watch_was(proxy: KubeProxy, fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, deployment("before"), fence())
    await until(lambda: state(fleet, home.name, name="before"))
    lists = [one for one in proxy.seen if "apps/v1/deployments" in one and "watch=1" not in one]
    await proxy.stop()
    with pytest.raises(ClusterUnavailableError) as refused:
        await fleet.cluster.read_namespace(home.name)
    assert not refused.value.sent
    await fleet.admin_delete_deployment(home.name, "before")
    await proxy.start()
    await until(lambda: state(fleet, home.name, name="before") is None)
    assert [one for one in proxy.seen if "apps/v1/deployments" in one and "watch=1" not in one] == lists


async def test_watches_that_stall_are_not_live_though_the_server_answers(
    proxy: KubeProxy, fleet: KubernetesFleet
) -> None:
    await until(fleet.cluster.live)
    heard: list[NamespaceChange] = []
    end = fleet.cluster.subscribe(lambda change: heard.append(change) if change.liveness else None)
    stalled = time.monotonic()
    proxy.stall_watches()
    assert await fleet.cluster.version()
    await until(lambda: not fleet.cluster.live())
    assert time.monotonic() - stalled <= STALE_AFTER + 1
    await until(lambda: heard == [NamespaceChange("local", "", liveness=True)])
    assert REGISTRY.get_sample_value("seawall_cluster_watch_live", {"cluster": "local"}) == 0
    proxy.resume_watches()
    await until(fleet.cluster.live)
    await until(lambda: len(heard) == 2)
    assert REGISTRY.get_sample_value("seawall_cluster_watch_live", {"cluster": "local"}) == 1
    end()
