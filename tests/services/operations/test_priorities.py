"""The PriorityClass of a tier comes with its walls, and a change of tier brings the other one."""

from __future__ import annotations

from typing import Any

from controlplane.services.onboarding import onboard
from controlplane.services.tenant_changes import change
from tests.plugins.operations import Works, spec

QUOTA = {"requests.cpu": "2", "requests.memory": "4Gi", "pods": "20"}


async def _onboarded(works: Works, **changes: Any) -> None:
    works.fleet.config("tiers", "premium", {"quota": QUOTA, "priority": 1000})
    works.fleet.config("tiers", "gold", {"quota": QUOTA, "priority": 2000})
    operation = await works.accept(lambda uow: onboard(uow, spec("acme-fr", tier="premium", **changes), actor="mia"))
    assert (await works.finish(operation)).state == "succeeded"


async def _to_tier(works: Works, tier: str) -> None:
    async with works.transactions.platform() as uow:
        record = await uow.tenants.get("acme-fr")
        assert record is not None
        operation = await change(uow, record, record.spec.model_copy(update={"tier": tier}), actor="mia")
    assert operation is not None
    assert (await works.finish(operation)).state == "succeeded"


def _classes(works: Works) -> list[str]:
    found = works.world.get("acme-fr", "ResourceQuota", "seawall-priority")
    assert found is not None
    listed: list[str] = found["spec"]["scopeSelector"]["matchExpressions"][1]["values"]
    return listed


async def test_walls_make_the_tiers_class_and_let_no_other_in(works: Works) -> None:
    await _onboarded(works)
    made = works.world.get("", "PriorityClass", "seawall-premium-1000")
    assert made is not None
    assert (made["value"], made["preemptionPolicy"]) == (1000, "Never")
    assert _classes(works) == ["seawall-premium-1000"]
    step = works.fleet.ask("select verb, fence, outcome from steps where kind = 'PriorityClass'")
    assert step == [("create", "name", "ok")]
    assert works.fleet.ask("select walls ->> 'priority' from environments") == [("seawall-premium-1000",)]


async def test_another_tier_brings_its_class_and_keeps_the_old_one_until_pods_have_moved(works: Works) -> None:
    await _onboarded(works)
    await _to_tier(works, "gold")
    assert works.world.get("", "PriorityClass", "seawall-gold-2000") is not None
    assert _classes(works) == ["seawall-gold-2000", "seawall-premium-1000"]
    await _to_tier(works, "premium")
    assert _classes(works) == ["seawall-gold-2000", "seawall-premium-1000"]


async def test_a_class_of_the_name_with_another_value_fails_the_item_and_says_what_to_do(works: Works) -> None:
    works.world.ensure_priority_class(
        {"kind": "PriorityClass", "metadata": {"name": "seawall-premium-1000"}, "value": 7}
    )
    works.fleet.config("tiers", "premium", {"quota": QUOTA, "priority": 1000})
    operation = await works.accept(lambda uow: onboard(uow, spec("acme-fr", tier="premium"), actor="mia"))
    found = await works.finish(operation)
    assert found.problem is not None
    assert (found.state, found.problem["code"]) == ("failed", "already-exists")
    assert "Give the tier another priority" in found.problem["detail"]
