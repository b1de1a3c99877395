"""What every cluster does with workloads and Jobs, and what its cache then tells."""

from __future__ import annotations

from decimal import Decimal

import pytest

from controlplane.domain.health import Expected, Health, judge_workload
from controlplane.domain.names import JOB_FINALIZER
from controlplane.ports.clusters import (
    AlreadyExistsError,
    Applied,
    NamespaceChange,
    ObjectRef,
)
from tests.contract.fleets import (
    Fleet,
    deployment,
    fence,
    job,
    quota,
    sealed_namespace,
    state,
    unmarked,
    until,
    until_read,
)


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
