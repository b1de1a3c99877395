"""Drift: found by the watch, repaired or reported as the tier says, and told."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from controlplane.domain.tenants import TenantPhase
from controlplane.services.onboarding import onboard
from tests.contract.fleets import until_read
from tests.plugins.api import Api
from tests.plugins.operations import Works, spec
from workers.drift import DriftLoop


@pytest.fixture
async def loop(works: Works) -> AsyncIterator[DriftLoop]:
    """The loop of a worker over the simulated fleet, stepped by hand."""
    made = DriftLoop(works.transactions, works.tools.fleet)
    yield made
    made.close()


async def _onboarded(works: Works, loop: DriftLoop, **tier: Any) -> None:
    works.fleet.config("tiers", "standard", {"quota": {"requests.cpu": "2", "pods": "20"}, **tier})
    operation = await works.accept(lambda uow: onboard(uow, spec("acme-fr"), actor="mia"))
    assert (await works.finish(operation)).state == "succeeded"
    await works.tools.fleet.proven("aks-1")
    await loop.step()


async def _edit(works: Works, pods: str = "2000") -> None:
    """Somebody with rights on the cluster raises a quota by hand."""
    theirs = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "seawall"},
        "spec": {"hard": {"pods": pods}},
    }
    await works.cluster.control("foreign_write", namespace="acme-fr", manifest=theirs, manager="kubectl-edit")


async def _judged(loop: DriftLoop) -> bool:
    return await loop.step() > 0


def _pods(works: Works) -> str:
    found = works.world.get("acme-fr", "ResourceQuota", "seawall")
    assert found is not None
    return str(found["spec"]["hard"]["pods"])


def _told(works: Works) -> list[str]:
    rows = works.fleet.ask(
        "select split_part(type, '.', 4) from history where subject_kind = 'tenant' and type like '%%rift%%' order by seq"
    )
    return [row[0] for row in rows]


async def _repair(works: Works) -> None:
    ((operation,),) = works.fleet.ask("select id from operations where kind = 'repair' and ended_at is null")
    assert (await works.finish(operation)).state == "succeeded"


async def test_a_wall_that_somebody_changed_is_found_without_a_question_and_written_again(
    works: Works, loop: DriftLoop
) -> None:
    await _onboarded(works, loop)
    ((before,),) = works.fleet.ask("select epoch from environments")
    await _edit(works)
    await until_read(lambda: _judged(loop))
    assert _told(works) == ["drifted"]
    await _repair(works)
    assert (_pods(works), _told(works)) == ("20", ["drifted", "driftRepaired"])
    ((epoch, slot),) = works.fleet.ask("select epoch, slot_id from environments")
    assert (epoch > before, slot) == (True, None)
    steps = works.fleet.ask("select verb, kind, outcome from steps where phase = 'mend' order by ordinal")
    assert steps == [("seal", "Namespace", "ok"), ("apply", "ResourceQuota", "ok")]


async def test_a_wall_that_somebody_deleted_comes_back(works: Works, loop: DriftLoop) -> None:
    await _onboarded(works, loop)
    where = {"namespace": "acme-fr", "kind": "NetworkPolicy", "name": "seawall-default-deny"}
    await works.cluster.control("foreign_delete", **where)
    await until_read(lambda: _judged(loop))
    await _repair(works)
    assert "NetworkPolicy/seawall-default-deny" in works.objects("acme-fr")


async def test_a_tier_that_only_reports_says_so_in_the_status_until_it_is_as_it_was(
    works: Works, loop: DriftLoop, api: Api
) -> None:
    await _onboarded(works, loop, drift={"walls": "report"})
    await _edit(works)
    await until_read(lambda: _judged(loop))
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    drift = (await owner.get("/v1/tenants/acme-fr/status")).json()["environments"][0]["drift"]
    assert (drift["objects"], drift["policy"]) == (["ResourceQuota/seawall"], "report")
    assert works.fleet.ask("select count(*) from operations where kind = 'repair'") == [(0,)]
    await _edit(works, "20")
    await until_read(lambda: _judged(loop))
    assert (await owner.get("/v1/tenants/acme-fr/status")).json()["environments"][0]["drift"] is None
    assert _told(works) == ["drifted", "driftEnded"]


async def test_while_a_change_holds_the_environment_nobody_judges_it(works: Works, loop: DriftLoop) -> None:
    await _onboarded(works, loop)
    other = "01999999-9999-7999-8999-999999999999"
    works.fleet.run("update environments set slot_kind = 'rollout', slot_id = %s, slot_since = now()", other)
    await _edit(works)
    await until_read(lambda: _judged(loop))
    assert _told(works) == []
    works.fleet.run("update environments set slot_kind = null, slot_id = null, slot_since = null")
    await until_read(lambda: _judged(loop))
    assert _told(works) == ["drifted"]


async def test_two_workers_that_see_the_same_start_one_repair(works: Works, loop: DriftLoop) -> None:
    other = DriftLoop(works.transactions, works.tools.fleet)
    await _onboarded(works, loop)
    await other.step()
    await _edit(works)
    await until_read(lambda: _judged(loop))
    await until_read(lambda: _judged(other))
    assert works.fleet.ask("select count(*) from operations where kind = 'repair'") == [(1,)]
    other.close()


async def test_signs_of_a_tenant_that_is_not_active_and_of_our_own_writes_are_nothing(
    works: Works, loop: DriftLoop
) -> None:
    await _onboarded(works, loop)
    async with works.transactions.engine() as uow:
        await uow.tenants.set_phase(["acme-fr"], TenantPhase.SUSPENDED)
    await _edit(works)
    await until_read(lambda: _judged(loop))
    assert _told(works) == []


async def test_a_cluster_that_is_away_is_asked_again(works: Works, loop: DriftLoop) -> None:
    await _onboarded(works, loop)
    await _edit(works)
    works.trouble("unavailable", times=1, operation="get")
    began = time.monotonic()
    await until_read(lambda: _judged(loop))
    assert _told(works) == []
    await until_read(lambda: _judged(loop))
    assert time.monotonic() - began >= 5
    assert _told(works) == ["drifted"]


async def test_what_went_while_no_worker_listened_is_found_by_the_next_one(works: Works, loop: DriftLoop) -> None:
    works.fleet.release("17.0.3")
    operation = await works.accept(lambda uow: onboard(uow, spec("acme-fr", apps={"odoo": {}}), actor="mia"))
    async with works.worker():
        assert (await works.over(operation)).state == "succeeded"
    for kind, name in (("Deployment", "web"), ("ResourceQuota", "seawall"), ("NetworkPolicy", "seawall-default-deny")):
        await works.cluster.control("foreign_delete", namespace="acme-fr", kind=kind, name=name)
    works.trouble("unavailable", times=1, operation="list_objects")
    await until_read(lambda: _judged(loop))
    ((drift,),) = works.fleet.ask("select drift from environments")
    assert [(one["part"], one["kind"], one["name"]) for one in drift["objects"]] == [
        ("odoo", "Deployment", "web"),
        ("walls", "NetworkPolicy", "seawall-default-deny"),
        ("walls", "ResourceQuota", "seawall"),
    ]


async def test_what_is_there_is_no_drift_when_it_is_looked_for(works: Works, loop: DriftLoop) -> None:
    works.fleet.release("17.0.3")
    operation = await works.accept(lambda uow: onboard(uow, spec("acme-fr", apps={"odoo": {}}), actor="mia"))
    async with works.worker():
        assert (await works.over(operation)).state == "succeeded"
    assert await loop.step() == 0
    assert loop.compared("aks-1")
    assert _told(works) == []
