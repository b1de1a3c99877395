"""The rules of automatic rollback, on real PostgreSQL and the simulated fleet: where it goes, what it ignores, what it never does."""

from __future__ import annotations

from typing import Any

from controlplane.adapters.simulated.profile import FaultRule, Profile
from controlplane.domain.disturbance import Circumstances, Node, Nodes, PodView
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.domain.tiers import ClusterSpec
from controlplane.services.configuration.kinds import KINDS, Kind
from controlplane.services.configuration.objects import put_object
from controlplane.services.rollouts.prepare import prepare
from controlplane.services.rollouts.start import plan_and_start
from tests.contract.fleets import until_read
from tests.support.charts import DEPLOYMENT, chart

from .conftest import CLUSTER, Stage
from .test_driver import CAREFUL, broken, clean, installed

WORKER = DEPLOYMENT.replace("web", "worker").replace(".Values.images.worker", ".Values.worker")
OLD = "acme.azurecr.io/worker@sha256:" + "ab" * 32


async def test_it_goes_to_the_last_verified_revision_not_to_the_one_before(stage: Stage) -> None:
    stage.rows.config("strategies", "careful", CAREFUL)
    await installed(stage, "a")
    stage.rows.release("2.0")
    broken(stage, "2.0", "a")
    await stage.over(await stage.start("2.0", "careful"))
    stage.rows.release("3.0")
    broken(stage, "3.0", "a")
    third = await stage.start("3.0", "careful")
    await stage.over(third)
    assert stage.targets(third) == {"a": "rolledBack"}
    assert stage.rows.ask("select revision, verified_revision, last_number from tenant_apps") == [(1, 1, 3)]
    clean(stage)


async def test_a_new_version_of_the_same_bytes_is_held_too_until_a_person_lifts_it(stage: Stage) -> None:
    stage.rows.config("strategies", "careful", CAREFUL)
    await installed(stage, "a")
    bad = stage.rows.release("2.0", chart(values={"release": "bad"}))
    broken(stage, "2.0", "a")
    await stage.over(await stage.start("2.0", "careful"))
    images = {name: ref.replace("acme.azurecr.io", "mirror.example") for name, ref in bad.images.items()}
    stage.rows.release("2.0-again", chart(values={"release": "bad"}), images=images)
    ask = Ask(RolloutRequest.model_validate({"release": "odoo/2.0-again", "strategy": "careful"}))
    plan = (await prepare(stage.tools, ask)).plan
    assert [(e.tenant, e.code) for e in plan.excluded] == [("a", "held")]
    stage.rows.run("update holds set lifted_at = now(), lift_reason = 'fixed in the fleet'")
    assert (await prepare(stage.tools, ask)).plan.size == 1


async def test_a_rollback_that_fails_is_never_rolled_back_by_itself(stage: Stage) -> None:
    stage.rows.config("strategies", "careful", CAREFUL)
    await installed(stage, "a")
    stage.rows.release("2.0")
    assert await stage.over(await stage.start("2.0", "careful")) == "succeeded"
    broken(stage, "1.0", "a")
    request = RolloutRequest.model_validate({"kind": "rollback", "app": "odoo", "to": 1, "strategy": "careful"})
    started = await plan_and_start(stage.tools, Ask(request), actor="mia", origin={"kind": "person"})
    assert await stage.over(started.id) == "failed"
    assert stage.targets(started.id) == {"a": "stuck"}
    reason = stage.rows.ask("select reason from targets where rollout_id = %s", started.id)[0][0]
    assert "A rollback is never rolled back by itself." in reason
    assert stage.rows.ask("select count(*) from steps where subject_id = %s and phase = 'back'", started.id) == [(0,)]


async def test_a_failure_older_than_the_change_is_not_blamed_on_it(stage: Stage) -> None:
    """The worker is ill before the release that changes only the web; it stays ill, and the web is what is judged."""
    stage.rows.config("strategies", "careful", CAREFUL)
    parts = {"worker.yaml": WORKER}
    await installed(stage, "a", artifact=chart(parts, values={"worker": OLD}))
    stage.world.profile = Profile(faults=(FaultRule(namespace="a", image=OLD, fault="never-ready"),))
    again = {"spec": {"template": {"metadata": {"annotations": {"somebody": "restarted it"}}}}}
    worker = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker"}, **again}
    await stage.cluster.control("foreign_write", namespace="a", manifest=worker, manager="somebody")

    async def ill() -> bool:
        state = stage.cluster.workloads("a")["Deployment", "worker"]
        return state.total > state.updated or state.available < state.updated

    await until_read(ill)
    stage.rows.release("2.0", chart(parts, values={"worker": OLD, "release": "2.0"}))
    rollout = await stage.start("2.0", "careful")
    assert await stage.over(rollout) == "succeeded"
    assert await ill()


async def test_a_node_that_goes_during_the_wave_holds_it_and_blames_nobody(stage: Stage) -> None:
    """End to end through the driver: the watch says a node is gone, the pods are asked for, the target holds, then recovers."""
    rules = {**CAREFUL, "success": {"maxFailures": 0, "progressDeadline": "PT1S", "disturbanceLimit": "PT1M"}}
    stage.rows.config("strategies", "careful", rules)
    await installed(stage, "ab")
    stage.rows.release("2.0")
    broken(stage, "2.0", "a", "b")
    gone = Nodes({}, {"n1": Node("n1", zone="z1")})
    stage.cluster.play_nodes(gone, Circumstances([PodView("a", "n1", ready=False)]))
    rollout = await stage.start("2.0", "careful")

    async def held() -> bool:
        asked = "select count(*) from targets where rollout_id = %s and code = 'disturbed' and now() > since + interval '2 seconds'"
        return bool(stage.rows.ask(asked, rollout)[0][0])

    await until_read(held)
    assert sorted(stage.targets(rollout).values()) == ["pending", "verify"]
    stage.cluster.play_nodes(Nodes(), Circumstances())
    assert await stage.over(rollout) == "failed"
    told = [t.split(".")[3] for (t,) in stage.rows.ask("select type from history where tenant = 'a' order by at, seq")]
    assert told[-3:] == ["target-failed", "target-rolling-back", "target-rolled-back"]
    assert "target-disturbed" in told


async def test_waves_hold_on_a_cluster_that_somebody_says_is_under_upgrade_until_it_is_not(stage: Stage) -> None:
    async def say(upgrade: str) -> None:
        spec = ClusterSpec.model_validate({"region": "west", "upgrade": upgrade})
        kind: Kind[Any] = next(kind for kind in KINDS if kind.plural == "clusters")
        async with stage.transactions.platform() as uow:
            await put_object(uow, kind, CLUSTER, spec, actor="ola", check=lambda _: None)

    await installed(stage, "ab")
    stage.rows.release("2.0")
    await say("now")
    rollout = await stage.start("2.0")

    async def waits() -> bool:
        codes = stage.rows.ask("select distinct state, code from targets where rollout_id = %s", rollout)
        return codes == [("pending", "cluster-upgrading")]

    await until_read(waits)
    assert stage.rows.ask("select count(*) from steps where subject_id = %s", rollout) == [(0,)]
    await say("detect")
    assert await stage.over(rollout) == "succeeded"
    clean(stage)
