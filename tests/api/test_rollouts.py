"""Preview, start, reads and commands through the HTTP door."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import Any

import httpx
import pytest

from tests.api.problems import problem
from tests.plugins.api import Api
from tests.support.charts import chart
from tests.support.registry import Fleet

DEPLOY = {"release": "odoo/17.0.4", "strategy": "all", "reason": "French VAT change", "changeRef": "CHG0041234"}


async def manager(api: Api) -> httpx.AsyncClient:
    return await api.as_("release-manager")


async def started(client: httpx.AsyncClient, **changes: Any) -> str:
    answer = await client.post("/v1/rollouts", json={**DEPLOY, **changes})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def test_a_preview_says_who_when_at_what_stake_and_how_each_goes_back(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    answer = await client.post("/v1/rollouts:preview", json={**DEPLOY, "selector": "tenant in (acme-fr,zed-fr)"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["targets"], body["from"], body["kind"]) == (2, {"17.0.3": 2}, "deploy")
    assert body["wayBack"] == {"reapply": 2, "restore": 0, "none": 0}
    assert body["peak"]["ordersPerHour"] == "20"
    assert body["waves"][0]["expectedBy"]
    assert [n["code"] for n in body["notes"]] == ["times-assumed", "risk-assumed", "dry-run-unknown"]
    assert fleet.ask("select count(*) from rollouts") == [(0,)]


async def test_every_target_of_a_preview_can_be_paged_with_those_left_out_last(api: Api, fleet: Fleet) -> None:
    fleet.run("update tenants set phase = 'suspended' where tenant = 'acme-fr'")
    client = await manager(api)
    url = (await client.post("/v1/rollouts:preview", json=DEPLOY)).json()["targetsUrl"]
    found: list[dict[str, Any]] = []
    url += "?limit=3"
    while url:
        body = (await client.get(url)).json()
        found += body["items"]
        url = body.get("next", "")
    assert [(t["tenant"], t["wave"]) for t in found[:3]] == [("acme-de", "all"), ("zed-de", "all"), ("zed-fr", "all")]
    assert found[3]["excluded"]["code"] == "suspended"
    assert found[0]["wayBack"]["kind"] == "reapply"


async def test_a_preview_that_ran_out_is_gone(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    url = (await client.post("/v1/rollouts:preview", json=DEPLOY)).json()["targetsUrl"]
    fleet.run("update previews set expires_at = now() - interval '1 second'")
    problem(await client.get(url), 404, "preview-expired")


async def test_a_start_is_accepted_with_where_to_look_and_the_same_key_gives_the_same_answer(
    api: Api, fleet: Fleet
) -> None:
    client = await manager(api)
    seen = (await client.post("/v1/rollouts:preview", json=DEPLOY)).json()
    body = {**DEPLOY, "ifPlanHash": seen["planHash"]}
    headers = {"Idempotency-Key": "one"}
    first = await client.post("/v1/rollouts", json=body, headers=headers)
    assert first.status_code == 202, first.text
    assert first.headers["operation-location"] == first.headers["location"] == first.json()["rollout"]
    assert first.json()["planHash"] == seen["planHash"]
    fleet.runs(["acme-fr"], "17.0.3", moved="yes")
    again = await client.post("/v1/rollouts", json=body, headers=headers)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert fleet.ask("select count(*) from rollouts") == [(1,)]
    problem(await client.post("/v1/rollouts", json=DEPLOY, headers=headers), 422, "idempotency-key-reused")


async def test_a_plan_that_changed_since_the_preview_is_refused_with_the_difference(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    seen = (await client.post("/v1/rollouts:preview", json=DEPLOY)).json()
    fleet.runs(["acme-fr"], "17.0.3", moved="yes")
    fleet.run("update tenants set phase = 'suspended' where tenant = 'zed-de'")
    body = problem(
        await client.post("/v1/rollouts", json={**DEPLOY, "ifPlanHash": seen["planHash"]}), 409, "plan-changed"
    )
    difference: Any = body["difference"]
    assert difference["left"] == ["zed-de"]
    changed = {c["tenant"]: [x["what"] for x in c["changes"]] for c in difference["changed"]}
    assert {"baseRevision", "wayBack"} <= set(changed["acme-fr"])


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"selector": "country=xx"}, 422, "selector-matches-nothing"),
        ({"selector": "country in (fr"}, 422, "invalid-selector"),
        ({"release": "odoo/99"}, 422, "unknown-release"),
        ({"release": "odoo"}, 422, "invalid"),
        ({"strategy": "nobody"}, 422, "unknown-strategy"),
        ({"strategy": "all@9"}, 422, "unknown-strategy"),
        ({"kind": "values"}, 422, "invalid-rollout"),
        ({"to": 3}, 422, "invalid-rollout"),
        ({"environment": "staging"}, 422, "selector-matches-nothing"),
        ({"notBefore": "2026-11-24 22:00"}, 422, "invalid"),
        ({"notBefore": "9999-12-31T23:59:59-12:00"}, 422, "invalid-rollout"),
        ({"selector": "tenant=" + "x" * 3000}, 422, "invalid"),
        ({"reason": "x" * 1001}, 422, "invalid"),
        ({"kind": "rollback", "to": 0}, 422, "invalid"),
        ({"colour": "red"}, 422, "invalid"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/rollouts:preview", "/v1/rollouts"])
async def test_bad_input_is_named_and_starts_nothing(
    api: Api, fleet: Fleet, path: str, change: dict[str, Any], status: int, code: str
) -> None:
    problem(await (await manager(api)).post(path, json={**DEPLOY, **change}), status, code)
    assert fleet.ask("select count(*) from rollouts") == [(0,)]


async def test_a_strategy_that_leaves_targets_in_no_wave_is_refused_with_their_names(api: Api, fleet: Fleet) -> None:
    fleet.config("strategies", "pilot", {"waves": [{"name": "pilot", "cut": {"selector": "tenant=acme-fr"}}]})
    client = await manager(api)
    body = problem(await client.post("/v1/rollouts", json={**DEPLOY, "strategy": "pilot"}), 422, "unmatched-targets")
    assert body["unmatched"] == ["acme-de", "zed-de", "zed-fr"]


async def test_values_a_chart_refuses_leave_the_tenant_out_with_the_reason(api: Api, fleet: Fleet) -> None:
    schema = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
    fleet.release("17.0.5", chart(schema=schema))
    fleet.run(
        """update tenants set apps = jsonb_set(apps, '{odoo,values}', '{"replicas": "many"}') where tenant = 'zed-fr'"""
    )
    body = (await (await manager(api)).post("/v1/rollouts:preview", json={**DEPLOY, "release": "odoo/17.0.5"})).json()
    assert body["targets"] == 3
    assert [(e["tenant"], e["code"]) for e in body["excluded"]] == [("zed-fr", "values-refused")]


async def test_a_release_that_needs_more_than_the_quota_waits_for_it_and_the_preview_says_so(
    api: Api, fleet: Fleet
) -> None:
    fleet.config("tiers", "standard", {"quota": {"requests.cpu": "150m", "pods": "20"}})
    body = (await (await manager(api)).post("/v1/rollouts:preview", json=DEPLOY)).json()
    assert {w["gate"] for w in body["waitingFor"]} == {"quota"}
    assert "requests.cpu" in body["waitingFor"][0]["reason"]


async def test_only_those_who_may_run_rollouts_start_or_stop_them(api: Api, fleet: Fleet) -> None:
    rollout = await started(await manager(api))
    auditor = await api.as_("auditor")
    problem(await auditor.post("/v1/rollouts", json=DEPLOY), 403, "forbidden")
    problem(await auditor.post(f"/v1/rollouts/{rollout}:pause"), 403, "forbidden")
    assert (await auditor.get(f"/v1/rollouts/{rollout}")).status_code == 200
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    problem(await owner.get(f"/v1/rollouts/{rollout}"), 404, "not-found")
    stranger = await api.as_("ci", apps=["pos-sync"])
    problem(await stranger.get(f"/v1/rollouts/{rollout}"), 404, "not-found")
    assert (await stranger.get("/v1/rollouts")).json()["items"] == []
    assert len((await (await api.as_("ci", apps=["odoo"])).get("/v1/rollouts")).json()["items"]) == 1


async def test_a_rollout_shows_where_it_stands_why_and_what_is_next(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    rollout = await started(client, notBefore="2099-01-01T00:00:00Z")
    body = (await client.get(f"/v1/rollouts/{rollout}")).json()
    assert (body["state"], body["targets"], body["counts"], body["paused"]) == ("planned", 4, {"pending": 4}, False)
    assert [w["gate"] for w in body["waitingFor"]] == ["notBefore"]
    assert body["explanation"]["next"] == "It starts at 2099-01-01T00:00:00Z."
    assert body["waves"][0] | {"startedAt": None} == {
        "name": "all", "state": "pending", "targets": 4, "counts": {"pending": 4}, "startedAt": None, "endedAt": None,
        "code": "", "reason": "",
    }  # fmt: skip
    assert body["origin"] == {"kind": "person"}
    plan = (await client.get(f"/v1/rollouts/{rollout}/plan")).json()
    assert plan["planHash"] == body["planHash"]
    assert (await client.get(f"/v1/rollouts/{rollout}/waves")).json()["items"] == body["waves"]


async def test_what_holds_targets_up_is_counted_with_an_example(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    rollout = await started(client)
    fleet.run("update rollouts set state = 'running'")
    fleet.run("update targets set code = 'busy', reason = 'another change has the slot' where tenant like 'acme%%'")
    fleet.run("update targets set state = 'stuck', code = 'not-ready', reason = 'web crashes' where tenant = 'zed-fr'")
    body = (await client.get(f"/v1/rollouts/{rollout}")).json()
    assert [(w["gate"], w["targets"]) for w in body["waitingFor"]] == [("slot", 2), ("stuck", 1)]
    assert body["explanation"]["troubles"][0]["example"] == "zed-fr"
    assert "operator" in body["explanation"]["who"]


async def test_targets_are_listed_in_the_plan_s_order_by_page_state_wave_and_tenant(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    rollout = await started(client)
    fleet.run("update targets set state = 'verified' where tenant = 'zed-de'")
    url = f"/v1/rollouts/{rollout}/targets"
    first = (await client.get(f"{url}?limit=3")).json()
    rest = (await client.get(first["next"])).json()
    assert [t["tenant"] for t in first["items"] + rest["items"]] == ["acme-de", "acme-fr", "zed-de", "zed-fr"]
    assert "next" not in rest
    assert [t["tenant"] for t in (await client.get(f"{url}?state=verified")).json()["items"]] == ["zed-de"]
    assert [t["wave"] for t in (await client.get(f"{url}?wave=all&tenant=zed-fr")).json()["items"]] == ["all"]
    assert (await client.get(f"{url}?wave=other")).json()["items"] == []
    assert first["items"][0]["wayBack"] == {"kind": "reapply", "revision": 1}
    problem(await client.get(f"{url}?state=happy"), 422, "invalid")
    problem(await client.get(f"{url}?cursor=WzFd"), 422, "invalid-cursor")
    far = base64.urlsafe_b64encode(b"[4611686018427387904,1]").decode()
    assert (await client.get(f"{url}?cursor={far}")).json()["items"] == []


async def test_rollouts_are_listed_newest_first_by_state_and_tenant(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    one = await started(client, selector="tenant=acme-fr")
    two = await started(client, selector="tenant=zed-fr")
    assert [r["id"] for r in (await client.get("/v1/rollouts")).json()["items"]] == [two, one]
    assert [r["id"] for r in (await client.get("/v1/rollouts?tenant=acme-fr")).json()["items"]] == [one]
    assert (await client.get("/v1/rollouts?state=running")).json()["items"] == []
    page = (await client.get("/v1/rollouts?limit=1")).json()
    assert [r["id"] for r in (await client.get(page["next"])).json()["items"]] == [one]


async def test_a_rollout_nobody_knows_is_not_found_on_every_path(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    nobody = f"/v1/rollouts/{uuid.uuid4()}"
    for path in ("", "/plan", "/waves", "/targets", "/events"):
        problem(await client.get(nobody + path), 404, "not-found")
    for word in ("pause", "resume", "abort", "retry", "start"):
        problem(await client.post(f"{nobody}:{word}"), 404, "not-found")


async def test_of_two_starts_at_the_same_moment_only_one_passes_reject(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    body = {**DEPLOY, "whenBusy": "reject"}
    answers = await asyncio.gather(*(client.post("/v1/rollouts", json=body) for _ in range(4)))
    assert sorted(a.status_code for a in answers) == [202, 409, 409, 409]
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"busy"}
    assert fleet.ask("select count(*) from rollouts") == [(1,)]


async def test_the_same_key_sent_twice_at_once_starts_one_rollout(api: Api, fleet: Fleet) -> None:
    client = await manager(api)
    headers = {"Idempotency-Key": "twice"}
    answers = await asyncio.gather(*(client.post("/v1/rollouts", json=DEPLOY, headers=headers) for _ in range(3)))
    assert {a.status_code for a in answers} <= {202, 409}
    assert len({a.json()["id"] for a in answers if a.status_code == 202}) == 1
    assert fleet.ask("select count(*) from rollouts") == [(1,)]
