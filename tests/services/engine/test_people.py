"""What people ask for, from the request to the end: pauses before the first tick, retries, ways back, values, queues."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.adapters.simulated.profile import FaultRule, Profile
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.rollouts.commands import give
from controlplane.services.rollouts.explain import explanation_of
from controlplane.services.rollouts.prepare import prepare
from controlplane.services.rollouts.retry import ask_again, head_of
from controlplane.services.rollouts.start import plan_and_start, start
from tests.contract.fleets import until_read
from tests.support.charts import chart, job

from .conftest import Stage
from .test_driver import broken, clean, installed

BACK: dict[str, Any] = {"kind": "rollback", "app": "odoo", "release": None}


async def asked(stage: Stage, **request: Any) -> Any:
    """Plan and start whatever the request says."""
    ask = Ask(RolloutRequest.model_validate({"strategy": "all", **{k: v for k, v in request.items() if v is not None}}))
    return (await plan_and_start(stage.tools, ask, actor="mia", origin={"kind": "person"})).id


async def test_a_pause_given_before_the_driver_took_the_rollout_up_holds(stage: Stage) -> None:
    await installed(stage, "abc")
    stage.rows.release("2.0")
    async with stage.transactions.platform() as uow:
        prepared = await prepare(stage.tools, Ask(RolloutRequest(release="odoo/2.0", strategy="all")))
        rollout = (await start(uow, prepared, actor="mia", origin={"kind": "person"})).id
        await give(uow, rollout, "pause", {}, "mia")

    async def taken_up() -> bool:
        return stage.rows.ask("select count(*) from commands where applied_at is not null") == [(1,)]

    await until_read(taken_up)
    assert stage.state(rollout) == "paused"
    assert set(stage.targets(rollout).values()) == {"pending"}
    await stage.command(rollout, "resume")
    assert await stage.over(rollout) == "succeeded"


async def test_a_rollback_after_success_gives_back_the_revision_before_and_keeps_both(stage: Stage) -> None:
    await installed(stage, "ab")
    stage.rows.release("2.0")
    assert await stage.over(await stage.start("2.0")) == "succeeded"
    back = await asked(stage, **BACK)
    assert await stage.over(back) == "succeeded"
    rows = stage.rows.ask(
        "select r.revision, r.release_version, r.content_hash = o.content_hash from tenant_apps a"
        " join revisions r on (r.tenant, r.revision) = (a.tenant, a.revision)"
        " join revisions o on (o.tenant, o.revision) = (a.tenant, 1)"
    )
    assert rows == [(3, "1.0", True)] * 2
    clean(stage)


async def test_going_back_runs_no_migration_of_the_older_release(stage: Stage) -> None:
    migrating = chart({"migrate.yaml": job(hook="pre-upgrade")})
    await installed(stage, "a", artifact=migrating)
    stage.rows.release("2.0")
    assert await stage.over(await stage.start("2.0")) == "succeeded"
    back = await asked(stage, **BACK)
    assert await stage.over(back) == "succeeded"
    assert stage.rows.ask("select count(*) from steps where subject_id = %s and kind = 'Job'", back) == [(0,)]


async def test_changed_values_roll_out_and_back_like_a_release(stage: Stage) -> None:
    await installed(stage, "ab")
    stage.rows.run(
        """update tenants set apps = jsonb_set(apps, '{odoo,values}', '{"replicas": 2}') where tenant = 'a'"""
    )
    rollout = await asked(stage, kind="values", app="odoo")
    assert stage.targets(rollout).keys() == {"a"}
    assert await stage.over(rollout) == "succeeded"
    assert stage.rows.ask("select revision, release_version from revisions where tenant = 'a' order by 1") == [
        (1, "1.0"),
        (2, "1.0"),
    ]
    assert await stage.over(await asked(stage, **BACK)) == "succeeded"
    clean(stage)


async def test_what_went_back_is_retried_in_a_new_rollout_with_the_same_content(stage: Stage) -> None:
    await installed(stage, "abc")
    stage.rows.release("2.0")
    stage.rows.config("strategies", "short", {**QUICK_FAIL})
    broken(stage, "2.0", "b")
    first = await stage.start("2.0", "short")
    assert await stage.over(first) == "failed"
    assert stage.targets(first)["b"] == "rolledBack"
    async with stage.transactions.platform() as uow:
        head = await head_of(uow, first)
        said = explanation_of(head, uow.now)
        again = await ask_again(uow, head, ["b"])
    assert said.troubles[0].example == "b"
    assert "b" in said.why or "failed" in said.why
    stage.world.profile = Profile()
    stage.rows.run("update holds set lifted_at = now(), lifted_by = 'mia', lift_reason = 'it was the node'")
    retry = await plan_and_start(stage.tools, again, actor="mia", origin={"kind": "retry", "retryOf": str(first)})
    assert await stage.over(retry.id) == "succeeded"
    given = "select distinct memory ->> 'content' from targets where tenant = 'b' and rollout_id in (%s, %s)"
    assert len(stage.rows.ask(given, first, retry.id)) == 1
    clean(stage)


QUICK_FAIL = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}],
    "limits": {"inFlight": "100%"},
    "success": {"maxFailures": 0, "progressDeadline": "PT1S"},
}


async def test_a_stuck_tenant_is_freed_by_a_retry_of_a_person(stage: Stage) -> None:
    stage.rows.release("1.0")
    stage.rows.config("strategies", "short", QUICK_FAIL)
    stage.rows.config("strategies", "patient", {**QUICK_FAIL, "success": {"progressDeadline": "PT1M"}})
    await stage.tenants(["a"])
    # Its pods come up after the deadline: stuck, and well by the time a person looks.
    slow = FaultRule(namespace="a", fault="slow-start")
    stage.world.profile = Profile(slow=(3.0, 3.0), faults=(slow,))
    first = await stage.start("1.0", "short")
    assert await stage.over(first) == "failed"
    assert stage.targets(first) == {"a": "stuck"}
    stage.rows.run("update rollouts set strategy = 'patient'")
    stage.rows.run("update holds set lifted_at = now(), lifted_by = 'mia', lift_reason = 'it was the node'")
    async with stage.transactions.platform() as uow:
        again = await ask_again(uow, await head_of(uow, first), None)
    retry = await plan_and_start(stage.tools, again, actor="mia", origin={"kind": "retry"})
    assert await stage.over(retry.id) == "succeeded"
    assert stage.rows.ask("select dirty from environments") == [(False,)]
    async with stage.transactions.platform() as uow:
        times = {t.phase: t for t in await uow.rollouts.phase_times("odoo")}
    ((took,),) = stage.rows.ask(
        "select extract(epoch from n.ended_at - o.ended_at) from targets o, targets n where (o.state, n.state) = ('stuck', 'verified')"
    )
    assert times["restore"].samples == 1
    assert times["restore"].p90 == pytest.approx(float(took))
    for drill, minutes, result in (("d1", 30, "succeeded"), ("d2", 600, "failed")):
        stage.rows.run(
            "insert into restore_drills (tenant, environment, id, started_at, ended_at, result, note, reported_by)"
            " values ('a', 'production', %s, now() - make_interval(mins => %s), now(), %s, '', 'mia')",
            drill,
            minutes,
            result,
        )
    async with stage.transactions.engine() as uow:
        drilled = {t.phase: t for t in await uow.rollouts.phase_times("odoo")}["restore"]
    assert drilled.samples == 2
    assert drilled.p90 == pytest.approx(float(took) + 0.9 * (1800 - float(took)), rel=0.01)
    clean(stage)


async def test_a_superseded_rollout_leaves_what_it_had_not_started_to_the_new_one(stage: Stage) -> None:
    await installed(stage, "abc")
    stage.rows.release("2.0")
    stage.rows.release("3.0", chart(values={"release": "3.0"}))
    older = await stage.start("2.0", notBefore="2099-01-01T00:00:00Z")
    newer = await stage.start("3.0", whenBusy="supersede")
    assert await stage.over(newer) == "succeeded"
    assert await stage.over(older) in ("aborted", "failed")
    assert set(stage.targets(older).values()) == {"cancelled"}
    clean(stage)


async def test_expected_times_come_from_what_the_same_phases_took_before(stage: Stage) -> None:
    await installed(stage, "abc")
    stage.rows.release("2.0")
    async with stage.transactions.platform() as uow:
        times = {t.phase: t for t in await uow.rollouts.phase_times("odoo")}
    assert {"preflight", "apply", "verify"} <= times.keys()
    assert times["apply"].samples == 3
    plan = (await prepare(stage.tools, Ask(RolloutRequest(release="odoo/2.0", strategy="all")))).plan
    assert "times-assumed" not in {note.code for note in plan.notes}
