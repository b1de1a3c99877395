"""Onboarding ends with the apps' releases running: one rollout per release and environment, and who can't get one is told why."""

from __future__ import annotations

import uuid
from typing import Any

from controlplane.adapters.simulated.profile import FaultRule, Profile
from controlplane.services.onboarding import batch_onboard, onboard
from tests.plugins.operations import Works, ndjson, spec
from tests.support.charts import DEPLOYMENT, chart

ODOO: dict[str, Any] = {"odoo": {"channel": "stable"}}


async def batch(works: Works, *names: str, **changes: Any) -> uuid.UUID:
    lines = ndjson(*(spec(name, apps=ODOO, **changes) for name in names))
    return await works.accept(lambda uow: batch_onboard(uow, lines, actor="mia"))


async def test_new_tenants_get_the_newest_proven_release_through_one_rollout(works: Works) -> None:
    works.fleet.release("17.0.3")
    works.fleet.release("17.0.4")
    works.fleet.run("update releases set proven_at = now() where version = '17.0.3'")
    async with works.worker():
        operation = await works.over(await batch(works, "one", "two", "three"))
    assert (operation.state, operation.result) == ("succeeded", {"succeeded": 3, "failed": 0})
    rollouts = works.fleet.ask("select release_version, state, origin ->> 'onboarding' from rollouts")
    assert rollouts == [("17.0.3", "succeeded", str(operation.id))]
    assert works.fleet.ask("select count(*) from tenant_apps where verified_revision = 1") == [(3,)]
    assert await works.phase("two") == ("active", "")


async def test_the_very_first_installation_takes_the_newest_release_that_is_not_held(works: Works) -> None:
    works.fleet.release("17.0.3")
    works.fleet.release("17.0.4")
    works.fleet.run(
        "insert into holds (id, app, version, digest, reason, created_by, lifted_by, lift_reason)"
        " select gen_random_uuid(), app, version, digest, 'broke three', 'x', '', '' from releases where version = '17.0.4'"
    )
    async with works.worker():
        await works.over(await batch(works, "one"))
    assert works.fleet.ask("select release_version from revisions") == [("17.0.3",)]


async def test_an_app_without_a_release_leaves_the_tenant_active_with_nothing_installed(works: Works) -> None:
    works.fleet.config("apps", "odoo", {})
    async with works.worker():
        operation = await works.over(await batch(works, "one"))
    assert operation.state == "succeeded"
    assert works.fleet.ask("select revision from tenant_apps") == [(0,)]


async def test_a_pin_decides_which_release_is_installed(works: Works) -> None:
    works.fleet.release("17.0.3")
    works.fleet.release("17.0.4")
    pin = {"version": "17.0.3", "reason": "audit", "owner": "mia", "until": "2099-01-01T00:00:00Z"}
    one = spec("one", apps={"odoo": {"pin": pin}})
    async with works.worker():
        await works.over(await works.accept(lambda uow: onboard(uow, one, actor="mia")))
    assert works.fleet.ask("select release_version from revisions") == [("17.0.3",)]


async def test_a_release_that_does_not_start_in_one_tenant_fails_there_with_the_reason(works: Works) -> None:
    impatient = DEPLOYMENT.replace("spec:\n  replicas:", "spec:\n  progressDeadlineSeconds: 1\n  replicas:")
    works.fleet.release("17.0.3", chart({"web.yaml": impatient}, base=False))
    works.world.profile = Profile(faults=(FaultRule(namespace="two", fault="never-ready"),))
    async with works.worker():
        operation = await works.over(await batch(works, "one", "two"))
    assert operation.result == {"succeeded": 1, "failed": 1}
    assert await works.phase("one") == ("active", "")
    phase, reason = await works.phase("two")
    assert phase == "onboarding"
    assert "odoo/17.0.3 was not installed" in reason


async def test_a_pinned_version_that_is_not_registered_fails_the_item_with_its_name(works: Works) -> None:
    works.fleet.release("17.0.3")
    pin = {"version": "16.0.1", "reason": "audit", "owner": "mia", "until": "2099-01-01T00:00:00Z"}
    one = spec("one", apps={"odoo": {"pin": pin}})
    operation = await works.finish(await works.accept(lambda uow: onboard(uow, one, actor="mia")))
    assert operation.problem is not None
    assert operation.problem["code"] == "unknown-release"
    assert "odoo/16.0.1" in operation.problem["detail"]


async def test_installation_goes_on_where_a_dead_driver_left_it_and_starts_no_second_rollout(works: Works) -> None:
    works.fleet.release("17.0.3")
    operation_id = await batch(works, "one", "two")
    one = [(1,)]
    started = await works.drive(operation_id, until=lambda: works.fleet.ask("select count(*) from rollouts") == one)
    assert started.ended_at is None
    works.fleet.run("update operation_items set memory = memory - 'installs'")
    async with works.worker():
        assert (await works.over(operation_id)).state == "succeeded"
    assert works.fleet.ask("select count(*) from rollouts") == [(1,)]
