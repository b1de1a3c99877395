"""Workers killed with SIGKILL before and after each ledger write and each external effect; others take over."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.charts import DEPLOYMENT, SERVICE, chart, job
from tests.support.processes import until

from .conftest import Field, driving, in_waves, standing_by

pytestmark = pytest.mark.kill

ISSUING = ["ledger:before-issue:2", "ledger:after-issue:1", "effect:after@seal:1", "effect:before:2"]
OBSERVING = [
    "effect:after:4",
    "ledger:before-observe:1",
    "ledger:after-observe:1",
    "effect:after@create:1",
    "effect:before@release:1",
]
GOING_BACK = [
    "ledger:before-issue@back:1",
    "ledger:after-issue@back:1",
    "effect:after@seal:1",
    "effect:before@delete:1",
    "effect:after@delete:1",
    "ledger:before-observe@back:1",
    "ledger:after-observe@back:1",
]
SOON = 6.0
"""Seconds until the leases of a dead worker are taken: two sweeps, a second each, and a busy machine."""
LONG_LEASE = {"SEAWALL_LEASE_SECONDS": "120"}


@pytest.mark.parametrize("points", [ISSUING, OBSERVING], ids=["issuing", "observing"])
async def test_killed_workers_lose_and_double_nothing(field: Field, points: list[str]) -> None:
    hook = job(hook="pre-install,pre-upgrade")
    extra = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
    field.rows.config("strategies", "waves", in_waves(1, 2))
    field.rows.release("1.0", artifact=chart({"extra.yaml": extra}))
    field.rows.release("2.0", artifact=chart({"migrate.yaml": hook}))
    names = await field.tenants(6)
    rollouts = [await field.start("1.0", "waves"), await field.start("2.0", "waves")]
    await one_after_the_other(field, points)
    assert await field.over(*rollouts) == ["succeeded", "succeeded"]
    assert set(field.targets(rollouts[1]).values()) == {"verified"}
    jobs = [one for name in names for one in await field.cluster.list_objects(name, [("batch/v1", "Job")])]
    assert len(jobs) == 6
    assert not [one for one in jobs if one["metadata"].get("finalizers")], "each Job was released"
    field.check()


async def test_killed_workers_bring_back_whoever_was_going_back_and_nobody_else(field: Field) -> None:
    soak = {"soak": {"for": "PT2M", "samples": 1}}
    waves = [{"name": "first", "cut": {"count": 3}, **soak}, {"name": "rest", "cut": {"percent": "100%"}, **soak}]
    limits = {"limits": {"inFlight": "100%"}, "success": {"maxFailures": 0, "progressDeadline": "PT8S"}}
    field.rows.config("strategies", "all-at-once", {"waves": waves, **limits})
    extra = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
    faults = "{seawall.test/fault: crash-after-ready, seawall.test/delay: 3s}"
    ill = DEPLOYMENT.replace(
        "metadata: {labels: {app: web}}", f"metadata: {{labels: {{app: web}}, annotations: {faults}}}"
    )
    assert ill != DEPLOYMENT
    field.rows.release("1.0")
    field.rows.release(
        "2.0", artifact=chart({"web.yaml": ill, "service.yaml": SERVICE, "extra.yaml": extra}, base=False)
    )
    names = await field.tenants(5)
    first = await field.start("1.0")
    worker = await driving(field, "first")
    assert await field.over(first) == ["succeeded"]
    worker.kill()
    second = await field.start("2.0", "all-at-once")
    await one_after_the_other(field, GOING_BACK)
    assert await field.over(second) == ["failed"]
    states = field.targets(second)
    assert sorted(states.values()) == ["cancelled", "cancelled", "rolledBack", "rolledBack", "rolledBack"]
    for name in names:
        maps = await field.cluster.list_objects(name, [("v1", "ConfigMap")])
        assert "extra" not in {one["metadata"]["name"] for one in maps}, "what only 2.0 had is gone"
        (web,) = await field.cluster.list_objects(name, [("apps/v1", "Deployment")])
        assert "annotations" not in web["spec"]["template"]["metadata"], "it runs 1.0"
    assert field.rows.ask("select version from holds where lifted_at is null") == [("2.0",)]
    field.check()


async def one_after_the_other(field: Field, points: list[str]) -> None:
    """Workers, each of which dies at its point before the next one starts; the last one lives."""
    for number, point in enumerate(points):
        await field.processes.ended(field.processes.worker(f"worker-{number}", fault=point))
    field.processes.worker("heir")


async def test_a_worker_that_stands_by_takes_over_from_a_killed_one_long_before_its_lease_ends(field: Field) -> None:
    soak = {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT1H", "samples": 1}}
    field.rows.config("strategies", "long", {"waves": [soak], "limits": {"inFlight": "100%"}})
    field.rows.release("1.0")
    await field.tenants(2)
    rollout = await field.start("1.0", "long")
    first = await driving(field, "first", **LONG_LEASE)
    await until(lambda: set(field.targets(rollout).values()) == {"soak"}, what="the tenants soak")
    await standing_by(field, "standby", **LONG_LEASE)
    await until(
        lambda: field.rows.ask("select count(*) from workers where guarded") == [(2,)], what="both hold their locks"
    )
    server_is_up = "select pg_postmaster_start_time() < clock_timestamp() - interval '10 seconds'"
    await until(lambda: field.rows.ask(server_is_up) == [(True,)], what="PostgreSQL has been up for a while")
    first.kill()
    died = datetime.now(UTC)
    await until(lambda: len(field.processes.claims()) == 2, what="the standby takes over")
    took = (datetime.fromisoformat(field.processes.claims()[1].at) - died).total_seconds()
    assert took < SOON
    await field.command(rollout, "abort", inFlight="rollBack")
    await field.over(rollout)
    field.check()
