"""What every cluster does, simulated or real: the engine relies on each sentence here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from controlplane.domain.health import Expected, Health, judge_workload
from controlplane.domain.names import EPOCH_ANNOTATION, JOB_FINALIZER, STEP_ANNOTATION
from controlplane.ports.clusters import (
    AlreadyExistsError,
    Applied,
    FencedError,
    NamespaceChange,
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
    fresh_name,
    job,
    notes,
    quota,
    sealed_namespace,
    simulated_fleet,
    state,
    unmarked,
    until,
    until_read,
)
from tests.contract.kubernetes_fleet import kubernetes_fleet


@pytest.fixture(scope="module", params=["simulated", "kubernetes"])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    if request.param == "simulated":
        async with simulated_fleet() as simulated:
            yield simulated
        return
    async with kubernetes_fleet(request.getfixturevalue("cluster_kubeconfig")) as real:
        yield real


def expected(applied: Applied) -> Expected:
    return Expected(applied.ref.kind, applied.ref.name, applied.ref.uid, applied.generation)


async def health(fleet: Fleet, namespace: str, applied: Applied, wanted: Health) -> str:
    """Wait until the cached state of what was applied is judged so; gives the reason."""

    def judged() -> bool:
        return (
            judge_workload(expected(applied), state(fleet, namespace, applied.ref.kind, applied.ref.name)).health
            is wanted
        )

    await until(judged)
    return judge_workload(expected(applied), state(fleet, namespace, applied.ref.kind, applied.ref.name)).reason


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


async def test_a_deployment_becomes_healthy_at_the_generation_of_our_write(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    first = await fleet.cluster.apply(home.name, deployment(replicas=2), fence())
    await health(fleet, home.name, first, Health.HEALTHY)
    second = await fleet.cluster.apply(home.name, deployment(image="registry.example/web@sha256:" + "3" * 64), fence())
    assert second.generation > first.generation
    await health(fleet, home.name, second, Health.HEALTHY)
    assert (await fleet.cluster.explain(home.name, [("Deployment", "web")])) == ""


async def test_a_broken_revision_never_looks_healthy_and_says_why(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    good = await fleet.cluster.apply(home.name, deployment(), fence())
    await health(fleet, home.name, good, Health.HEALTHY)
    bad = deployment(image="registry.example/web@sha256:" + "4" * 64, fault="never-ready")
    bad["spec"]["progressDeadlineSeconds"] = 2
    applied = await fleet.cluster.apply(home.name, bad, fence())
    reason = await health(fleet, home.name, applied, Health.UNHEALTHY)
    assert "ProgressDeadlineExceeded" in reason
    assert "CrashLoopBackOff" in await fleet.cluster.explain(home.name, [("Deployment", "web")])
    back = await fleet.cluster.apply(home.name, deployment(), fence())
    await health(fleet, home.name, back, Health.HEALTHY)


async def test_pods_that_a_quota_refuses_are_not_blamed_on_the_release(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, quota(pods="1"), fence(), "platform")
    await until(lambda: fleet.cluster.quota(home.name))
    first = await fleet.cluster.apply(home.name, deployment(), fence())
    await health(fleet, home.name, first, Health.HEALTHY)
    second = await fleet.cluster.apply(home.name, deployment(image="registry.example/web@sha256:" + "5" * 64), fence())
    blocked = await until(lambda: (s := state(fleet, home.name)) and s.quota_blocked and s)
    assert blocked
    judged = judge_workload(expected(second), blocked)
    assert judged.quota_blocked
    assert judged.health is Health.PROGRESSING


async def test_a_quota_tells_used_and_hard_from_the_cache(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    assert fleet.cluster.quota(home.name) is None
    await fleet.cluster.apply(home.name, quota(pods="4", **{"requests.cpu": "2"}), fence(), "platform")
    applied = await fleet.cluster.apply(home.name, deployment(replicas=2), fence())
    await health(fleet, home.name, applied, Health.HEALTHY)

    def used() -> bool:
        known = fleet.cluster.quota(home.name) or {}
        return [int(one) for one in known.get("pods", ())] == [2, 4] and known["requests.cpu"][0] == Decimal("0.02")

    await until(used)


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


async def test_a_job_is_created_once_per_step_and_ends(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    made = await fleet.cluster.create(home.name, job("migrate-1", "step-a"), fence())
    again = await fleet.cluster.create(home.name, job("migrate-1", "step-a"), fence())
    assert (made.changed, again.changed, again.ref.uid) == (True, False, made.ref.uid)
    with pytest.raises(AlreadyExistsError):
        await fleet.cluster.create(home.name, job("migrate-1", "step-b"), fence())
    await health(fleet, home.name, made, Health.HEALTHY)


async def test_a_failed_job_is_unhealthy(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    made = await fleet.cluster.create(home.name, job("migrate-1", "step-a", fault="job-fails"), fence())
    await health(fleet, home.name, made, Health.UNHEALTHY)


async def test_a_job_stays_until_its_finalizer_is_released(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    made = await fleet.cluster.create(home.name, job("once", "step-a", finalizers=(JOB_FINALIZER,)), fence())
    await health(fleet, home.name, made, Health.HEALTHY)
    assert await fleet.cluster.delete(home.name, ObjectRef("batch/v1", "Job", "once"), fence())
    seen = await fleet.cluster.get(home.name, made.ref)
    assert seen is not None
    assert "deletionTimestamp" in seen["metadata"]
    await fleet.cluster.release_finalizer(home.name, made.ref, fence())
    await until_read(lambda: gone(fleet, home.name, made.ref))
    await fleet.cluster.release_finalizer(home.name, made.ref, fence())


async def gone(fleet: Fleet, namespace: str, ref: ObjectRef) -> bool:
    return await fleet.cluster.get(namespace, ref) is None


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


async def test_changes_are_told_to_subscribers_until_they_end(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    seen: list[NamespaceChange] = []
    end = fleet.cluster.subscribe(seen.append)
    await fleet.cluster.apply(home.name, deployment(), fence())
    await until(lambda: any((c.namespace, c.kind, c.name) == (home.name, "Deployment", "web") for c in seen))
    end()
    count = len(seen)
    await fleet.cluster.apply(home.name, deployment("other"), fence())
    await until(lambda: state(fleet, home.name, name="other"))
    assert len(seen) == count


async def test_unmarked_objects_are_listed_but_not_cached(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.write(home.name, unmarked(deployment("theirs")))
    await fleet.cluster.apply(home.name, deployment("ours"), fence())
    await until(lambda: state(fleet, home.name, name="ours"))
    assert set(fleet.cluster.workloads(home.name)) == {("Deployment", "ours")}
    listed = await fleet.cluster.list_objects(home.name, [("apps/v1", "Deployment"), ("v1", "ConfigMap")])
    assert {"theirs", "ours"} <= {one["metadata"]["name"] for one in listed}
    assert all(one["kind"] in {"Deployment", "ConfigMap"} and one["apiVersion"] for one in listed)


async def test_a_deleted_workload_leaves_the_cache(fleet: Fleet) -> None:
    home = await sealed_namespace(fleet)
    made = await fleet.cluster.apply(home.name, deployment(), fence())
    await until(lambda: state(fleet, home.name))
    await fleet.cluster.delete(home.name, ObjectRef("apps/v1", "Deployment", "web", made.ref.uid), fence())
    await until(lambda: state(fleet, home.name) is None)
