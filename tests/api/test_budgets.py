"""Budgets, fleet limits and breakers through the HTTP door."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest

from controlplane.bootstrap import Container
from controlplane.settings import Settings
from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.plugins.database import Database
from tests.support.registry import Fleet
from workers.housekeeping import keep_caps

LIMITS: dict[str, Any] = {
    "inFlight": 50,
    "moneyAtRisk": "50000.00",
    "rates": {"USD": "0.92"},
    "clusters": {"aks-1": {"inFlight": 20, "rollback": 4}},
    "regionPairs": {"france": {"regions": ["francecentral", "francesouth"], "inFlight": 10}},
    "brands": {"acme": 3},
}


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    return await api.as_("platform-admin")


def run(database: Database, statement: str) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute(statement.encode())


async def budgets(client: httpx.AsyncClient) -> dict[str, tuple[str | None, str]]:
    """(cap, reserved) by scope."""
    return {b["scope"]: (b["cap"], b["reserved"]) for b in (await client.get("/v1/budgets")).json()["items"]}


async def test_fleet_limits_are_in_force_with_the_answer_and_gone_with_them(
    admin: httpx.AsyncClient, database: Database
) -> None:
    made = await admin.put("/v1/limits/fleet", json=LIMITS)
    assert made.status_code == 201, made.text
    assert await budgets(admin) == {
        "brand:acme/inFlight": ("3", "0"),
        "cluster:aks-1/inFlight": ("20", "0"),
        "cluster:aks-1/rollback": ("4", "0"),
        "fleet/inFlight": ("50", "0"),
        "fleet/moneyAtRisk": ("50000.00", "0"),
        "pair:france/inFlight": ("10", "0"),
    }
    changed = await admin.put("/v1/limits/fleet", json={"inFlight": 10}, headers={"if-match": made.headers["etag"]})
    assert changed.status_code == 200, changed.text
    caps = {scope: cap for scope, (cap, _) in (await budgets(admin)).items()}
    assert caps["fleet/inFlight"] == "10"
    assert caps["cluster:aks-1/rollback"] == "1", "back to a third of its tenants, at least one"
    assert {cap for scope, cap in caps.items() if scope not in ("fleet/inFlight", "cluster:aks-1/rollback")} == {None}
    assert (await admin.delete("/v1/limits/fleet")).status_code == 204
    assert (await budgets(admin))["fleet/inFlight"] == (None, "0")
    with psycopg.connect(database.owner) as connection:
        logged = connection.execute(
            "select cap from budget_moves where scope = 'fleet/inFlight' order by id"
        ).fetchall()
        audited = connection.execute("select action from audit where action like 'limits.%' order by id").fetchall()
    assert [cap for (cap,) in logged] == [50, 10, None]
    assert [action for (action,) in audited] == ["limits.put", "limits.put", "limits.delete"]


async def test_caps_that_are_a_percent_follow_the_fleet(admin: httpx.AsyncClient, database: Database) -> None:
    rows = Fleet(database.owner)
    rows.tenants([f"a{n}" for n in range(20)], labels={"brand": "acme"})
    spec = {
        "inFlight": ["50%", 12],
        "clusters": {"aks-1": {"inFlight": "30%", "rollback": "20%"}},
        "brands": {"acme": "25%"},
    }
    made = await admin.put("/v1/limits/fleet", json=spec)
    assert made.json()["spec"] == made.json()["spec"] | spec
    assert {scope: cap for scope, (cap, _) in (await budgets(admin)).items()} == {
        "brand:acme/inFlight": "5",
        "cluster:aks-1/inFlight": "6",
        "cluster:aks-1/rollback": "4",
        "fleet/inFlight": "10",
    }
    container = Container(Settings(database_url_engine=database.engine))
    rows.tenants([f"b{n}" for n in range(20)], cluster="aks-2")
    rows.run("update tenants set phase = 'offboarded' where tenant = 'a0'")
    await keep_caps(container)
    assert {scope: cap for scope, (cap, _) in (await budgets(admin)).items()} == {
        "brand:acme/inFlight": "4",
        "cluster:aks-1/inFlight": "5",
        "cluster:aks-1/rollback": "3",
        "fleet/inFlight": "12",
    }
    moves = rows.ask("select count(*) from budget_moves")
    await keep_caps(container)
    assert rows.ask("select count(*) from budget_moves") == moves
    await container.close()


async def test_a_cap_below_what_is_out_takes_nothing_back(admin: httpx.AsyncClient, database: Database) -> None:
    run(database, "insert into budgets (scope, reserved) values ('fleet/inFlight', 7)")
    await admin.put("/v1/limits/fleet", json={"inFlight": 2})
    assert await budgets(admin) == {"fleet/inFlight": ("2", "7")}


async def test_limits_under_another_name_and_caps_of_nothing_are_refused(admin: httpx.AsyncClient) -> None:
    problem(await admin.put("/v1/limits/prod", json=LIMITS), 422, "invalid-limits")
    body = problem(await admin.put("/v1/limits/fleet", json={"inFlight": 0}), 422, "invalid")
    assert pointers(body) == ["/inFlight"]
    assert await budgets(admin) == {}


async def test_only_a_platform_admin_changes_limits_and_a_tenant_owner_does_not_see_them(api: Api) -> None:
    manager = await api.as_("release-manager")
    problem(await manager.put("/v1/limits/fleet", json=LIMITS), 403, "forbidden")
    assert (await manager.get("/v1/budgets")).status_code == 200
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    for path in ("/v1/budgets", "/v1/breakers", "/v1/limits/fleet"):
        problem(await owner.get(path), 404, "not-found")


OPEN = """
    insert into budgets (scope, breaker, breaker_detail) values
    ('fleet/inFlight', 'open', '{"code": "failures", "reason": "9 targets failed", "since": "2026-11-24T08:00:00Z", "by": "seawall"}')
"""


async def test_a_closed_breaker_shows_its_rules_and_what_they_count(admin: httpx.AsyncClient) -> None:
    rules = {"failures": {"count": 5}, "burn": {}}
    await admin.put("/v1/limits/fleet", json={"breaker": rules})
    body = (await admin.get("/v1/breakers")).json()
    assert [(b["name"], b["state"]) for b in body["items"]] == [("fleet", "closed")]
    assert body["rules"]["failures"] == {"count": 5, "within": "PT1H"}
    assert (body["failed"], body["burnRate"], body["unhealthy"]) == (0, "0.00", {"part": 0, "of": 0})


async def test_a_person_lets_one_through_with_a_reason_and_everybody_reads_it(
    api: Api, admin: httpx.AsyncClient, database: Database
) -> None:
    run(database, OPEN)
    manager = await api.as_("release-manager")
    problem(await manager.post("/v1/breakers/fleet:reset", json={"reason": "please"}), 403, "forbidden")
    operator = await api.as_("operator")
    body = problem(await operator.post("/v1/breakers/fleet:reset", json={"reason": ""}), 422, "invalid")
    assert pointers(body) == ["/reason"]
    answer = await operator.post("/v1/breakers/fleet:reset", json={"reason": "the database is mended"})
    assert (answer.status_code, answer.json()["state"]) == (200, "halfOpen"), answer.text
    assert answer.json()["reason"] == "9 targets failed"
    closed = await operator.post("/v1/breakers/fleet:reset", json={"to": "closed", "reason": "false alarm"})
    assert closed.json()["state"] == "closed"
    problem(await operator.post("/v1/breakers/fleet:reset", json={"reason": "again"}), 409, "breaker-closed")
    problem(await operator.post("/v1/breakers/cluster:aks-9:reset", json={"reason": "x"}), 404, "not-found")
    seen = (await admin.get("/v1/changes")).json()["items"]
    assert [(c["kind"], c["id"], c["type"].split(".")[3]) for c in seen] == [
        ("breaker", "fleet", "closed"),
        ("breaker", "fleet", "halfOpened"),
    ]
    trail = (await admin.get("/v1/audit?action=breakers.reset")).json()["items"]
    assert [e["detail"]["reason"] for e in trail] == ["false alarm", "the database is mended"]


async def test_the_version_that_drivers_watch_rises_with_every_change_of_a_breaker(
    admin: httpx.AsyncClient, database: Database
) -> None:
    run(database, OPEN)
    await admin.post("/v1/breakers/fleet:reset", json={"reason": "x"})
    with psycopg.connect(database.owner) as connection:
        assert connection.execute("select version from budgets where scope = 'fleet/inFlight'").fetchone() == (1,)
