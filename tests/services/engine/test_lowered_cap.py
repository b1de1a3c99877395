"""A person lowers the fleet's cap while a wave runs: what is in flight finishes, and nothing more is taken than the new cap lets."""

from __future__ import annotations

from controlplane.domain.fleet_limits import FleetLimits
from controlplane.services.limits import apply_limits
from tests.contract.fleets import until_read

from .conftest import Stage

NAMES = [f"shop-{n}" for n in range(8)]
INSTALL = {"waves": [{"name": "all", "cut": {"count": 1000}}], "limits": {"inFlight": 8}}
WAVE = {**INSTALL, "waves": [{"name": "all", "cut": {"count": 1000}, "soak": {"for": "PT1S"}}]}


async def test_a_cap_lowered_while_a_wave_runs_holds_the_rest_and_takes_nothing_back(stage: Stage) -> None:
    await stage.tenants(NAMES)
    stage.rows.release("17.0.3")
    stage.rows.release("17.0.4")
    stage.rows.config("strategies", "install", INSTALL)
    stage.rows.config("strategies", "wave", WAVE)
    assert await stage.over(await stage.start("17.0.3", "install")) == "succeeded"
    async with stage.transactions.platform() as uow:
        await apply_limits(uow, "fleet", FleetLimits.model_validate({"inFlight": 4}))
    rollout = await stage.start("17.0.4", "wave")

    async def four_out() -> bool:
        return stage.rows.ask("select reserved from budgets where scope = 'fleet/inFlight'") == [(4,)]

    await until_read(four_out)
    async with stage.transactions.platform() as uow:
        await apply_limits(uow, "fleet", FleetLimits.model_validate({"inFlight": 1}))
    (last,) = stage.rows.ask("select max(id) from budget_moves")[0]
    assert await stage.over(rollout) == "succeeded"
    assert set(stage.targets(rollout).values()) == {"verified"}
    after = stage.rows.ask(
        "select delta, reserved, cap from budget_moves where scope = 'fleet/inFlight' and id > %s order by id", last
    )
    grants = [(reserved, cap) for delta, reserved, cap in after if delta > 0]
    assert grants
    assert all(reserved <= cap == 1 for reserved, cap in grants), grants
    assert stage.rows.ask("select count(*) from targets where rollout_id = %s and attempt > 1", rollout) == [(0,)]
