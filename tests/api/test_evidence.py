"""What others attest: evidence about releases, and backups of tenants."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.problems import pointers, problem
from tests.api.releases import MANIFEST, body, upload
from tests.plugins.api import Api
from tests.plugins.database import Database
from tests.support.registry import Fleet
from tests.support.signing import new_key, sign, statement

AT = datetime.now(UTC) - timedelta(hours=1)
SCAN = {"kind": "security", "at": AT.isoformat(), "results": {"critical": 0, "tool": "trivy"}}
ABOUT = "/v1/releases/odoo/1/evidence"
BACKUPS = "/v1/tenants/acme/environments/production/backups"
DRILLS = "/v1/tenants/acme/environments/production/restore-drills"


@pytest.fixture
async def admin(api: Api, database: Database) -> httpx.AsyncClient:
    rows = Fleet(database.owner)
    rows.basics()
    rows.tenants(["acme"])
    client = await api.as_("platform-admin")
    await client.post("/v1/releases", json=body("1", await upload(client, MANIFEST)))
    return client


async def test_evidence_is_appended_by_ci_and_listed_newest_first(api: Api, admin: httpx.AsyncClient) -> None:
    ci = await api.as_("ci", apps=["odoo"])
    first = await ci.post(ABOUT, json=SCAN)
    assert first.status_code == 201, first.text
    await ci.post(ABOUT, json={**SCAN, "kind": "packaging", "results": {}, "passed": False})
    listed = (await admin.get(ABOUT)).json()["items"]
    assert [(e["kind"], e["passed"]) for e in listed] == [("packaging", False), ("security", True)]
    assert listed[1] == first.json()
    assert [e["kind"] for e in (await ci.get(f"{ABOUT}?kind=security")).json()["items"]] == ["security"]
    audit = (await admin.get("/v1/audit")).json()["items"]
    assert [a["action"] for a in audit][:2] == ["evidence.register", "evidence.register"]


async def test_the_same_key_attests_once_and_another_app_is_not_there(api: Api, admin: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "build-77"}
    answers = [await admin.post(ABOUT, json=SCAN, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len((await admin.get(ABOUT)).json()["items"]) == 1
    stranger = await api.as_("ci", apps=["pos-sync"])
    problem(await stranger.post(ABOUT, json=SCAN), 404, "not-found")
    problem(await admin.post("/v1/releases/odoo/9/evidence", json=SCAN), 404, "not-found")
    owner = await api.as_("tenant-owner", tenants=["acme"])
    problem(await owner.get(ABOUT), 404, "not-found")


async def test_many_pipelines_may_attest_about_one_release_in_the_same_moment(admin: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(admin.post(ABOUT, json={**SCAN, "url": f"https://ci/{n}"}) for n in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len((await admin.get(ABOUT)).json()["items"]) == 8


async def test_of_two_reports_of_one_backup_in_the_same_moment_one_is_told_of_the_other(
    admin: httpx.AsyncClient,
) -> None:
    reports = [{"takenAt": AT.isoformat(), "size": size} for size in (1, 2)]
    answers = await asyncio.gather(*(admin.put(f"{BACKUPS}/same", json=one) for one in reports))
    assert sorted(answer.status_code for answer in answers) == [201, 409]


def envelope(**changes: Any) -> dict[str, Any]:
    return {**sign(new_key(), statement(["sha256:" + "a" * 64], {}, "https://x.example/v1")), **changes}


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"kind": "vibes"}, "/kind"),
        ({"at": "yesterday"}, "/at"),
        ({"at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "/at"),
        ({"results": {"critical": [1]}}, "/results/critical"),
        ({"results": {"no name": 1}}, "/results/no name"),
        ({"results": {}, "envelope": envelope(payload="%%%")}, "/envelope"),
        ({"results": {}, "envelope": envelope(payload="e30=")}, "/envelope"),
        ({"results": {}, "envelope": envelope(payloadType="text/plain")}, "/envelope"),
        ({"results": {}, "envelope": envelope(signatures=[])}, "/envelope/signatures"),
        ({"envelope": envelope()}, ""),
        ({"certificates": ["x"]}, ""),
    ],
)
async def test_what_is_no_evidence_is_refused_with_a_pointer(
    admin: httpx.AsyncClient, wrong: dict[str, Any], pointer: str
) -> None:
    answer = await admin.post(ABOUT, json={**SCAN, **wrong})
    assert answer.status_code == 422, answer.text
    assert any(found.startswith(pointer) for found in pointers(answer.json()))


async def test_a_signed_attestation_comes_back_as_it_was(admin: httpx.AsyncClient) -> None:
    signed = {"kind": "provenance", "at": AT.isoformat(), "envelope": envelope()}
    made = (await admin.post(ABOUT, json=signed)).json()
    assert made["envelope"] == signed["envelope"]


async def test_a_backup_is_reported_then_checked_and_never_changes(admin: httpx.AsyncClient) -> None:
    report = {"takenAt": AT.isoformat(), "size": 10_000, "location": "weu-2/acme"}
    first = await admin.put(f"{BACKUPS}/nightly-1", json=report)
    assert (first.status_code, first.json()["checkedAt"]) == (201, None)
    checked = {**report, "checkedAt": (AT + timedelta(minutes=9)).isoformat()}
    assert (await admin.put(f"{BACKUPS}/nightly-1", json=checked)).status_code == 200
    again = await admin.put(f"{BACKUPS}/nightly-1", json=report)
    assert again.json()["checkedAt"] is not None
    problem(await admin.put(f"{BACKUPS}/nightly-1", json={**report, "size": 9}), 409, "backup-exists")
    problem(
        await admin.put(f"{BACKUPS}/x", json={**report, "takenAt": "2999-01-01T00:00:00Z"}),
        422,
        "backup-from-the-future",
    )
    early = {**report, "checkedAt": (AT - timedelta(minutes=9)).isoformat()}
    assert (await admin.put(f"{BACKUPS}/y", json=early)).status_code == 422
    problem(await admin.put("/v1/tenants/acme/environments/staging/backups/x", json=report), 404, "not-found")
    assert [b["id"] for b in (await admin.get(BACKUPS)).json()["items"]] == ["nightly-1"]


async def test_an_owner_sees_the_backups_of_its_own_tenant_only(api: Api, admin: httpx.AsyncClient) -> None:
    await admin.put(f"{BACKUPS}/n", json={"takenAt": AT.isoformat(), "size": 1})
    owner = await api.as_("tenant-owner", tenants=["acme"])
    assert [b["id"] for b in (await owner.get(BACKUPS)).json()["items"]] == ["n"]
    stranger = await api.as_("tenant-owner", tenants=["zed"])
    problem(await stranger.get(BACKUPS), 404, "not-found")
    problem(await owner.put(f"{BACKUPS}/m", json={"takenAt": AT.isoformat(), "size": 1}), 403, "forbidden")


async def test_a_restore_drill_is_reported_once_and_told_of(admin: httpx.AsyncClient, api: Api) -> None:
    drill = {
        "startedAt": AT.isoformat(),
        "endedAt": (AT + timedelta(minutes=20)).isoformat(),
        "result": "succeeded",
        "backup": "nightly-1",
        "note": "logged in, counted orders",
    }
    first = await admin.put(f"{DRILLS}/q4", json=drill)
    assert (first.status_code, first.json()["backup"]) == (201, "nightly-1"), first.text
    assert (await admin.put(f"{DRILLS}/q4", json=drill)).status_code == 200
    problem(await admin.put(f"{DRILLS}/q4", json={**drill, "result": "failed"}), 409, "restore-drill-exists")
    late = {**drill, "endedAt": "2999-01-01T00:00:00Z"}
    problem(await admin.put(f"{DRILLS}/x", json=late), 422, "restore-drill-from-the-future")
    assert (await admin.put(f"{DRILLS}/x", json={**drill, "startedAt": "2026-11-30T00:00:00Z"})).status_code == 422
    problem(await admin.put(DRILLS.replace("production", "staging") + "/x", json=drill), 404, "not-found")
    problem(await admin.put(DRILLS.replace("acme", "nobody") + "/x", json=drill), 404, "not-found")
    listed = (await admin.get(DRILLS)).json()["items"]
    assert [(d["id"], d["result"]) for d in listed] == [("q4", "succeeded")]
    history = (await admin.get("/v1/tenants/acme/history")).json()["items"]
    assert [h["type"] for h in history if "Drilled" in h["type"]] == ["dev.seawall.tenant.restoreDrilled.v1"]
    owner = await api.as_("tenant-owner", tenants=["acme"])
    assert [d["id"] for d in (await owner.get(DRILLS)).json()["items"]] == ["q4"]
    problem(await owner.put(f"{DRILLS}/mine", json=drill), 403, "forbidden")
    problem(await (await api.as_("tenant-owner", tenants=["zed"])).get(DRILLS), 404, "not-found")


async def test_only_the_newest_hundred_backups_are_kept(admin: httpx.AsyncClient, database: Database) -> None:
    rows = Fleet(database.owner)
    rows.run(
        "insert into backups (tenant, environment, id, taken_at, size, location, reported_by)"
        " select 'acme', 'production', 'old-' || n, now() - make_interval(hours => n), 1, '', 't' from generate_series(2, 120) n"
    )
    await admin.put(f"{BACKUPS}/new", json={"takenAt": AT.isoformat(), "size": 1})
    kept = rows.ask("select count(*), bool_or(id = 'new'), bool_or(id = 'old-120') from backups")
    assert kept == [(100, True, False)]
    first = (await admin.get(f"{BACKUPS}?limit=60")).json()
    second = (await admin.get(first["next"])).json()
    assert len(first["items"]) + len(second["items"]) == 100
    assert "next" not in second
