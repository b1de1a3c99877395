"""Workers killed with SIGKILL before and after each ledger write and each external effect; others take over."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.charts import chart, job
from tests.support.processes import until

from .conftest import Field, driving, in_waves, standing_by

pytestmark = pytest.mark.kill

POINTS = [
    "ledger:before-issue:2",
    "ledger:after-issue:1",
    "effect:before:2",
    "effect:after:4",
    "ledger:before-observe:1",
    "ledger:after-observe:1",
]
SOON = 6.0
"""Seconds until the leases of a dead worker are taken: two sweeps, a second each, and a busy machine."""
LONG_LEASE = {"SEAWALL_LEASE_SECONDS": "120"}


@pytest.mark.parametrize("points", [POINTS[:3], POINTS[3:]], ids=["issuing", "observing"])
async def test_killed_workers_lose_and_double_nothing(field: Field, points: list[str]) -> None:
    hook = job(hook="pre-install,pre-upgrade")
    extra = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
    field.rows.config("strategies", "waves", in_waves(1, 2))
    field.rows.release("1.0", artifact=chart({"extra.yaml": extra}))
    field.rows.release("2.0", artifact=chart({"migrate.yaml": hook}))
    names = await field.tenants(6)
    rollouts = [await field.start("1.0", "waves"), await field.start("2.0", "waves")]
    dying = await driving(field, "worker-0", points[0])
    for number, point in enumerate([*points[1:], ""], start=1):
        successor = field.processes.worker(f"worker-{number}", fault=point)
        await field.processes.ended(dying)
        dying = successor
    assert await field.over(*rollouts) == ["succeeded", "succeeded"]
    assert set(field.targets(rollouts[1]).values()) == {"verified"}
    jobs = [one for name in names for one in await field.cluster.list_objects(name, [("batch/v1", "Job")])]
    assert len(jobs) == 6
    assert not [one for one in jobs if one["metadata"].get("finalizers")], "each Job was released"
    field.check()


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
