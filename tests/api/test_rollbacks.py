"""Rollouts of kind rollback and values: going back later, and changing values, are changes like any other."""

from __future__ import annotations

from typing import Any

import httpx

from tests.api.problems import problem
from tests.plugins.api import Api
from tests.support.registry import Fleet

BACK = {"kind": "rollback", "app": "odoo", "strategy": "all"}


async def preview(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/rollouts:preview", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_rollback_gives_each_tenant_the_content_of_its_verified_revision_before_this_one(
    api: Api, fleet: Fleet
) -> None:
    fleet.runs(["acme-fr", "acme-de"], "17.0.4")
    client = await api.as_("release-manager")
    answer = await client.post("/v1/rollouts", json=BACK)
    assert (answer.status_code, answer.json()["targets"]) == (202, 2), answer.text
    rows = fleet.ask(
        "select t.memory ->> 'content' = r.content_hash, t.release_version, t.memory ->> 'wayBack' from targets t"
        " join revisions r on r.tenant = t.tenant and r.revision = 1"
    )
    assert rows == [(True, "17.0.3", "none")] * 2
    assert fleet.ask("select release_version from rollouts") == [("17.0.3",)]


async def test_tenants_without_a_revision_to_return_to_are_left_out(api: Api, fleet: Fleet) -> None:
    client = await api.as_("release-manager")
    body = await preview(client, **BACK)
    assert {e["code"] for e in body["excluded"]} == {"no-revision-to-return-to"}
    problem(await client.post("/v1/rollouts", json=BACK), 422, "nothing-to-do")


async def test_a_rollback_of_a_release_that_would_undo_a_newer_change_is_refused(api: Api, fleet: Fleet) -> None:
    fleet.runs(["acme-fr"], "17.0.4")
    fleet.runs(["acme-fr"], "17.0.5")
    client = await api.as_("release-manager")
    asked = {**BACK, "release": "odoo/17.0.4", "selector": "tenant=acme-fr"}
    body = problem(await client.post("/v1/rollouts", json=asked), 409, "would-undo-another-change")
    assert "17.0.5" in body["detail"]


async def test_a_change_of_values_on_top_of_a_release_is_not_undone_with_it(api: Api, fleet: Fleet) -> None:
    fleet.runs(["acme-fr"], "17.0.4")
    fleet.runs(["acme-fr"], "17.0.4", workers=8)
    client = await api.as_("release-manager")
    asked = {**BACK, "release": "odoo/17.0.4", "selector": "tenant=acme-fr"}
    problem(await client.post("/v1/rollouts", json=asked), 409, "would-undo-another-change")
    plain = {**BACK, "selector": "tenant=acme-fr"}
    assert (await client.post("/v1/rollouts", json=plain)).json()["targets"] == 1


async def test_a_rollback_goes_to_the_named_revision_only_if_it_was_verified(api: Api, fleet: Fleet) -> None:
    fleet.runs(["acme-fr"], "17.0.4", verified=False)
    fleet.runs(["acme-fr"], "17.0.5")
    client = await api.as_("release-manager")
    asked = {**BACK, "selector": "tenant=acme-fr"}
    assert (await preview(client, **asked, to=1))["targets"] == 1
    assert [e["code"] for e in (await preview(client, **asked, to=2))["excluded"]] == ["not-verified"]


async def test_a_rollback_across_a_change_of_the_database_that_can_t_be_undone_is_left_out(
    api: Api, fleet: Fleet
) -> None:
    fleet.release("17.0.7", database={"change": "forward-only"})
    fleet.runs(["acme-fr"], "17.0.7")
    body = await preview(await api.as_("release-manager"), **BACK, selector="tenant=acme-fr")
    assert [e["code"] for e in body["excluded"]] == ["forward-only"]


async def test_changed_values_are_planned_for_the_release_each_tenant_runs_and_can_go_back(
    api: Api, fleet: Fleet
) -> None:
    fleet.runs(["acme-fr"], "17.0.4")
    fleet.run(
        """update tenants set apps = jsonb_set(apps, '{odoo,values}', '{"replicas": 3}') where tenant like 'acme%%'"""
    )
    client = await api.as_("release-manager")
    asked = {"kind": "values", "app": "odoo", "strategy": "all", "selector": "tenant in (acme-fr,acme-de)"}
    body = await preview(client, **asked)
    assert (body["from"], body["wayBack"]["reapply"]) == ({"17.0.3": 1, "17.0.4": 1}, 2)
    answer = await client.post("/v1/rollouts", json={**asked, "ifPlanHash": body["planHash"]})
    assert answer.status_code == 202, answer.text
    rows = fleet.ask("select tenant, release_version from targets order by tenant")
    assert rows == [("acme-de", "17.0.3"), ("acme-fr", "17.0.4")]


async def test_a_stuck_tenant_takes_a_rollback_but_no_other_change(api: Api, fleet: Fleet) -> None:
    fleet.runs(["acme-fr"], "17.0.4")
    fleet.run("update environments set dirty = true where tenant = 'acme-fr'")
    client = await api.as_("release-manager")
    fleet.release("17.0.8")
    deploy = await preview(client, release="odoo/17.0.8", strategy="all", selector="tenant=acme-fr")
    assert [e["code"] for e in deploy["excluded"]] == ["stuck"]
    assert (await preview(client, **BACK, selector="tenant=acme-fr"))["targets"] == 1
