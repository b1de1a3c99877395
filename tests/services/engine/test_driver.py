"""Rollouts driven to their end, on real PostgreSQL and the simulated fleet."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.adapters.simulated.profile import FaultRule, Profile
from controlplane.domain.errors import ConflictError
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.rollouts.start import plan_and_start
from tests.contract.fleets import until_read
from tests.support.charts import chart, job

from .conftest import Stage

QUICK = {"soak": {"for": "PT0S", "samples": 1}}
CAREFUL: dict[str, Any] = {
    "waves": [
        {"name": "pilot", "cut": {"count": 1}, **QUICK},
        {"name": "grow", "cut": {"growth": {"first": 3, "factor": 2}}, **QUICK},
    ],
    "limits": {"inFlight": 3},
    "success": {"maxFailures": 0, "progressDeadline": "PT1S"},
}


def broken(stage: Stage, version: str, *namespaces: str) -> None:
    """Let pods of this release never become ready in these namespaces."""
    image = stage.rows.ask("select spec->'images'->>'web' from releases where version = %s", version)[0][0]
    rules = tuple(FaultRule(namespace=name, image=image, fault="never-ready") for name in namespaces)
    stage.world.profile = Profile(faults=rules)


async def installed(stage: Stage, names: str, version: str = "1.0", **options: Any) -> None:
    """Tenants that run a verified release."""
    stage.rows.release(version, **options)
    await stage.tenants(list(names))
    assert await stage.over(await stage.start(version)) == "succeeded"


def clean(stage: Stage) -> None:
    """Nothing is left behind: no slot, no reservation, no open ledger row, and every budget was moved consistently."""
    assert stage.rows.ask("select tenant from environments where slot_id is not null") == []
    assert stage.rows.ask("select scope, reserved from budgets where reserved <> 0") == []
    assert stage.rows.ask("select count(*) from reservations") == [(0,)]
    assert stage.rows.ask("select count(*) from steps where state <> 'OBSERVED'") == [(0,)]
    over = stage.rows.ask("select scope, id from budget_moves where delta > 0 and reserved > cap")
    assert over == []


async def test_a_first_installation_is_verified_and_becomes_the_running_revision(stage: Stage) -> None:
    stage.rows.release("1.0")
    await stage.tenants(["a", "b", "c"])
    rollout = await stage.start("1.0")
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(rollout) == dict.fromkeys("abc", "verified")
    apps = stage.rows.ask("select tenant, revision, verified_revision from tenant_apps order by tenant")
    assert apps == [("a", 1, 1), ("b", 1, 1), ("c", 1, 1)]
    assert stage.rows.ask("select proven_by from releases") == [(rollout,)]
    clean(stage)


async def test_a_release_that_breaks_two_tenants_goes_back_in_those_two_and_stops_there(stage: Stage) -> None:
    stage.rows.config("strategies", "careful", CAREFUL)
    await installed(stage, "abcdefgh")
    stage.rows.release("2.0")
    broken(stage, "2.0", "b", "c")
    rollout = await stage.start("2.0", "careful")
    assert await stage.over(rollout) == "failed"
    states = stage.targets(rollout)
    assert {tenant for tenant, state in states.items() if state == "rolledBack"} == {"b", "c"}
    assert {tenant for tenant, state in states.items() if state == "verified"} == {"a", "d"}
    assert {state for tenant, state in states.items() if tenant in "efgh"} == {"cancelled"}
    running = stage.rows.ask("select tenant, revision, verified_revision from tenant_apps order by tenant")
    assert running == [(t, *((2, 2) if t in "ad" else (1, 1))) for t in "abcdefgh"]
    assert stage.rows.ask("select version, lifted_at from holds") == [("2.0", None)]
    for tenant in "bc":
        live = await stage.cluster.list_objects(tenant, [("apps/v1", "Deployment")])
        image = live[0]["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image == stage.rows.ask("select spec->'images'->>'web' from releases where version = '1.0'")[0][0]
    reasons = stage.rows.ask("select reason from targets where rollout_id = %s and state = 'rolledBack'", rollout)
    assert all("web" in reason for (reason,) in reasons)
    clean(stage)


async def test_policy_wave_takes_the_whole_wave_back_and_leaves_the_one_before(stage: Stage) -> None:
    stage.rows.config("strategies", "careful", {**CAREFUL, "onFailure": {"rollBack": "wave", "then": "halt"}})
    await installed(stage, "abcd")
    stage.rows.release("2.0")
    broken(stage, "2.0", "c")
    rollout = await stage.start("2.0", "careful")
    assert await stage.over(rollout) == "failed"
    assert stage.targets(rollout) == {"a": "verified", "b": "rolledBack", "c": "rolledBack", "d": "rolledBack"}
    clean(stage)


async def test_policy_rollout_takes_everything_back(stage: Stage) -> None:
    stage.rows.config("strategies", "careful", {**CAREFUL, "onFailure": {"rollBack": "rollout", "then": "halt"}})
    await installed(stage, "abcd")
    stage.rows.release("2.0")
    broken(stage, "2.0", "c")
    rollout = await stage.start("2.0", "careful")
    assert await stage.over(rollout) == "failed"
    assert stage.targets(rollout) == dict.fromkeys("abcd", "rolledBack")
    clean(stage)


async def test_a_first_installation_that_fails_is_stuck_and_its_environment_dirty(stage: Stage) -> None:
    stage.rows.config("strategies", "careful", CAREFUL)
    stage.rows.release("1.0")
    await stage.tenants(["a"])
    broken(stage, "1.0", "a")
    rollout = await stage.start("1.0", "careful")
    assert await stage.over(rollout) == "failed"
    assert stage.targets(rollout) == {"a": "stuck"}
    assert stage.rows.ask("select dirty, slot_id from environments") == [(True, None)]


async def test_a_migration_runs_once_before_the_apply_and_its_job_is_released(stage: Stage) -> None:
    hook = job(hook="pre-install,pre-upgrade")
    await installed(stage, "ab", artifact=chart({"migrate.yaml": hook}))
    verbs = stage.rows.ask("select phase, verb from steps where tenant = 'a' order by issued_at, ordinal")
    assert verbs[:2] == [("migrate", "seal"), ("migrate", "create")]
    assert ("apply", "apply") in verbs
    jobs = await stage.cluster.list_objects("a", [("batch/v1", "Job")])
    assert len(jobs) == 1
    assert not jobs[0]["metadata"].get("finalizers")
    clean(stage)


async def test_what_only_the_old_revision_had_is_pruned_after_the_new_one_is_verified(stage: Stage) -> None:
    extra = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
    await installed(stage, "ab", artifact=chart({"extra.yaml": extra}))
    stage.rows.release("2.0")
    assert await stage.over(await stage.start("2.0")) == "succeeded"
    assert await stage.cluster.list_objects("a", [("v1", "ConfigMap")]) == []
    assert stage.rows.ask("select distinct phase from steps where verb = 'delete'") == [("prune",)]
    clean(stage)


async def test_what_only_the_bad_revision_had_goes_on_the_way_back(stage: Stage) -> None:
    stage.rows.config("strategies", "careful", CAREFUL)
    await installed(stage, "a")
    extra = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
    stage.rows.release("2.0", artifact=chart({"extra.yaml": extra}))
    broken(stage, "2.0", "a")
    assert await stage.over(await stage.start("2.0", "careful")) == "failed"
    assert await stage.cluster.list_objects("a", [("v1", "ConfigMap")]) == []
    clean(stage)


STATEFUL = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: queue}
spec:
  serviceName: web
  replicas: 1
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}
  selector: {matchLabels: {app: queue}}
  template:
    metadata: {labels: {app: queue}}
    spec:
      containers:
        - name: queue
          image: {{ .Values.images.web }}
          resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 50m, memory: 32Mi}}
"""


async def test_a_release_that_prunes_data_for_good_has_no_way_back_and_says_so_when_it_fails(stage: Stage) -> None:
    await installed(stage, "a", artifact=chart({"queue.yaml": STATEFUL}))
    stage.rows.release("2.0")
    with pytest.raises(ConflictError, match="StatefulSet/queue") as refused:
        await stage.start("2.0")
    assert refused.value.code == "no-way-back"
    stage.rows.config("strategies", "careful", CAREFUL)
    broken(stage, "2.0", "a")
    ask = Ask(RolloutRequest.model_validate({"release": "odoo/2.0", "strategy": "careful"}))
    rollout = (await plan_and_start(stage.tools, ask, actor="mia", origin={"kind": "person"}, accepted="moved")).id
    assert await stage.over(rollout) == "failed"
    assert stage.targets(rollout) == {"a": "stuck"}
    assert "StatefulSet/queue" in stage.rows.ask("select reason from targets where rollout_id = %s", rollout)[0][0]
    assert len(await stage.cluster.list_objects("a", [("apps/v1", "StatefulSet")])) == 1, "nothing is pruned before it"


async def test_after_a_pause_is_answered_no_further_step_is_issued_until_the_resume(stage: Stage) -> None:
    slow = {"waves": [{"name": "all", "cut": {"percent": "100%"}, **QUICK}], "limits": {"inFlight": 1}}
    stage.rows.config("strategies", "slow", slow)
    await installed(stage, "abcdef")
    stage.rows.release("2.0")
    rollout = await stage.start("2.0", "slow")

    async def some() -> bool:
        return "verified" in stage.targets(rollout).values()

    await until_read(some)
    await stage.command(rollout, "pause")
    issued = stage.rows.ask("select count(*) from steps where subject_id = %s", rollout)

    async def quiet() -> bool:
        states = set(stage.targets(rollout).values())
        return stage.state(rollout) == "paused" and states <= {"pending", "verified"}

    await until_read(quiet)
    assert stage.rows.ask("select count(*) from steps where subject_id = %s", rollout) == issued
    assert "pending" in stage.targets(rollout).values()
    await stage.command(rollout, "resume")
    assert await stage.over(rollout) == "succeeded"
    clean(stage)


async def test_an_abort_that_rolls_back_returns_what_is_in_flight_and_leaves_what_was_verified(stage: Stage) -> None:
    long = {"waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT1H", "samples": 1}}]}
    stage.rows.config("strategies", "long", {**long, "limits": {"inFlight": 2}})
    await installed(stage, "abc")
    stage.rows.release("2.0")
    rollout = await stage.start("2.0", "long")

    async def soaking() -> bool:
        return list(stage.targets(rollout).values()).count("soak") == 2

    await until_read(soaking)
    await stage.command(rollout, "abort", inFlight="rollBack")
    assert await stage.over(rollout) == "aborted"
    assert sorted(stage.targets(rollout).values()) == ["cancelled", "rolledBack", "rolledBack"]
    assert stage.rows.ask("select count(*) from holds") == [(0,)]
    clean(stage)


async def test_a_freeze_stops_what_is_forward_and_a_thaw_lets_it_go_on(stage: Stage) -> None:
    await installed(stage, "ab")
    stage.rows.release("2.0")
    stage.rows.run(
        "insert into freezes (id, selector, reason, created_by, lifted_by) values (gen_random_uuid(), '', 'peak', 'mia', '')"
    )
    stage.rows.run("update budgets set closed = true, version = version + 1 where scope = 'fleet/inFlight'")
    rollout = await stage.start("2.0")

    async def refused() -> bool:
        return stage.state(rollout) == "running"

    await until_read(refused)
    assert set(stage.targets(rollout).values()) == {"pending"}
    assert stage.rows.ask("select count(*) from steps where subject_id = %s", rollout) == [(0,)]
    stage.rows.run("update freezes set lifted_at = now()")
    stage.rows.run("update budgets set closed = false, version = version + 1 where scope = 'fleet/inFlight'")
    assert await stage.over(rollout) == "succeeded"


async def test_a_target_whose_base_moved_is_skipped_as_superseded(stage: Stage) -> None:
    await installed(stage, "ab")
    stage.rows.release("2.0")
    stage.rows.run(
        "insert into freezes (id, selector, reason, created_by, lifted_by) values (gen_random_uuid(), '', 'peak', 'mia', '')"
    )
    rollout = await stage.start("2.0")
    stage.rows.runs(["a"], "1.5")
    stage.rows.run("update freezes set lifted_at = now()")
    stage.rows.run("update budgets set version = version + 1 where scope = 'fleet/inFlight'")
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(rollout) == {"a": "skipped", "b": "verified"}
    assert stage.rows.ask("select code from targets where rollout_id = %s and tenant = 'a'", rollout) == [
        ("superseded",)
    ]


async def test_a_suspended_tenant_is_left_out_and_the_others_go_on(stage: Stage) -> None:
    await installed(stage, "ab")
    stage.rows.release("2.0")
    stage.rows.run(
        "insert into freezes (id, selector, reason, created_by, lifted_by) values (gen_random_uuid(), '', 'peak', 'mia', '')"
    )
    rollout = await stage.start("2.0")
    stage.rows.run("update tenants set phase = 'suspended' where tenant = 'a'")
    stage.rows.run("update freezes set lifted_at = now()")
    stage.rows.run("update budgets set version = version + 1 where scope = 'fleet/inFlight'")
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(rollout) == {"a": "skipped", "b": "verified"}


async def test_a_namespace_that_was_replaced_leaves_its_target_out(stage: Stage) -> None:
    await installed(stage, "ab")
    stage.rows.release("2.0")
    stage.rows.run("update environments set uid = 'another' where tenant = 'a'")
    rollout = await stage.start("2.0")
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(rollout) == {"a": "skipped", "b": "verified"}
    assert stage.rows.ask("select code from targets where rollout_id = %s and tenant = 'a'", rollout) == [
        ("namespace-replaced",)
    ]


async def test_two_rollouts_over_the_same_tenants_both_finish(stage: Stage) -> None:
    await installed(stage, "abcdef")
    stage.rows.release("2.0")
    stage.rows.release("3.0")
    first = await stage.start("2.0")
    second = await stage.start("3.0")
    assert await stage.over(first) == "succeeded"
    assert await stage.over(second) == "succeeded"
    clean(stage)
    assert set(stage.targets(second).values()) == {"verified"}
