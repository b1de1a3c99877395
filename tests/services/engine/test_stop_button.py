"""The stop button in the middle of a rollout: nothing forward is issued after it, ways back go on, time and people end it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from controlplane.adapters.simulated.profile import FaultRule, Profile
from controlplane.services.freezes import FreezeWish, freeze, open_after_expiry, thaw
from tests.contract.fleets import until_read
from tests.support.charts import chart

from .conftest import Stage

ONE_BY_ONE: dict[str, Any] = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}],
    "limits": {"inFlight": 1},
    "success": {"maxFailures": 3},
}
FORWARD = "select count(*) from steps where phase = 'apply'"


async def running(stage: Stage) -> Any:
    """A rollout of six, one by one, with at least one through."""
    stage.rows.config("strategies", "slowly", ONE_BY_ONE)
    stage.rows.release("1.0")
    await stage.tenants([f"t{n}" for n in range(3)], labels={"country": "fr"})
    await stage.tenants([f"t{n}" for n in range(3, 6)], labels={"country": "it"})
    rollout = await stage.start("1.0", "slowly")

    async def one() -> bool:
        return "verified" in stage.targets(rollout).values()

    await until_read(one)
    return rollout


async def quiet(stage: Stage, rollout: Any) -> None:
    """Wait until nothing is in flight."""
    resting = {"pending", "verified", "rolledBack", "stuck"}

    async def look() -> bool:
        return set(stage.targets(rollout).values()) <= resting

    await until_read(look)


async def test_once_everything_is_frozen_no_forward_step_is_issued_until_it_ends_by_time(stage: Stage) -> None:
    rollout = await running(stage)
    async with stage.transactions.platform() as uow:
        until = uow.now + timedelta(seconds=2)
        await freeze(uow, FreezeWish(None, "checkout errors", until), actor="zoe")
    issued = stage.rows.ask(FORWARD)
    await quiet(stage, rollout)
    assert "pending" in stage.targets(rollout).values()
    assert stage.rows.ask(FORWARD) == issued

    async def ended() -> bool:
        async with stage.transactions.engine() as uow:
            return await open_after_expiry(uow)

    await until_read(ended)
    assert await stage.over(rollout) == "succeeded"


async def test_a_frozen_country_waits_while_the_other_goes_on(stage: Stage) -> None:
    rollout = await running(stage)
    async with stage.transactions.platform() as uow:
        stop = await freeze(uow, FreezeWish("country=it", "VAT cutover"), actor="zoe")
    italian = f"{FORWARD} and tenant in ('t3', 't4', 't5')"
    issued = stage.rows.ask(italian)

    async def french_through() -> bool:
        found = stage.targets(rollout)
        return all(found[t] == "verified" for t in ("t0", "t1", "t2")) and "pending" in found.values()

    await until_read(french_through)
    await quiet(stage, rollout)
    assert stage.rows.ask(italian) == issued
    async with stage.transactions.platform() as uow:
        await thaw(uow, stop.id, actor="zoe")
    assert await stage.over(rollout) == "succeeded"


async def test_ways_back_go_on_while_everything_is_frozen(stage: Stage) -> None:
    rollout = await running(stage)
    assert await stage.over(rollout) == "succeeded"
    stage.rows.release("2.0", chart(values={"release": "2.0"}))
    stage.world.profile = Profile(faults=(FaultRule(namespace="t0", fault="never-ready"),))
    stage.rows.config("strategies", "short", {**ONE_BY_ONE, "success": {"maxFailures": 0, "progressDeadline": "PT2S"}})
    bad = await stage.start("2.0", "short", selector="tenant=t0")

    async def changed() -> bool:
        return stage.targets(bad) == {"t0": "verify"}

    await until_read(changed)
    async with stage.transactions.platform() as uow:
        await freeze(uow, FreezeWish(None, "checkout errors"), actor="zoe")
    stage.world.profile = Profile()
    assert await stage.over(bad) == "failed"
    assert stage.targets(bad) == {"t0": "rolledBack"}
