"""Onboarding: names are reserved at once, walls stand at the end, and whatever happens in between is repeated or told."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from controlplane.domain.errors import ConflictError, InvalidError, SeawallError
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.walls_objects import Place, namespace_annotations, namespace_labels, wall_objects
from controlplane.ports.clusters import Fence, NamespaceView
from controlplane.ports.leases import HeldLease
from controlplane.ports.stores.operations import OperationRecord
from controlplane.services.onboarding import batch_onboard, onboard
from controlplane.services.operations.driver import drive_operation
from tests.contract.fleets import until_read
from tests.plugins.operations import Works, ndjson, spec

WALLS = {
    "ResourceQuota/seawall",
    "LimitRange/seawall",
    "NetworkPolicy/seawall-default-deny",
    "NetworkPolicy/seawall-egress",
    "NetworkPolicy/seawall-ingress",
    "ServiceAccount/seawall-deployer",
    "ServiceAccount/app",
    "Role/seawall-deployer",
    "RoleBinding/seawall-deployer",
}


async def accepted(works: Works, name: str = "acme-fr", **changes: Any) -> uuid.UUID:
    return await works.accept(lambda uow: onboard(uow, spec(name, **changes), actor="mia"))


async def refused(works: Works, **changes: Any) -> SeawallError:
    with pytest.raises(SeawallError) as found:
        await accepted(works, **changes)
    assert (
        works.fleet.ask("select count(*) from operations")[0][0] == works.fleet.ask("select count(*) from leases")[0][0]
    )
    return found.value


async def test_an_onboarded_tenant_is_active_behind_all_its_walls(works: Works) -> None:
    both = {"production": {"cluster": "aks-1"}, "staging": {"cluster": "aks-1"}}
    operation = await works.finish(await accepted(works, environments=both))
    assert (operation.state, operation.result) == ("succeeded", {"succeeded": 2, "failed": 0})
    assert await works.phase("acme-fr") == ("active", "")
    for namespace in ("acme-fr", "acme-fr--staging"):
        assert works.objects(namespace) >= WALLS
        view = await works.cluster.read_namespace(namespace)
        assert view is not None
        assert view.labels["pod-security.kubernetes.io/enforce"] == "restricted"
        stored = works.fleet.ask("select uid, epoch, slot_id from environments where namespace = %s", namespace)
        assert stored == [(view.uid, view.epoch, None)]


async def test_every_effect_is_in_the_ledger_and_observed(works: Works) -> None:
    operation = await works.finish(await accepted(works))
    rows = works.fleet.ask("select verb, kind, state, outcome, issued_at <= observed_at from steps order by ordinal")
    assert len(rows) == 1 + len(WALLS)
    assert rows[0] == ("create", "Namespace", "OBSERVED", "ok", True)
    assert {row[2:] for row in rows} == {("OBSERVED", "ok", True)}
    assert operation.counts == {"succeeded": 1}


async def test_the_name_is_reserved_at_once_and_a_duplicate_is_refused(works: Works) -> None:
    await accepted(works)
    assert (await refused(works)).code == "tenant-exists"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tier": "golden"}, "unknown-tier"),
        ({"environments": {"production": {"cluster": "nowhere"}}}, "unknown-cluster"),
        ({"apps": {"odoo": {}}}, "unknown-app"),
    ],
)
async def test_what_is_not_there_is_refused_by_name_and_reserves_nothing(
    works: Works, changes: dict[str, Any], code: str
) -> None:
    error = await refused(works, **changes)
    assert isinstance(error, InvalidError)
    assert error.code == code
    assert error.errors[0].pointer
    await accepted(works)


async def test_a_host_of_another_tenant_is_refused(works: Works) -> None:
    await accepted(works, "one", environments={"production": {"cluster": "aks-1", "hosts": ["shop.example"]}})
    error = await refused(
        works, name="two", environments={"production": {"cluster": "aks-2", "hosts": ["shop.example"]}}
    )
    assert isinstance(error, ConflictError)
    assert error.code == "host-taken"


async def test_a_cluster_dedicated_to_another_tenant_is_refused(works: Works) -> None:
    works.fleet.config("clusters", "aks-2", {"dedicatedTo": "big-one"})
    assert (await refused(works, environments={"production": {"cluster": "aks-2"}})).code == "cluster-dedicated"


async def test_a_foreign_namespace_is_refused_and_untouched(works: Works) -> None:
    works.world.create_namespace("acme-fr", {"team": "other"}, {})
    operation = await works.finish(await accepted(works))
    assert operation.state == "failed"
    assert operation.problem is not None
    assert operation.problem["code"] == "namespace-foreign"
    phase, reason = await works.phase("acme-fr")
    assert phase == "onboarding"
    assert "not Seawall's" in reason
    view = await works.cluster.read_namespace("acme-fr")
    assert view is not None
    assert (view.labels.get("team"), view.epoch) == ("other", 0)
    assert not works.objects("acme-fr") & WALLS


async def _made_by_hand(works: Works, name: str, **tier: Any) -> None:
    """A namespace with the objects that the walls would have, made by somebody else."""
    works.world.create_namespace(name, {}, {})
    cluster = ClusterSpec.model_validate({"region": "west"})
    for manifest in wall_objects(Place(name, "production", name), TierSpec(**tier), cluster):
        theirs = {**manifest, "metadata": {"name": manifest["metadata"]["name"]}}
        await works.cluster.control("foreign_write", namespace=name, manifest=theirs, manager="kubectl")


async def test_an_identical_namespace_is_taken_over_and_sealed(works: Works) -> None:
    await _made_by_hand(works, "acme-fr", quota={"requests.cpu": "2", "requests.memory": "4Gi", "pods": "20"})
    before = works.world.read_namespace("acme-fr")
    assert before is not None
    assert (await works.finish(await accepted(works, adopt="if-identical"))).state == "succeeded"
    view = await works.cluster.read_namespace("acme-fr")
    assert view is not None
    assert (view.uid, view.labels["seawall.dev/fenced"]) == (before["metadata"]["uid"], "true")
    assert works.fleet.ask("select uid, epoch from environments") == [(view.uid, view.epoch)]


async def test_a_namespace_that_differs_is_refused_with_the_first_difference_and_untouched(works: Works) -> None:
    await _made_by_hand(works, "acme-fr", quota={"requests.cpu": "4", "requests.memory": "4Gi", "pods": "20"})
    operation = await works.finish(await accepted(works, adopt="if-identical"))
    assert operation.problem is not None
    assert operation.problem["code"] == "namespace-not-identical"
    assert "/ResourceQuota/seawall/spec/hard/requests.cpu" in operation.problem["detail"]
    view = await works.cluster.read_namespace("acme-fr")
    assert view is not None
    assert view.epoch == 0


async def _lost(works: Works, name: str) -> NamespaceView:
    """A namespace that this installation made, sealed at epoch 9, for a tenant of which the registry has no row any more."""
    async with works.transactions.engine() as uow:
        installation = str(await uow.tenants.installation())
    labels = namespace_labels(Place(name, "production", name))
    made = await works.cluster.create_namespace(name, labels, namespace_annotations(installation, str(uuid.uuid4()), 1))
    fence = Fence(9, "a step that the registry lost")
    await works.cluster.seal(name, made.uid, fence)
    tier = TierSpec(quota={"requests.cpu": "2", "requests.memory": "4Gi", "pods": "20"})
    for manifest in wall_objects(Place(name, "production", name), tier, ClusterSpec.model_validate({"region": "west"})):
        await works.cluster.apply(name, manifest, fence, "platform")
    return made


async def test_a_namespace_of_a_tenant_that_the_registry_lost_is_named_as_such_and_taken_back_on_request(
    works: Works,
) -> None:
    for name in ("acme-fr", "acme-de"):
        await _lost(works, name)
    refused = await works.finish(await accepted(works, "acme-fr"))
    assert refused.problem is not None
    assert refused.problem["code"] == "namespace-lost"
    assert "adopt: if-identical" in refused.problem["detail"]
    before = await works.cluster.read_namespace("acme-de")
    assert before is not None
    taken = await works.finish(await accepted(works, "acme-de", adopt="if-identical"))
    assert taken.state == "succeeded"
    view = await works.cluster.read_namespace("acme-de")
    assert view is not None
    assert view.uid == before.uid
    assert view.epoch > 9, "the registry continues above what it had forgotten"
    stored = works.fleet.ask("select uid, epoch from environments where tenant = 'acme-de'")
    assert stored == [(view.uid, view.epoch)]


async def test_an_onboarding_waits_until_a_terminating_namespace_is_gone(works: Works) -> None:
    works.world.create_namespace("acme-fr", {}, {})
    works.world.terminate("acme-fr")
    assert (await works.finish(await accepted(works))).state == "succeeded"
    assert works.objects("acme-fr") >= WALLS


async def test_observing_writes_nothing_and_reports_owners_and_refusals(works: Works) -> None:
    works.world.create_namespace("acme-fr", {}, {})
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "shop"},
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"hostNetwork": True, "containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }
    await works.cluster.control("foreign_write", namespace="acme-fr", manifest=deployment, manager="helm")
    before = works.world.store.dump()
    operation = await works.finish(await accepted(works, adopt="observe"))
    assert operation.state == "succeeded"
    assert (await works.phase("acme-fr"))[0] == "observed"
    async with works.transactions.platform() as uow:
        report = (await uow.operations.items(operation.id))[0].memory["report"]
    assert report["owners"][0] == {"tool": "Helm", "name": "shop", "objects": ["Deployment/web"]}
    assert "host-access" in {refusal["code"] for refusal in report["refusals"]}
    after = works.world.store.dump()
    assert {k: v for k, v in after.items() if "acme-fr" in str(k)} == {
        k: v for k, v in before.items() if "acme-fr" in str(k)
    }


async def test_a_batch_carries_out_good_lines_and_reports_each_bad_one(works: Works) -> None:
    body = ndjson(
        spec("one"),
        "not json",
        {"name": "Two", "tier": "standard", "region": "west", "environments": {"production": {"cluster": "aks-1"}}},
        spec("three", tier="golden"),
        spec("one"),
        spec("four"),
    )
    operation = await works.finish(await works.accept(lambda uow: batch_onboard(uow, body, actor="mia")))
    assert operation.state == "succeeded"
    async with works.transactions.platform() as uow:
        items = await uow.operations.items(operation.id)
    problems = {item.spec["line"]: item.problem for item in items}
    assert problems[1] is None
    assert problems[6] is None
    codes = {n: p["code"] for n, p in problems.items() if p}
    assert problems[3] is not None
    assert codes == {2: "invalid-json", 3: "invalid", 4: "unknown-tier", 5: "tenant-exists"}
    assert problems[3]["errors"][0]["pointer"] == "/name"
    assert await works.phase("one") == ("active", "")
    assert await works.phase("four") == ("active", "")


@pytest.mark.parametrize("body", [b"", b"\n\n"])
async def test_an_empty_batch_is_refused(works: Works, body: bytes) -> None:
    with pytest.raises(InvalidError) as found:
        await works.accept(lambda uow: batch_onboard(uow, body, actor="mia"))
    assert found.value.code == "empty-batch"


@pytest.mark.parametrize("mode", ["unavailable", "busy", "error", "lost-answer"])
@pytest.mark.parametrize("call", ["create_namespace", "apply"])
async def test_a_cluster_that_fails_for_a_while_delays_and_loses_nothing(works: Works, mode: str, call: str) -> None:
    works.trouble(mode, times=1, operation=call)
    operation = await works.finish(await accepted(works))
    assert operation.state == "succeeded"
    assert works.objects("acme-fr") >= WALLS


async def test_while_a_cluster_is_away_the_operation_says_what_it_waits_for(works: Works) -> None:
    works.trouble("unavailable")
    operation_id = await accepted(works)
    task = asyncio.create_task(works.finish(operation_id))
    found = await until_read(lambda: _when(works, operation_id, "waiting"))
    assert found is not None
    assert found.waiting_for[0]["gate"] == "cluster"
    assert found.waiting_for[0]["since"]
    works.front.troubles.clear()
    assert (await task).state == "succeeded"


async def test_a_successor_takes_over_after_every_single_call_and_finishes(works: Works) -> None:
    """Each call in turn is the last one of its driver; the next one finds what it left and goes on."""
    for nth in range(1, 2 + len(WALLS)):
        operation_id = await accepted(works, f"t{nth}")
        await _die_after(works, operation_id, nth)
        assert (await works.finish(operation_id)).state == "succeeded"
        assert works.objects(f"t{nth}") >= WALLS
    open_steps = works.fleet.ask("select count(*) from steps where state <> 'OBSERVED'")
    assert open_steps == [(0,)]


async def _when(works: Works, operation_id: uuid.UUID, state: str) -> OperationRecord | None:
    found = await works.read(operation_id)
    return found if found.state == state else None


async def _die_after(works: Works, operation_id: uuid.UUID, calls: int) -> None:
    """Drive until so many calls were made, then vanish: no release, no further write. The lease is then over."""
    lease = await works.leases.take("operation", operation_id, "first")
    assert lease is not None
    made = asyncio.Event()
    seen = 0
    original = works.front.call

    async def counting(operation: str, args: Any) -> Any:
        nonlocal seen
        answer = await original(operation, args)
        if operation in ("create_namespace", "seal", "apply"):
            seen += 1
            if seen >= calls:
                made.set()
                await asyncio.Event().wait()
        return answer

    works.front.call = counting  # type: ignore[method-assign]  # the test stands in for one call
    driver = asyncio.create_task(drive_operation(works.tools, lease, asyncio.Event()))
    await made.wait()
    driver.cancel()
    await asyncio.gather(driver, return_exceptions=True)
    works.front.call = original  # type: ignore[method-assign]  # the test stands in for one call
    works.fleet.run("update leases set expires_at = now() - interval '1 s' where subject_id = %s", operation_id)


async def test_a_driver_that_lost_its_lease_writes_nothing_more(works: Works) -> None:
    operation_id = await accepted(works)
    lease = await works.leases.take("operation", operation_id, "first")
    assert lease is not None
    works.fleet.run("update leases set expires_at = now() - interval '1 s'")
    assert (await works.finish(operation_id)).state == "succeeded"
    stale = HeldLease("operation", operation_id, "first", lease.epoch, 0)
    with pytest.raises(ConflictError):
        await drive_operation(works.tools, stale, asyncio.Event())
    epoch = works.fleet.ask("select epoch from environments")[0][0]
    quota = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}}
    with pytest.raises(ConflictError):
        await works.cluster.apply("acme-fr", quota, Fence(epoch - 1, "late"), "platform")


async def test_a_fence_higher_than_the_registrys_is_read_and_passed(works: Works) -> None:
    operation_id = await accepted(works)
    await works.finish(operation_id)
    view = await works.cluster.read_namespace("acme-fr")
    assert view is not None
    await works.cluster.seal("acme-fr", view.uid, Fence(view.epoch + 1000, "a registry that went back"))
    works.fleet.run("update operations set state = 'running', due_at = now(), ended_at = null")
    works.fleet.run("update operation_items set state = 'pending', stage = ''")
    assert (await works.finish(operation_id)).state == "succeeded"
    assert works.fleet.ask("select epoch from environments")[0][0] > view.epoch + 1000
