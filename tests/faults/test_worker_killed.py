"""Workers killed with SIGKILL before and after each ledger write and each external effect; others take over."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controlplane.adapters.embedded.processes import Child
from tests.support.charts import chart, job
from tests.support.processes import LEASE_SECONDS, until

from .conftest import Field, in_waves

pytestmark = pytest.mark.kill

POINTS = [
    "ledger:before-issue:2",
    "ledger:after-issue:1",
    "effect:before:2",
    "effect:after:4",
    "ledger:before-observe:1",
    "ledger:after-observe:1",
]
SLACK = 5.0
"""Seconds beyond the lease for a sweep, the load and a busy machine."""


async def killed_in_turn(field: Field, points: list[str]) -> list[float]:
    """Let a worker die at each point while the next one stands by, the last without a fault; gives how long each takeover took."""
    took = []
    dying = await driving(field, "worker-0", points[0])
    for number, point in enumerate([*points[1:], ""], start=1):
        successor = field.processes.worker(f"worker-{number}", fault=point)
        await field.processes.ended(dying)
        died, known = datetime.now(UTC), len(field.processes.claims())
        await until(lambda known=known: len(field.processes.claims()) > known, what=f"worker-{number} takes over")  # type: ignore[misc]
        took.append((datetime.fromisoformat(field.processes.claims()[known].at) - died).total_seconds())
        dying = successor
    return took


async def driving(field: Field, name: str, fault: str) -> Child:
    """A worker that has begun to drive."""
    worker = field.processes.worker(name, fault=fault)
    await until(field.processes.claims, what=f"{name} drives")
    return worker


@pytest.mark.parametrize("points", [POINTS[:3], POINTS[3:]], ids=["issuing", "observing"])
async def test_killed_workers_lose_and_double_nothing(field: Field, points: list[str]) -> None:
    hook = job(hook="pre-install,pre-upgrade")
    extra = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
    field.rows.config("strategies", "waves", in_waves(1, 2))
    field.rows.release("1.0", artifact=chart({"extra.yaml": extra}))
    field.rows.release("2.0", artifact=chart({"migrate.yaml": hook}))
    await field.tenants(6)
    rollouts = [await field.start("1.0", "waves"), await field.start("2.0", "waves")]
    took = await killed_in_turn(field, points)
    assert await field.over(*rollouts) == ["succeeded", "succeeded"]
    assert set(field.targets(rollouts[1]).values()) == {"verified"}
    assert max(took) < LEASE_SECONDS + SLACK, f"takeovers took {took} s"
    field.check()
