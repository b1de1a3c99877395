"""A tenant owner's world: one tenant, from the registry alone, and what may be done within the tier's allowance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.plugins.operations import Works
from workers.observe import Observer

PATH = "/v1/tenants/acme-fr"


@pytest.fixture
async def owner(works: Works, api: Api) -> httpx.AsyncClient:
    """The owner of acme-fr; it and zed-de run odoo/17.0.3, verified, and ran 17.0.2 before; 17.0.4 is registered."""
    works.fleet.config("tiers", "standard", {"quota": {"pods": "20"}, "selfService": {"defer": "P3D"}})
    for version in ("17.0.2", "17.0.3", "17.0.4"):
        works.fleet.release(version)
    names = works.fleet.tenants(["acme-fr", "zed-de"])
    works.fleet.runs(names, "17.0.2")
    works.fleet.runs(names, "17.0.3")
    return await api.as_("tenant-owner", tenants=["acme-fr"])


async def planned(works: Works, **changes: Any) -> str:
    """Start a rollout of 17.0.4 to both tenants that nobody drives yet."""
    request = RolloutRequest(release="odoo/17.0.4", strategy="all", reason="French VAT change", **changes)
    tools = RolloutTools(open=works.transactions.platform)
    return str((await plan_and_start(tools, Ask(request), actor="mia", origin={"kind": "person"})).id)


async def status(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get(f"{PATH}/status")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_status_says_what_runs_and_that_nothing_is_planned(works: Works, owner: httpx.AsyncClient) -> None:
    found = await status(owner)
    assert (found["tenant"], found["phase"], found["asOf"]) == ("acme-fr", "active", None)
    production = found["environments"][0]
    app = production["apps"][0]
    assert (app["name"], app["running"], app["revision"], app["pin"]) == ("odoo", "17.0.3", 2, None)
    assert (production["now"], production["next"]) == (None, None)
    assert found["actions"] == ["requestRollback"]


async def test_the_next_change_comes_with_its_reason_its_time_and_its_way_back(
    works: Works, owner: httpx.AsyncClient
) -> None:
    rollout = await planned(works)
    change = (await status(owner))["environments"][0]["next"]
    assert (change["rollout"], change["release"], change["why"]) == (rollout, "odoo/17.0.4", "French VAT change")
    assert (change["downtime"], change["wayBack"], len(change["expected"])) == ("PT0S", "reapply", 2)
    latest = datetime.fromisoformat(change["deferUntilMax"]) - datetime.fromisoformat(change["expected"][0])
    assert latest == timedelta(days=3)
    assert (await status(owner))["actions"] == ["defer", "requestRollback"]
    assert [item["release"] for item in (await owner.get(f"{PATH}/schedule")).json()["items"]] == ["odoo/17.0.4"]


async def test_nothing_in_an_owners_answers_names_another_tenant(works: Works, owner: httpx.AsyncClient) -> None:
    await planned(works)
    for part in ("", "/status", "/schedule", "/history", "/quota"):
        answer = await owner.get(f"{PATH}{part}")
        assert answer.status_code == 200, answer.text
        assert "zed-de" not in answer.text
        problem(await owner.get(f"/v1/tenants/zed-de{part}"), 404, "not-found")


async def test_the_history_is_paged_newest_first(works: Works, owner: httpx.AsyncClient) -> None:
    for n in range(5):
        works.fleet.run(
            "insert into history (subject_kind, subject_id, seq, type, tenant, data, at)"
            " values ('tenant', 'acme-fr', %s, 'dev.seawall.tenant.changed.v1', 'acme-fr', '{}', now() + %s * interval '1 s')",
            n,
            n,
        )
    seen: list[int] = []
    url: str | None = f"{PATH}/history?limit=2"
    while url:
        found = (await owner.get(url)).json()
        seen += [item["seq"] for item in found["items"]]
        url = found.get("next")
    assert seen == [4, 3, 2, 1, 0]


async def test_an_owner_puts_a_change_off_within_the_allowance(works: Works, owner: httpx.AsyncClient) -> None:
    await planned(works)
    until = datetime.now(UTC) + timedelta(days=2)
    answer = await owner.post(f"{PATH}:defer", json={"until": until.isoformat(), "reason": "sales"})
    assert (answer.status_code, answer.json()["apps"]) == (200, ["odoo"])
    change = (await status(owner))["environments"][0]["next"]
    assert datetime.fromisoformat(change["deferredUntil"]) == until
    assert change["waitingFor"][0]["gate"] == "deferral"
    assert works.fleet.ask("select tenant from tenant_apps where deferred_until is not null") == [("acme-fr",)]
    assert works.fleet.ask("select count(*) from audit where action = 'tenants.defer' and tenant = 'acme-fr'") == [(1,)]


async def test_a_deferral_beyond_the_allowance_or_in_the_past_or_of_nothing_is_refused(
    works: Works, owner: httpx.AsyncClient
) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    problem(await owner.post(f"{PATH}:defer", json={"until": soon}), 409, "nothing-to-defer")
    await planned(works)
    late = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    assert pointers(problem(await owner.post(f"{PATH}:defer", json={"until": late}), 422, "beyond-allowance")) == [
        "/until"
    ]
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    problem(await owner.post(f"{PATH}:defer", json={"until": past}), 422, "in-the-past")
    problem(await owner.post("/v1/tenants/zed-de:defer", json={"until": soon}), 404, "not-found")


async def test_an_owner_asks_for_the_way_back_once_a_day(works: Works, owner: httpx.AsyncClient) -> None:
    answer = await owner.post(f"{PATH}:rollback", json={"app": "odoo", "reason": "slow checkout"})
    assert answer.status_code == 202, answer.text
    assert answer.headers["operation-location"].endswith(f"{PATH}/status")
    started = works.fleet.ask("select kind, requested_by like 'key:%%', reason, origin ->> 'tenant' from rollouts")
    assert started == [("rollback", True, "slow checkout", "acme-fr")]
    assert works.fleet.ask("select tenant from targets") == [("acme-fr",)]
    problem(await owner.post(f"{PATH}:rollback", json={"app": "odoo"}), 409, "rollback-allowance-used")
    problem(await owner.post("/v1/tenants/zed-de:rollback", json={"app": "odoo"}), 404, "not-found")


async def test_what_the_watch_sees_becomes_health_and_quota(works: Works, owner: httpx.AsyncClient) -> None:
    works.fleet.run("update tenants set phase = 'offboarded' where tenant = 'zed-de'")
    await works.tools.fleet.proven("aks-1")
    observer = Observer(works.transactions, works.tools.fleet)
    assert await observer.look() == 1
    found = await status(owner)
    assert (found["environments"][0]["health"], found["environments"][0]["healthReason"]) == (
        "unknown",
        "its namespace is not seen",
    )
    assert datetime.now(UTC) - datetime.fromisoformat(found["asOf"]) < timedelta(minutes=1)
    assert await observer.look() == 0
    observer.close()
