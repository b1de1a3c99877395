"""What every cluster does, simulated or real: the engine relies on each sentence here."""

from __future__ import annotations

import pytest

from controlplane.domain.health import WorkloadState
from controlplane.domain.names import EPOCH_ANNOTATION, JOB_FINALIZER, MANAGED_LABEL, STEP_ANNOTATION
from controlplane.domain.priorities import only_these, priority_class
from controlplane.domain.tiers import TierSpec
from controlplane.ports.clusters import (
    AlreadyExistsError,
    FencedError,
    NamespaceGoneError,
    ObjectRef,
    QuotaExceededError,
    RejectedError,
)
from tests.contract.fleets import (
    Fleet,
    changed_copy,
    config_map,
    deployment,
    fence,
    fenced,
    fresh_name,
    job,
    notes,
    quota,
    sealed_namespace,
    unmarked,
    until,
    until_read,
)


async def test_the_fence_is_proven_and_the_watches_become_live(fleet: Fleet) -> None:
    await fleet.cluster.prove_fence()
    await until(fleet.cluster.live)
    assert fleet.cluster.kind in {"simulated", "kubernetes"}
    assert await fleet.cluster.version()


async def test_installing_twice_is_harmless(fleet: Fleet) -> None:
    await fleet.cluster.install()
    await fleet.cluster.prove_fence()


async def test_a_namespace_is_made_once_and_recognised_by_its_operation(fleet: Fleet) -> None:
    name = fresh_name()
    made = await fleet.cluster.create_namespace(name, {"seawall.dev/tenant": name}, notes("op-a"))
    again = await fleet.cluster.create_namespace(name, {"seawall.dev/tenant": name}, notes("op-a"))
    assert (again.uid, again.epoch, again.terminating) == (made.uid, 0, False)
    assert made.labels["seawall.dev/tenant"] == name
    with pytest.raises(AlreadyExistsError) as refused:
        await fleet.cluster.create_namespace(name, {}, notes("op-b"))
    assert refused.value.code == "already-exists"


async def test_a_foreign_namespace_can_be_read_but_not_taken_by_creating_it(fleet: Fleet) -> None:
    name = fresh_name("foreign")
    await fleet.write("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    with pytest.raises(AlreadyExistsError):
        await fleet.cluster.create_namespace(name, {}, notes())
    seen = await fleet.cluster.read_namespace(name)
    assert seen is not None
    assert seen.epoch == 0
    assert fleet.cluster.namespace(name) is None


async def test_a_missing_namespace_reads_as_none_and_refuses_writes(fleet: Fleet) -> None:
    name = fresh_name()
    assert await fleet.cluster.read_namespace(name) is None
    for write in (
        fleet.cluster.apply(name, config_map(), fence(), "platform"),
        fleet.cluster.create(name, config_map(), fence(), "platform"),
        fleet.cluster.seal(name, "some-uid", fence()),
        fleet.cluster.dry_run(name, config_map()),
    ):
        with pytest.raises(NamespaceGoneError) as gone:
            await write
        assert gone.value.code == "namespace-missing"


async def test_a_seal_is_seen_in_the_cache_with_its_labels(fleet: Fleet) -> None:
    name = fresh_name()
    made = await fleet.cluster.create_namespace(name, {}, notes())
    sealed = await fleet.cluster.seal(
        name, made.uid, fence(7, "step-7"), {"pod-security.kubernetes.io/warn": "restricted"}
    )
    assert sealed.epoch == 7
    assert sealed.annotations[STEP_ANNOTATION] == "step-7"
    cached = await until(lambda: (view := fleet.cluster.namespace(name)) and view.epoch == 7 and view)
    assert cached
    assert cached.labels["pod-security.kubernetes.io/warn"] == "restricted"


async def test_the_same_epoch_may_seal_again_but_a_lower_one_may_not(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet, epoch=5)
    assert (await fleet.cluster.seal(home.name, home.uid, fence(5))).epoch == 5
    with pytest.raises(FencedError):
        await fleet.cluster.seal(home.name, home.uid, fence(4))
    seen = await fleet.cluster.read_namespace(home.name)
    assert seen is not None
    assert seen.epoch == 5


async def test_what_is_not_there_is_told_from_what_the_watches_know(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    end = fleet.cluster.listen_for_drift(lambda _: None)
    await fleet.cluster.apply(home.name, config_map(), fence())
    await fleet.cluster.apply(home.name, deployment(), fence())
    given = [("ConfigMap", "settings"), ("Deployment", "web"), ("Secret", "nobody-watches-these")]
    await until_read(lambda: seen_absent(fleet, home.name, given, []))
    assert await fleet.cluster.absent(home.name, [("ConfigMap", "other"), ("ResourceQuota", "tier")]) == [
        ("ConfigMap", "other"),
        ("ResourceQuota", "tier"),
    ]
    await fleet.remove(home.name, "ConfigMap", "settings")
    await until_read(lambda: seen_absent(fleet, home.name, given, [("ConfigMap", "settings")]))
    await fleet.remove(home.name, "Deployment", "web")
    await until_read(lambda: seen_absent(fleet, home.name, given, given[:2]))
    end()


async def seen_absent(
    fleet: Fleet, namespace: str, given: list[tuple[str, str]], wanted: list[tuple[str, str]]
) -> bool:
    """Whether exactly these are missing by now."""
    found = await fleet.cluster.absent(namespace, given)
    return found is not None and list(found) == wanted


async def test_a_seal_of_another_uid_is_refused_as_replaced(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    with pytest.raises(NamespaceGoneError) as gone:
        await fleet.cluster.seal(home.name, "00000000-0000-4000-8000-000000000000", fence(9))
    assert gone.value.code == "namespace-replaced"
    seen = await fleet.cluster.read_namespace(home.name)
    assert seen is not None
    assert seen.epoch == 1


async def test_every_stale_write_is_fenced_after_a_higher_seal(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet, epoch=1)
    made = await fleet.cluster.apply(home.name, config_map(a="1"), fence(1))
    task = await fleet.cluster.create(home.name, job("task", "s1", finalizers=(JOB_FINALIZER,)), fence(1))
    await fleet.cluster.seal(home.name, home.uid, fence(2))
    await until_read(lambda: fenced(fleet, home.name))
    for write in (
        fleet.cluster.apply(home.name, config_map(a="2"), fence(1)),
        fleet.cluster.apply(home.name, config_map("other"), fence(1)),
        fleet.cluster.apply(home.name, config_map("other"), fence(1), "platform"),
        fleet.cluster.create(home.name, job("second", "s2"), fence(1)),
        fleet.cluster.delete(home.name, made.ref, fence(1)),
        fleet.cluster.release_finalizer(home.name, task.ref, fence(1)),
        fleet.cluster.delete_namespace(home.name, home.uid, fence(1)),
        fleet.cluster.seal(home.name, home.uid, fence(1)),
    ):
        with pytest.raises(FencedError) as refused:
            await write
        assert refused.value.code == "fenced"
    seen = await fleet.cluster.get(home.name, made.ref)
    assert seen is not None
    assert seen["data"] == {"a": "1"}
    await fleet.cluster.release_finalizer(home.name, task.ref, fence(2))


async def test_somebody_else_may_not_move_the_seal(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    forged = {"name": home.name, "annotations": {EPOCH_ANNOTATION: "999999"}}
    with pytest.raises(Exception, match=r"(?i)seawall"):
        await fleet.write("", {"apiVersion": "v1", "kind": "Namespace", "metadata": forged})
    seen = await fleet.cluster.read_namespace(home.name)
    assert seen is not None
    assert seen.epoch == 1


async def test_an_apply_that_changes_nothing_moves_nothing(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    first = await fleet.cluster.apply(home.name, config_map(a="1"), fence())
    second = await fleet.cluster.apply(home.name, config_map(a="1"), fence())
    third = await fleet.cluster.apply(home.name, config_map(a="2"), fence())
    assert (first.changed, second.changed, third.changed) == (True, False, True)
    assert first.ref.uid == second.ref.uid == third.ref.uid
    assert second.ref.resource_version != third.ref.resource_version


async def test_a_field_that_is_no_longer_sent_is_removed(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, config_map(a="1", b="2"), fence())
    applied = await fleet.cluster.apply(home.name, config_map(a="1"), fence())
    seen = await fleet.cluster.get(home.name, applied.ref)
    assert seen is not None
    assert seen["data"] == {"a": "1"}


async def test_a_field_taken_from_somebody_is_recorded_with_the_name(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.write(home.name, unmarked(config_map(a="theirs", b="theirs")), manager="kubectl-edit")
    applied = await fleet.cluster.apply(home.name, config_map(a="ours"), fence())
    assert dict(applied.taken_from) == {"data.a": "kubectl-edit"}
    seen = await fleet.cluster.get(home.name, applied.ref)
    assert seen is not None
    assert seen["data"] == {"a": "ours", "b": "theirs"}


async def test_a_field_that_somebody_changed_under_us_is_taken_back_and_recorded(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, deployment(replicas=1), fence())
    edit = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    await fleet.write(home.name, edit, manager="scaler")
    applied = await fleet.cluster.apply(home.name, deployment(replicas=1), fence())
    assert dict(applied.taken_from) == {"spec.replicas": "scaler"}
    again = await fleet.cluster.apply(home.name, deployment(replicas=1), fence())
    assert not again.taken_from


async def test_replicas_that_are_let_go_keep_their_value_until_somebody_takes_them(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    ref = (await fleet.cluster.apply(home.name, deployment(replicas=3), fence())).ref

    async def replicas() -> int:
        seen = await fleet.cluster.get(home.name, ref)
        return int(seen["spec"]["replicas"]) if seen else 0

    await fleet.cluster.apply(home.name, deployment(replicas=None), fence())
    assert await replicas() == 3
    edit = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    await fleet.write(home.name, edit, manager="autoscaler")
    let_go = await fleet.cluster.apply(home.name, deployment(replicas=None), fence())
    assert await replicas() == 5
    assert not let_go.taken_from


async def test_replicas_that_were_let_go_and_nobody_took_can_be_had_back(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, deployment(replicas=3), fence())
    await fleet.cluster.apply(home.name, deployment(replicas=None), fence())
    back = await fleet.cluster.apply(home.name, deployment(replicas=2), fence())
    seen = await fleet.cluster.get(home.name, back.ref)
    assert seen is not None
    assert seen["spec"]["replicas"] == 2
    assert not back.taken_from


async def test_an_object_beyond_the_quota_is_refused_as_quota(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, quota(count_secrets="0"), fence(), "platform")
    await until(lambda: fleet.cluster.quota(home.name))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "labels": {"seawall.dev/managed": "true"}},
    }
    with pytest.raises(QuotaExceededError) as refused:
        await fleet.cluster.apply(home.name, secret, fence())
    assert refused.value.code == "quota-exceeded"


async def test_a_changed_selector_is_refused_as_immutable_also_in_a_dry_run(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    applied = await fleet.cluster.apply(home.name, deployment(), fence())

    def change(manifest: dict[str, dict[str, dict[str, object]]]) -> None:
        manifest["spec"]["selector"]["matchLabels"] = {"app": "other"}
        manifest["spec"]["template"]["metadata"] = {"labels": {"app": "other"}}

    moved = changed_copy(deployment(), change)
    for write in (fleet.cluster.dry_run(home.name, moved), fleet.cluster.apply(home.name, moved, fence())):
        with pytest.raises(RejectedError) as refused:
            await write
        assert refused.value.code == "immutable-field"
    seen = await fleet.cluster.get(home.name, applied.ref)
    assert seen is not None
    assert seen["spec"]["selector"]["matchLabels"] == {"app": "web"}


async def test_an_invalid_object_is_rejected(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    broken = changed_copy(deployment(), lambda m: m["spec"]["template"]["spec"].pop("containers"))
    with pytest.raises(RejectedError) as refused:
        await fleet.cluster.apply(home.name, broken, fence())
    assert refused.value.code == "rejected"


async def test_a_dry_run_changes_nothing(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.dry_run(home.name, deployment())
    assert await fleet.cluster.get(home.name, ObjectRef("apps/v1", "Deployment", "web")) is None


async def test_a_delete_says_whether_there_was_something(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    made = await fleet.cluster.apply(home.name, config_map(a="1"), fence())
    assert await fleet.cluster.delete(home.name, made.ref, fence())
    assert not await fleet.cluster.delete(home.name, made.ref, fence())
    assert not await fleet.cluster.delete(home.name, ObjectRef("v1", "ConfigMap", "never-was"), fence())


async def test_a_delete_with_an_old_version_still_deletes_the_same_object(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    made = await fleet.cluster.apply(home.name, config_map(a="1"), fence())
    await fleet.write(home.name, unmarked(config_map(b="2")))
    assert await fleet.cluster.delete(home.name, made.ref, fence())
    assert await fleet.cluster.get(home.name, made.ref) is None


async def test_a_delete_spares_another_object_of_the_same_name(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    made = await fleet.cluster.apply(home.name, config_map(a="1"), fence())
    await fleet.remove(home.name, "ConfigMap", "settings")
    successor = await fleet.cluster.apply(home.name, config_map(a="2"), fence())
    assert successor.ref.uid != made.ref.uid
    assert not await fleet.cluster.delete(home.name, made.ref, fence())
    assert await fleet.cluster.get(home.name, successor.ref) is not None


async def test_a_terminating_namespace_refuses_creates_and_seals(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    task = await fleet.cluster.create(home.name, job("holds", "s", finalizers=(JOB_FINALIZER,)), fence())
    assert await fleet.cluster.delete_namespace(home.name, home.uid, fence())
    for write in (
        fleet.cluster.apply(home.name, config_map("late"), fence(), "platform"),
        fleet.cluster.create(home.name, config_map("late"), fence(), "platform"),
        fleet.cluster.seal(home.name, home.uid, fence()),
        fleet.cluster.create_namespace(home.name, {}, notes()),
    ):
        with pytest.raises(NamespaceGoneError) as refused:
            await write
        assert refused.value.code == "namespace-terminating"
    seen = await fleet.cluster.read_namespace(home.name)
    assert seen is not None
    assert seen.terminating
    await fleet.cluster.release_finalizer(home.name, task.ref, fence(), "platform")

    async def left() -> bool:
        return await fleet.cluster.read_namespace(home.name) is None

    await until_read(left)
    assert not await fleet.cluster.delete_namespace(home.name, home.uid, fence())
    await until(lambda: fleet.cluster.namespace(home.name) is None)


async def test_a_namespace_made_anew_is_another_one(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.remove("", "Namespace", home.name)

    async def left() -> bool:
        return await fleet.cluster.read_namespace(home.name) is None

    await until_read(left)
    await fleet.cluster.create_namespace(home.name, {}, notes("op-new"))
    with pytest.raises(NamespaceGoneError) as refused:
        await fleet.cluster.seal(home.name, home.uid, fence(2))
    assert refused.value.code == "namespace-replaced"
    assert not await fleet.cluster.delete_namespace(home.name, home.uid, fence(2))


async def test_a_priority_class_is_made_once_and_its_value_never_changes(fleet: Fleet) -> None:
    name = fresh_name("tier")
    made = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name, "labels": {MANAGED_LABEL: "true"}},
        "value": 1000,
        "preemptionPolicy": "Never",
    }
    await fleet.cluster.ensure_priority_class(made)
    await fleet.cluster.ensure_priority_class(made)
    with pytest.raises(AlreadyExistsError, match="can't be changed"):
        await fleet.cluster.ensure_priority_class({**made, "value": 7})


async def test_a_quota_on_other_priority_classes_counts_no_pod_of_the_right_one(fleet: Fleet) -> None:
    view = await sealed_namespace(fleet)
    name = fresh_name("tier")
    spec = TierSpec(priority=1000)
    wanted = priority_class(name, spec)
    assert wanted is not None
    await fleet.cluster.ensure_priority_class(wanted)
    ours = wanted["metadata"]["name"]
    meta = {"name": "seawall-priority", "labels": {MANAGED_LABEL: "true"}}
    only = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": only_these([ours])}
    await fleet.cluster.apply(view.name, only, fence(), "platform")
    for workload, class_ in (("good", ours), ("bad", "system-cluster-critical")):
        manifest = deployment(workload)
        manifest["spec"]["template"]["spec"]["priorityClassName"] = class_
        await fleet.cluster.apply(view.name, manifest, fence())

    def state(workload: str) -> WorkloadState | None:
        return fleet.cluster.workloads(view.name).get(("Deployment", workload))

    await until(lambda: (found := state("good")) is not None and found.available == 1)
    blocked = await until(lambda: found.failed if (found := state("bad")) is not None else "")
    assert "exceeded quota: seawall-priority" in blocked
    assert not fleet.cluster.quota(view.name), "a quota of some pods is not the namespace's room"


async def test_room_is_what_nodes_have_left_and_none_where_there_are_no_nodes(fleet: Fleet) -> None:
    room = await fleet.cluster.room()
    if fleet.cluster.kind == "simulated":
        assert room is None
        return
    assert room is not None
    assert room.nodes > 0
    for name in ("pods", "requests.cpu", "requests.memory"):
        assert 0 < room.largest[name] <= room.free[name] <= room.allocatable[name]
