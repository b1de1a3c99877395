"""A worker that stops for longer than its lease, and then goes on as if nothing had been."""

from __future__ import annotations

import signal

import pytest

from tests.support.processes import tail, until

from .conftest import Field, driving, in_waves

pytestmark = pytest.mark.kill


async def test_a_stopped_worker_that_wakes_after_its_lease_is_refused_by_the_fence(field: Field) -> None:
    field.rows.config("strategies", "waves", in_waves(1, limit=2))
    field.rows.release("1.0")
    field.rows.release("2.0")
    await field.tenants(4)
    rollouts = [await field.start("1.0", "waves"), await field.start("2.0", "waves")]
    zombie = await driving(field, "zombie", fault="effect:before:3=stop")
    await field.processes.stopped(zombie)
    await driving(field, "heir")
    assert await field.over(*rollouts) == ["succeeded", "succeeded"]
    zombie.kill(signal.SIGCONT)
    await until(lambda: "whoever has it goes on" in tail(zombie), what="the zombie notices")
    late = [w for w in field.history().writes if w.code == 403]
    assert late, "its late write was sent, and refused"
    assert zombie.running()
    field.check()
