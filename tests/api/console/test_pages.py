"""What the pages say: what changed, where, what stopped it, what the way back is; and to whom."""

from __future__ import annotations

import json

import httpx
import pytest

from controlplane.api.console.render import asset_address
from controlplane.bootstrap import Container
from tests.api.console.conftest import Browser, LogIn, checked
from tests.plugins.api import Api, serving, settings_for
from tests.plugins.database import Database
from tests.support.registry import Fleet

REASON = "wave all: 1 of 4 targets failed, the limit is 0"


async def halted(api: Api, fleet: Fleet) -> str:
    """A rollout that broke one tenant, took it back and stopped: as its driver would have left it."""
    manager = await api.as_("release-manager")
    body = {"release": "odoo/17.0.4", "strategy": "all", "reason": "French VAT change"}
    rollout = str((await manager.post("/v1/rollouts", json=body)).json()["id"])
    fleet.run(
        "update rollouts set state = 'failed', outcome = 'halted', started_at = now(), ended_at = now(),"
        " memory = jsonb_build_object('reason', %s::text)",
        REASON,
    )
    fleet.run("update waves set state = 'failed'")
    fleet.run("update targets set state = 'verified' where tenant in ('acme-de', 'acme-fr')")
    fleet.run(
        "update targets set state = 'rolledBack', code = 'not-ready', reason = 'CrashLoopBackOff <b>on</b> web' where tenant = 'zed-de'"
    )
    fleet.run("update targets set state = 'cancelled' where tenant = 'zed-fr'")
    evidence = json.dumps({"value": 0.041, "limit": 0.01})
    fleet.run(
        "insert into gates (rollout_id, wave, place, idx, kind, verdict, reason, who, since, evidence)"
        " values (%s, 0, 'during', 0, 'metric', 'fail', '5xx 4.1%% over 1.0%%', '', now(), %s)",
        rollout,
        evidence,
    )
    return rollout


async def test_the_fleet_page_says_what_stopped_a_rollout_and_what_its_way_back_is(
    api: Api, fleet: Fleet, log_in: LogIn
) -> None:
    rollout = await halted(api, fleet)
    page = await (await log_in("operator")).get("/console")
    assert f"/console/rollouts/{rollout}" in page.links
    for said in (
        REASON,
        "CrashLoopBackOff <b>on</b> web",
        "1 tenant is on the last good revision again.",
        "2 tenants are on the new revision and can go back by applying their last good revision again.",
        "1 tenant is untouched",
        "4 active",
    ):
        assert said in page.text
    assert "Nothing is stopped." not in page.text


async def test_a_fleet_at_rest_says_so(fleet: Fleet, log_in: LogIn) -> None:
    page = await (await log_in("auditor")).get("/console")
    assert "Nothing is stopped." in page.text
    assert "No rollout is under way." in page.text
    assert "Nothing changed." in page.text
    assert [form.action for form in page.forms if form.method == "post"] == ["/console/logout"], (
        "an auditor acts on nothing"
    )


async def test_ill_tenants_freezes_and_holds_are_on_the_fleet_page(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    fleet.run("update environments set health = 'unhealthy', health_reason = 'web 0/2 ready' where tenant = 'zed-fr'")
    manager = await api.as_("release-manager")
    await manager.post("/v1/freezes", json={"selector": "country=fr", "reason": "Black Friday"})
    fleet.run(
        "insert into holds (id, app, version, digest, reason, created_by, lifted_by, lift_reason)"
        " select gen_random_uuid(), app, version, digest, 'it broke three', 'seawall', '', '' from releases where version = '17.0.4'"
    )
    page = await (await log_in("operator")).get("/console")
    for said in ("web 0/2 ready", "Freeze of country=fr", "Black Friday", "odoo/17.0.4", "it broke three"):
        assert said in page.text
    assert "/console/tenants/zed-fr" in page.links


async def test_an_open_breaker_stands_first_among_what_is_stopped(fleet: Fleet, log_in: LogIn) -> None:
    fleet.run(
        "insert into budgets (scope, breaker, breaker_detail) values ('fleet/inFlight', 'open',"
        """ '{"code": "unhealthy", "reason": "6.0%% of the fleet is not healthy", "since": "2026-11-24T22:00:00+00:00"}')"""
    )
    page = await (await log_in("auditor")).get("/console")
    assert "Breaker of fleet open" in " ".join(page.text.split())
    assert "6.0% of the fleet is not healthy" in page.text
    assert "Nothing is stopped." not in page.text


async def test_changes_are_those_of_the_chosen_time_cluster_and_app(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    manager = await api.as_("release-manager")
    await manager.post("/v1/freezes", json={"all": True, "reason": "drill"})
    browser = await log_in("auditor")
    assert "freeze created" in (await browser.get("/console?since=PT1H")).text
    assert "Nothing changed." in (await browser.get("/console?since=PT1H&app=pos-sync")).text
    wrong = await browser.get("/console?since=yesterday", 422)
    assert "neither a duration nor a past time" in wrong.text
    assert "is not a parameter" in (await browser.get("/console?sinc=PT1H", 422)).text


async def test_a_rollout_s_page_shows_waves_gates_with_evidence_tenants_and_what_to_do(
    api: Api, fleet: Fleet, log_in: LogIn
) -> None:
    rollout = await halted(api, fleet)
    browser = await log_in("operator")
    page = await browser.get(f"/console/rollouts/{rollout}")
    for said in (
        "HALTED",
        "5xx 4.1% over 1.0%",
        '"value": 0.041',
        "reapply of revision 1",
        "CrashLoopBackOff <b>on</b> web",
        f"seawall rollout retry {rollout}",
        "seawall rollout start --kind rollback --app odoo -e production",
    ):
        assert said in page.text
    only = await browser.get(f"/console/rollouts/{rollout}?state=rolledBack")
    assert "/console/tenants/zed-de" in only.links
    assert "/console/tenants/acme-fr" not in only.links
    assert (
        "There is no rollout" in (await browser.get("/console/rollouts/0199c2f0-0000-7000-8000-000000000000", 404)).text
    )
    assert "no page" in (await browser.get("/console/else/where", 404)).text
    await browser.get("/console/rollouts/latest", 422)


async def test_rollouts_and_tenants_are_listed_and_filtered(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    rollout = await halted(api, fleet)
    browser = await log_in("auditor")
    assert f"/console/rollouts/{rollout}" in (await browser.get("/console/rollouts?state=failed&tenant=zed-fr")).links
    assert "There is none." in (await browser.get("/console/rollouts?state=running")).text
    listed = await browser.get("/console/tenants?selector=tenant+in+(acme-fr,acme-de)")
    names = [one for one in listed.links if one.startswith("/console/tenants/")]
    assert names == ["/console/tenants/acme-de", "/console/tenants/acme-fr"]
    went = await browser.http.get("/console/tenants?name=zed-fr")
    assert (went.status_code, went.headers["location"]) == (303, "/console/tenants/zed-fr")
    assert "invalid-selector" in (await browser.get("/console/tenants?selector=a%3D(", 422)).text


async def test_more_than_a_page_is_reached_by_a_link(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    fleet.tenants([f"many-{n:03}" for n in range(60)])
    browser = await log_in("auditor")
    first = await browser.get("/console/tenants")
    following = next(one for one in first.links if "cursor=" in one)
    second = await browser.get(following)
    seen = {one for page in (first, second) for one in page.links if one.startswith("/console/tenants/")}
    assert len(seen) == 64


async def test_a_tenant_s_page_is_why(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    await halted(api, fleet)
    page = await (await log_in("operator")).get("/console/tenants/zed-de")
    for said in ("odoo 17.0.3", "Nothing is planned.", "Newest rollout", REASON):
        assert said in page.text


async def test_an_owner_sees_its_own_tenant_and_nothing_of_another(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    rollout = await halted(api, fleet)
    owner = await log_in("tenant-owner", tenants=["acme-fr"])
    home = await owner.http.get("/console")
    assert (home.status_code, home.headers["location"]) == (303, "/console/tenants/acme-fr")
    page = await owner.get("/console/tenants/acme-fr")
    assert "odoo 17.0.3" in page.text
    for other in ("acme-de", "zed-fr", "zed-de", REASON):
        assert other not in page.text
    for path in ("/console/tenants/zed-fr", f"/console/rollouts/{rollout}", "/console/rollouts"):
        assert "you may see" in (await owner.get(path, 404)).text
    mine = await owner.http.get("/console/tenants")
    assert mine.headers["location"] == "/console/tenants/acme-fr"


async def test_an_owner_of_several_tenants_chooses_and_ci_sees_the_rollouts_of_its_apps(
    api: Api, fleet: Fleet, log_in: LogIn
) -> None:
    rollout = await halted(api, fleet)
    owner = await log_in("tenant-owner", tenants=["acme-fr", "zed-fr"])
    assert {"/console/tenants/acme-fr", "/console/tenants/zed-fr"} <= set((await owner.get("/console")).links)
    ci = await log_in("ci", apps=["odoo"])
    assert (await ci.http.get("/console")).headers["location"] == "/console/rollouts"
    assert f"/console/rollouts/{rollout}" in (await ci.get("/console/rollouts")).links
    stranger = await log_in("ci", apps=["pos-sync"])
    assert "There is none." in (await stranger.get("/console/rollouts")).text
    await stranger.get(f"/console/rollouts/{rollout}", 404)


async def test_every_page_names_a_simulated_fleet(database: Database, fleet: Fleet) -> None:
    settings = settings_for(database).model_copy(update={"fleet_name": "SIMULATED"})
    async with serving(Container(settings)) as api:
        browser = Browser(api.client(idempotent=False))
        assert "fleet: SIMULATED" in (await browser.get("/console/login")).text
        await browser.http.post("/console/login", data={"key": await api.key("auditor")})
        for path in ("/console", "/console/rollouts", "/console/tenants", "/console/tenants/acme-fr"):
            assert "fleet: SIMULATED" in (await browser.get(path)).text
        assert "fleet: SIMULATED" in (await browser.get("/console/nothing", 404)).text


async def test_style_and_script_come_from_us_and_are_kept_under_their_hash(api: Api) -> None:
    client = api.client()
    for name, kind in (("console.css", "text/css"), ("console.js", "text/javascript")):
        answer = await client.get(asset_address(name))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert "immutable" in answer.headers["cache-control"]
    old = await client.get("/console/static/000000000000/console.css")
    assert old.status_code == 404
    checked(old)


async def test_without_a_database_the_page_says_which_part_is_away(database: Database) -> None:
    urls = {f"database_url_{role}": "postgresql://sw@127.0.0.1:9/none" for role in ("platform", "tenant", "engine")}
    settings = settings_for(database).model_copy(update=urls)
    async with serving(Container(settings)) as api:
        answer = await api.client().get("/console", headers={"cookie": "seawall_session=x"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "database" in checked(answer).text.lower()


@pytest.mark.parametrize("roles", [{"roles": ["operator"]}, {"roles": ["tenant-owner"], "tenants": ["acme-fr"]}])
async def test_an_open_page_hears_of_a_change_it_may_see(
    api: Api, fleet: Fleet, log_in: LogIn, roles: dict[str, list[str]]
) -> None:
    browser = await log_in(*roles["roles"], tenants=roles.get("tenants", ()))
    async with browser.http.stream("GET", "/console/live", timeout=httpx.Timeout(30)) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.aiter_lines()
        assert await anext(lines) == "retry: 3000"
        told = False
        async for line in lines:
            if line.startswith("data:"):
                told = True
                break
            if line == "" and not told:
                fleet.run(
                    "insert into history (subject_kind, subject_id, seq, type, tenant, data, at) select 'tenant', 'acme-fr',"
                    " coalesce(max(seq), 0) + 1, 'dev.seawall.tenant.changed.v1', 'acme-fr', '{}', clock_timestamp() from history"
                )
        assert told
