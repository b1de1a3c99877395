"""What a driver does when the registry went back, when its own rows are broken, and when the cluster says no for reasons of its own."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.adapters.postgres.engine.packing import unpack
from controlplane.adapters.simulated.profile import Profile
from controlplane.domain.engine import TargetNow
from controlplane.domain.manifests import mark
from controlplane.domain.rollouts import TargetState
from controlplane.domain.work import apply_work
from controlplane.ports.clusters import Fence
from controlplane.ports.delivery import Job
from controlplane.services import effects
from tests.contract.fleets import until_read
from tests.support.history_checker import check_history, read_history

from .conftest import CLUSTER, Stage
from .test_driver import QUICK, broken, clean, installed

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LONG = {"for": "PT1H", "samples": 1}
GO_ON: dict[str, Any] = {
    "limits": {"inFlight": 2},
    "success": {"maxFailures": 0, "progressDeadline": "PT1S"},
    "onFailure": {"rollBack": "failed-targets", "then": "continue"},
}


async def test_an_owner_refused_by_a_higher_seal_goes_one_above_it(stage: Stage) -> None:
    await installed(stage, "abc")
    stage.rows.release("2.0")
    view = stage.cluster.namespace("b")
    assert view is not None
    seal = (1 << 60) + 7
    await stage.cluster.seal("b", view.uid, Fence(seal, "somebody"))
    rollout = await stage.start("2.0")
    assert await stage.over(rollout) == "succeeded"
    assert stage.rows.ask("select epoch from environments where tenant = 'b'") == [(seal + 1,)]
    sealed = stage.cluster.namespace("b")
    assert sealed is not None
    assert sealed.epoch == seal + 1
    clean(stage)


async def test_a_cluster_that_goes_away_in_the_middle_is_waited_for_and_nothing_is_blamed(stage: Stage) -> None:
    await installed(stage, "abcd")
    stage.rows.release("2.0")
    stage.rows.config(
        "strategies",
        "one-by-one",
        {"waves": [{"name": "all", "cut": {"percent": "100%"}, **QUICK}], "limits": {"inFlight": 1}},
    )
    rollout = await stage.start("2.0", "one-by-one")

    async def one_is_verified() -> bool:
        return "verified" in stage.targets(rollout).values()

    await until_read(one_is_verified)
    await stage.cluster.control("trouble", mode="unavailable", times=3)
    await stage.cluster.control("trouble", mode="error", times=1)
    assert await stage.over(rollout, within=60) == "succeeded"
    assert [trouble.times for trouble in stage.front.troubles] == [0, 0], "each was met"
    assert set(stage.targets(rollout).values()) == {"verified"}
    assert stage.rows.ask("select count(*) from holds") == [(0,)]
    clean(stage)


async def test_a_target_whose_content_is_missing_is_stuck_and_the_others_go_on(stage: Stage) -> None:
    await installed(stage, "abcd")
    stage.rows.release("2.0")
    freeze(stage)
    rollout = await stage.start("2.0")
    stage.rows.run(
        "delete from contents c using targets t where t.rollout_id = %s and t.tenant = 'b' and c.tenant = 'b'"
        " and not exists (select 1 from revisions r where r.tenant = 'b' and r.content_hash = c.hash)",
        rollout,
    )
    thaw(stage)
    await stage.over(rollout)
    assert stage.targets(rollout) == {"a": "verified", "b": "stuck", "c": "verified", "d": "verified"}
    code, reason = stage.rows.ask("select code, reason from targets where rollout_id = %s and tenant = 'b'", rollout)[0]
    assert code == "content-missing"
    assert "is not stored" in reason
    assert stage.rows.ask("select count(*) from holds") == [(0,)]
    clean(stage)


async def test_a_row_that_postgresql_refuses_is_found_and_only_its_target_is_stuck(stage: Stage) -> None:
    await installed(stage, "abcdefg")
    stage.rows.release("2.0")
    freeze(stage)
    rollout = await stage.start("2.0")
    stage.rows.run(  # the number that its next revision would get is taken
        "insert into revisions (tenant, environment, app, revision, release_version, content_hash, values_hash, values, base_revision,"
        " state) select tenant, environment, app, 2, release_version, content_hash, values_hash, values, 1, 'left' from revisions"
        " where tenant = 'e'"
    )
    thaw(stage)
    await stage.over(rollout)
    states = stage.targets(rollout)
    assert states.pop("e") == "stuck"
    assert states == dict.fromkeys("abcdfg", "verified")
    assert stage.rows.ask("select code from targets where rollout_id = %s and tenant = 'e'", rollout) == [
        ("data-fault",)
    ]
    clean(stage)


async def test_a_stuck_target_that_a_person_retries_while_the_rollout_runs_takes_its_places_anew(stage: Stage) -> None:
    waves = [{"name": "one", "cut": {"count": 1}, **QUICK}, {"name": "rest", "cut": {"percent": "100%"}, "soak": LONG}]
    stage.rows.config("strategies", "go-on", {"waves": waves, **GO_ON})
    stage.rows.release("1.0")
    await stage.tenants(["a", "b"])
    broken(stage, "1.0", "a")
    rollout = await stage.start("1.0", "go-on")

    async def stuck() -> bool:
        return stage.targets(rollout) == {"a": "stuck", "b": "soak"}

    async def mended() -> bool:
        return stage.targets(rollout) == {"a": "verified", "b": "soak"}

    await until_read(stuck)
    stage.world.profile = Profile()
    await stage.cluster.control("foreign_delete", namespace="a", kind="Deployment", name="web")
    await stage.command(rollout, "retry")
    await until_read(mended)
    assert stage.rows.ask("select tenant from reservations group by tenant") == [("b",)]
    assert check_history(read_history(stage.rows.url)) == [f"rollout {rollout} is running"]
    await stage.command(rollout, "abort", inFlight="rollBack")
    await stage.over(rollout)


async def test_what_a_dead_worker_sent_late_is_put_right_by_the_second_look(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "SECOND_LOOK_SECONDS", 1.0)
    await installed(stage, "a")
    view = await stage.cluster.read_namespace("a")
    assert view is not None
    content = stage.rows.ask(
        "select body from contents c join revisions r on r.content_hash = c.hash where c.tenant = 'a'"
    )[0][0]
    rendered = unpack(content)
    objects = mark(rendered.objects, "a", "production", "odoo")
    work = apply_work(uuid.uuid4(), rendered.model_copy(update={"objects": objects}), None, whole=True)
    target = TargetNow(
        "a", "production", "a", CLUSTER, "west", 0, 0, "", 0, "none", 0, TargetState.APPLY, NOW, phase="apply"
    )
    job = Job(target, work, Fence(view.epoch + 1, str(work.step_id)), view.uid, rendered, taken_over=True)
    await stage.cluster.control("foreign_delete", namespace="a", kind="Deployment", name="web")
    running = asyncio.create_task(effects.Effects(stage.cluster, lambda: True).run(job))

    async def applied() -> bool:
        return len(await stage.cluster.list_objects("a", [("apps/v1", "Deployment")])) == 1

    await until_read(applied)  # workloads come last
    await stage.cluster.control("foreign_delete", namespace="a", kind="Service", name="web")
    assert await stage.cluster.list_objects("a", [("v1", "Service")]) == []
    outcome = await running
    assert outcome.done.outcome == "ok"
    assert len(await stage.cluster.list_objects("a", [("v1", "Service")])) == 1


def freeze(stage: Stage) -> None:
    """Let nothing start yet."""
    stage.rows.run(
        "insert into freezes (id, selector, reason, created_by, lifted_by) values (gen_random_uuid(), '', 'peak', 'mia', '')"
    )


def thaw(stage: Stage) -> None:
    """Let things start."""
    stage.rows.run("update freezes set lifted_at = now()")
    stage.rows.run("update budgets set version = version + 1 where scope = 'fleet/inFlight'")
