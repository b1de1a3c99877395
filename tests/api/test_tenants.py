"""Tenants over HTTP: onboarding, batches, reading, and what a caller gets for a mistake."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.plugins.operations import Works, ndjson, spec


def body(name: str = "acme-fr", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "displayName": "ACME France",
        "tier": "standard",
        "region": "west",
        "timeZone": "Europe/Paris",
        "environments": {"production": {"cluster": "aks-1", "hosts": ["shop.acme.example"]}},
        **changes,
    }


async def test_an_onboarding_is_accepted_followed_and_done(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    answer = await admin.post("/v1/tenants", json=body())
    assert answer.status_code == 202
    location = answer.headers["operation-location"]
    assert answer.headers["retry-after"] == "1"
    assert (await admin.get(location)).json()["state"] == "accepted"
    await works.finish(answer.json()["id"])
    done = (await admin.get(location)).json()
    assert (done["state"], done["items"]) == ("succeeded", {"succeeded": 1})
    items = (await admin.get(done["itemsUrl"])).json()["items"]
    assert {step["outcome"] for step in items[0]["steps"]} == {"ok"}
    shown = (await admin.get("/v1/tenants/acme-fr")).json()
    assert (shown["phase"], shown["placements"][0]["namespace"]) == ("active", "acme-fr")
    assert {k: shown[k] for k in ("displayName", "timeZone")} == {
        "displayName": "ACME France",
        "timeZone": "Europe/Paris",
    }


async def test_the_same_key_gives_the_same_operation_and_another_body_is_refused(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    key = {"Idempotency-Key": "once"}
    first = await admin.post("/v1/tenants", json=body(), headers=key)
    again = await admin.post("/v1/tenants", json=body(), headers=key)
    assert (first.status_code, again.json()) == (202, first.json())
    problem(await admin.post("/v1/tenants", json=body("other"), headers=key), 422, "idempotency-key-reused")
    assert works.fleet.ask("select count(*) from operations") == [(1,)]


async def test_a_duplicate_tenant_is_a_conflict(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    await admin.post("/v1/tenants", json=body())
    problem(await admin.post("/v1/tenants", json=body()), 409, "tenant-exists")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"colour": "red"}, "/colour"),
        ({"display_name": "x"}, "/display_name"),
        ({"name": "ACME"}, "/name"),
        ({"name": "a--b"}, "/name"),
        ({"timeZone": "Mars/Olympus"}, "/timeZone"),
        ({"labels": "brand"}, "/labels"),
        ({"adopt": "always"}, "/adopt"),
        ({"environments": {}}, "/environments/production"),
        ({"apps": {"odoo": {"pin": {"reason": "x", "owner": "y"}}}}, "/apps/odoo/pin/until"),
    ],
)
async def test_a_wrong_body_is_refused_with_its_place(
    works: Works, api: Api, changes: dict[str, Any], pointer: str
) -> None:
    admin = await api.as_("platform-admin")
    answer = problem(await admin.post("/v1/tenants", json=body(**changes)), 422, "invalid")
    assert pointer in pointers(answer)


async def test_an_unknown_tier_is_refused_with_those_that_exist(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    answer = problem(await admin.post("/v1/tenants", json=body(tier="golden")), 422, "unknown-tier")
    assert "standard" in answer["detail"]


async def test_an_onboarding_needs_a_key_for_repeating_it(works: Works, api: Api) -> None:
    admin = api.client(await api.key("platform-admin"), idempotent=False)
    assert (await admin.post("/v1/tenants", json=body())).status_code == 400


async def test_a_batch_is_one_operation_with_a_result_per_line(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    lines = ndjson(spec("one"), "{", {**json.loads(spec("two").model_dump_json()), "colour": 1})
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await admin.post("/v1/tenants:batchOnboard", content=lines, headers=headers)
    assert answer.status_code == 202, answer.text
    await works.finish(answer.json()["id"])
    operation = (await admin.get(answer.headers["operation-location"])).json()
    assert operation["items"] == {"succeeded": 1, "failed": 2}
    failed = (await admin.get(operation["itemsUrl"], params={"state": "failed"})).json()["items"]
    assert [(item["line"], item["problem"]["code"]) for item in failed] == [(2, "invalid-json"), (3, "invalid")]
    assert failed[1]["problem"]["errors"][0]["pointer"] == "/colour"


async def test_items_come_in_pages(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    lines = ndjson(*(spec(f"t{n}") for n in range(5)))
    answer = await admin.post(
        "/v1/tenants:batchOnboard", content=lines, headers={"Content-Type": "application/x-ndjson"}
    )
    seen: list[int] = []
    url: str | None = f"/v1/operations/{answer.json()['id']}/items?limit=2"
    while url:
        found = (await admin.get(url)).json()
        seen += [item["ordinal"] for item in found["items"]]
        url = found.get("next")
    assert seen == [0, 1, 2, 3, 4]


async def test_tenants_are_listed_by_name_selector_and_phase(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    for name, country in (("b-fr", "fr"), ("a-fr", "fr"), ("c-de", "de")):
        wish = body(name, environments={"production": {"cluster": "aks-1"}}, labels={"country": country})
        await works.finish((await admin.post("/v1/tenants", json=wish)).json()["id"])

    async def names(**query: Any) -> list[str]:
        return [one["name"] for one in (await admin.get("/v1/tenants", params=query)).json()["items"]]

    assert await names() == ["a-fr", "b-fr", "c-de"]
    assert await names(selector="country=fr,tier in (standard)") == ["a-fr", "b-fr"]
    assert await names(phase="suspended") == []
    problem(await admin.get("/v1/tenants", params={"selector": "a=("}), 422, "invalid-selector")


async def test_a_tenant_owner_sees_its_own_tenant_and_operation_and_no_other(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    mine = (await admin.post("/v1/tenants", json=body())).json()["id"]
    other = (
        await admin.post("/v1/tenants", json=body("other", environments={"production": {"cluster": "aks-1"}}))
    ).json()["id"]
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    assert (await owner.get("/v1/tenants/acme-fr")).json()["name"] == "acme-fr"
    assert (await owner.get(f"/v1/operations/{mine}")).status_code == 200
    problem(await owner.get("/v1/tenants/other"), 404, "not-found")
    problem(await owner.get(f"/v1/operations/{other}"), 404, "not-found")
    problem(await owner.get("/v1/tenants"), 404, "not-found")
    problem(await owner.post("/v1/tenants", json=body("third")), 403, "forbidden")
