"""The stop button, and what looks back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from controlplane.services.freezes import open_after_expiry
from tests.api.problems import pointers, problem
from tests.contract.fleets import until
from tests.plugins.api import Api
from tests.plugins.database import Database
from workers.housekeeping import keep_forever

ALL = {"all": True, "reason": "Black Friday"}


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    return await api.as_("platform-admin")


def fleet_row(database: Database) -> tuple[bool, int]:
    """(closed, version) of the row that every driver locks."""
    with psycopg.connect(database.owner) as connection:
        row = connection.execute("select closed, version from budgets where scope = 'fleet/inFlight'").fetchone()
    assert row is not None
    return row[0], row[1]


async def test_freezing_all_closes_the_fleet_row_and_the_last_thaw_opens_it(
    admin: httpx.AsyncClient, database: Database
) -> None:
    first = (await admin.post("/v1/freezes", json=ALL)).json()
    second = (await admin.post("/v1/freezes", json=ALL)).json()
    assert fleet_row(database) == (True, 2)
    await admin.delete(f"/v1/freezes/{first['id']}")
    assert fleet_row(database) == (True, 3)
    await admin.delete(f"/v1/freezes/{second['id']}")
    assert fleet_row(database) == (False, 4)


async def test_freezing_a_selector_tells_the_drivers_but_leaves_the_fleet_open(
    admin: httpx.AsyncClient, database: Database
) -> None:
    answer = await admin.post("/v1/freezes", json={"selector": "country=fr", "reason": "VAT"})
    assert (answer.status_code, answer.json()["state"]) == (201, "inForce")
    assert fleet_row(database) == (False, 1)


async def test_lifting_twice_changes_nothing(admin: httpx.AsyncClient, database: Database) -> None:
    made = (await admin.post("/v1/freezes", json=ALL)).json()
    for _ in range(2):
        assert (await admin.delete(f"/v1/freezes/{made['id']}")).status_code == 204
    assert fleet_row(database) == (False, 2)
    assert (await admin.get(f"/v1/freezes/{made['id']}")).json()["state"] == "lifted"
    assert (await admin.get("/v1/freezes")).json()["items"] == []
    assert len((await admin.get("/v1/freezes?ended=true")).json()["items"]) == 1


async def test_a_worker_opens_the_fleet_when_a_freeze_of_all_has_ended_by_time(
    api: Api, admin: httpx.AsyncClient, database: Database
) -> None:
    await admin.post("/v1/freezes", json=ALL)
    with psycopg.connect(database.owner) as connection:
        connection.execute("update freezes set until = now() - interval '1 second'")
    draining = asyncio.Event()
    keeping = asyncio.create_task(keep_forever(api.container, draining))
    await until(lambda: not fleet_row(database)[0])
    draining.set()
    await keeping
    assert fleet_row(database) == (False, 2)


async def test_a_freeze_of_all_that_ends_by_time_opens_the_fleet_when_swept(
    api: Api, admin: httpx.AsyncClient, database: Database
) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await admin.post("/v1/freezes", json={**ALL, "until": soon})
    async with api.container.database.platform() as uow:
        assert not await open_after_expiry(uow)
    with psycopg.connect(database.owner) as connection:
        connection.execute("update freezes set until = now() - interval '1 second'")
    async with api.container.database.platform() as uow:
        assert await open_after_expiry(uow)
    assert fleet_row(database)[0] is False
    assert (await admin.get("/v1/freezes?ended=true")).json()["items"][0]["state"] == "expired"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"reason": "x"}, "invalid"),
        ({"all": True, "selector": "a=b", "reason": "x"}, "invalid"),
        ({"selector": "", "reason": "x"}, "invalid-selector"),
        ({"selector": "a in", "reason": "x"}, "invalid"),
        ({"all": True, "reason": ""}, "invalid"),
        ({"all": True, "reason": "x", "until": "2020-01-01T00:00:00Z"}, "invalid"),
        ({"all": True, "reason": "x", "until": "2030-01-01T00:00:00"}, "invalid"),
    ],
)
async def test_a_freeze_that_says_nothing_clear_is_refused(
    admin: httpx.AsyncClient, body: dict[str, object], code: str
) -> None:
    problem(await admin.post("/v1/freezes", json=body), 422, code)
    assert (await admin.get("/v1/freezes")).json()["items"] == []


async def test_an_auditor_sees_freezes_but_makes_none(api: Api) -> None:
    auditor = await api.as_("auditor")
    assert (await auditor.get("/v1/freezes")).status_code == 200
    problem(await auditor.post("/v1/freezes", json=ALL), 403, "forbidden")


async def test_changes_say_what_changed_newest_first_and_page(admin: httpx.AsyncClient) -> None:
    await admin.put("/v1/clusters/c", json={})
    made = (await admin.post("/v1/freezes", json=ALL)).json()
    await admin.delete(f"/v1/freezes/{made['id']}")
    items = (await admin.get("/v1/changes?since=PT1H")).json()["items"]
    assert [i["type"].removeprefix("dev.seawall.") for i in items] == [
        "freeze.lifted.v1",
        "freeze.created.v1",
        "cluster.created.v1",
    ]
    assert items[1]["wayBack"] == f"DELETE /v1/freezes/{made['id']} lets forward work start again"
    assert (items[2]["what"], items[2]["where"]) == ("cluster c", ["c"])
    seen: list[str] = []
    url: str | None = "/v1/changes?limit=1"
    while url:
        page = (await admin.get(url)).json()
        seen += [i["type"] for i in page["items"]]
        url = page.get("next")
    assert seen == [i["type"] for i in items]
    assert len((await admin.get("/v1/changes?cluster=c")).json()["items"]) == 1
    assert (await admin.get("/v1/changes?app=odoo")).json()["items"] == []


async def test_since_is_a_duration_or_a_past_time(admin: httpx.AsyncClient) -> None:
    for good in ("PT2H", "P7D", "2026-01-01T00:00:00Z"):
        assert (await admin.get("/v1/changes", params={"since": good})).status_code == 200
    for bad in ("2h", "yesterday", "P1Y", "2026-01-01", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z"):
        answer = await admin.get("/v1/changes", params={"since": bad})
        assert pointers(problem(answer, 422, "invalid")) == ["query/since"]


async def test_the_audit_trail_names_who_did_what_and_filters(api: Api, admin: httpx.AsyncClient) -> None:
    me = (await admin.get("/v1/whoami")).json()["id"]
    await admin.post("/v1/freezes", json=ALL)
    rows = (await admin.get("/v1/audit", params={"action": "freezes.create"})).json()["items"]
    assert [(r["actor"], r["detail"]["reason"]) for r in rows] == [(me, "Black Friday")]
    assert (await admin.get("/v1/audit", params={"actor": "nobody"})).json()["items"] == []
    problem(await (await api.as_("operator")).get("/v1/audit"), 404, "not-found")
