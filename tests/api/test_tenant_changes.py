"""A tenant's life after onboarding: changes, suspension, the end, and what each refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.plugins.operations import Works, spec
from tests.support.charts import chart

NAME = "acme-fr"
PATH = f"/v1/tenants/{NAME}"


@pytest.fixture
async def admin(works: Works, api: Api) -> httpx.AsyncClient:
    """A platform admin; tenant acme-fr is active, with odoo/17.0.3 installed."""
    works.fleet.config("tiers", "premium", {"quota": {"requests.cpu": "8", "pods": "50"}})
    works.fleet.config("tiers", "tiny", {"quota": {"requests.cpu": "50m"}})
    works.fleet.release("17.0.3", chart(values={"replicas": 2}))
    client = await api.as_("platform-admin", "operator")
    body = spec(NAME, apps={"odoo": {}}).model_dump(mode="json")
    async with works.worker():
        operation = await works.over((await client.post("/v1/tenants", json=body)).json()["id"])
        assert operation.state == "succeeded"
    return client


async def patch(client: httpx.AsyncClient, change: dict[str, Any]) -> httpx.Response:
    etag = (await client.get(PATH)).headers["etag"]
    return await client.patch(
        PATH, json=change, headers={"If-Match": etag, "Content-Type": "application/merge-patch+json"}
    )


async def test_what_only_the_registry_knows_changes_at_once(works: Works, admin: httpx.AsyncClient) -> None:
    answer = await patch(admin, {"labels": {"ring": "pilot"}, "displayName": "ACME"})
    assert (answer.status_code, answer.json()["labels"], answer.json()["displayName"]) == (
        200,
        {"ring": "pilot"},
        "ACME",
    )
    removed = await patch(admin, {"labels": {"ring": None}})
    assert removed.json()["labels"] == {}


async def test_a_stale_or_missing_if_match_is_refused(works: Works, admin: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    stale = (await admin.get(PATH)).headers["etag"]
    await patch(admin, {"displayName": "newer"})
    problem(
        await admin.patch(PATH, json={"displayName": "x"}, headers={**headers, "If-Match": stale}),
        412,
        "changed-meanwhile",
    )
    problem(await admin.patch(PATH, json={"displayName": "x"}, headers=headers), 428, "precondition-required")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "other"}, "name-immutable"),
        ({"environments": {"production": {"cluster": "aks-2"}}}, "cluster-immutable"),
        ({"tier": "golden"}, "unknown-tier"),
        ({"colour": "red"}, "invalid"),
        ({"timeZone": "Mars/Olympus"}, "invalid"),
    ],
)
async def test_what_can_not_be_changed_is_refused(
    works: Works, admin: httpx.AsyncClient, change: dict[str, Any], code: str
) -> None:
    assert pointers(problem(await patch(admin, change), 422, code))


async def test_another_tier_is_an_operation_and_reaches_the_quota(works: Works, admin: httpx.AsyncClient) -> None:
    epoch = works.fleet.ask("select epoch from environments")[0][0]
    answer = await patch(admin, {"tier": "premium"})
    assert answer.status_code == 202
    assert (await admin.get(PATH)).json()["tier"] == "standard"
    await works.finish(answer.json()["id"])
    shown = (await admin.get(PATH)).json()
    assert (shown["tier"], shown["placements"][0]["wallsTier"]) == ("premium", "premium")
    quota = works.world.get(NAME, "ResourceQuota", "seawall")
    assert quota is not None
    assert quota["spec"]["hard"]["requests.cpu"] == "8"
    assert works.fleet.ask("select epoch from environments")[0][0] > epoch


async def test_a_tier_below_the_peak_is_refused_with_the_numbers(works: Works, admin: httpx.AsyncClient) -> None:
    answer = problem(await patch(admin, {"tier": "tiny"}), 422, "quota-below-peak")
    assert "requests.cpu needs 300m at the peak and 50m is free" in answer["detail"]
    assert pointers(answer) == ["/tier"]


async def test_a_change_while_another_holds_the_environment_is_refused(works: Works, admin: httpx.AsyncClient) -> None:
    works.fleet.run("update environments set slot_kind = 'rollout', slot_id = gen_random_uuid()")
    problem(await patch(admin, {"tier": "premium"}), 409, "change-in-progress")
    problem(await admin.delete(PATH), 409, "change-in-progress")
    problem(await admin.post(f"{PATH}:suspend"), 409, "change-in-progress")


async def test_an_operation_waits_for_a_slot_that_was_taken_after_it_was_accepted(
    works: Works, admin: httpx.AsyncClient
) -> None:
    operation = (await patch(admin, {"tier": "premium"})).json()["id"]
    works.fleet.run("update environments set slot_kind = 'rollout', slot_id = gen_random_uuid()")
    state = "select state from operations where id = %s"
    waiting = await works.drive(operation, until=lambda: works.fleet.ask(state, operation) == [("waiting",)])
    assert (waiting.state, waiting.waiting_for[0]["gate"]) == ("waiting", "slot")
    works.fleet.run("update environments set slot_kind = null, slot_id = null")
    assert (await works.finish(operation)).state == "succeeded"


async def test_a_new_environment_gets_walls_and_apps(works: Works, admin: httpx.AsyncClient) -> None:
    answer = await patch(admin, {"environments": {"staging": {"cluster": "aks-1"}}})
    assert answer.status_code == 202
    async with works.worker():
        assert (await works.over(answer.json()["id"])).state == "succeeded"
    assert "Deployment/web" in works.objects(f"{NAME}--staging")
    assert works.fleet.ask("select count(*) from tenant_apps where verified_revision = 1") == [(2,)]


async def test_suspending_stops_the_pods_and_resuming_brings_them_back(works: Works, admin: httpx.AsyncClient) -> None:
    def replicas() -> int:
        web = works.world.get(NAME, "Deployment", "web")
        assert web is not None
        return int(web["spec"]["replicas"])

    answer = await admin.post(f"{PATH}:suspend", json={"reason": "unpaid"})
    assert (await admin.get(PATH)).json()["phase"] == "suspended"
    await works.finish(answer.json()["id"])
    assert replicas() == 0
    resumed = await admin.post(f"{PATH}:resume")
    await works.finish(resumed.json()["id"])
    assert replicas() == 2
    assert (await admin.get(PATH)).json()["phase"] == "active"
    problem(await admin.post(f"{PATH}:resume"), 409, "wrong-phase")


async def test_offboarding_deletes_the_namespace_and_keeps_record_and_name(
    works: Works, admin: httpx.AsyncClient
) -> None:
    answer = await admin.delete(PATH)
    assert (answer.status_code, (await admin.get(PATH)).json()["phase"]) == (202, "offboarding")
    await works.finish(answer.json()["id"])
    assert (await admin.get(PATH)).json()["phase"] == "offboarded"
    assert await works.cluster.read_namespace(NAME) is None
    problem(await admin.post("/v1/tenants", json=spec(NAME).model_dump(mode="json")), 409, "tenant-exists")
    problem(await patch(admin, {"displayName": "x"}), 409, "tenant-offboarded")
    problem(await admin.delete(PATH), 409, "wrong-phase")


async def test_a_foreign_namespace_survives_the_offboarding_of_the_tenant_that_observed_it(
    works: Works, admin: httpx.AsyncClient
) -> None:
    works.world.create_namespace("guest", {}, {})
    body = spec("guest", adopt="observe").model_dump(mode="json")
    await works.finish((await admin.post("/v1/tenants", json=body)).json()["id"])
    await works.finish((await admin.delete("/v1/tenants/guest")).json()["id"])
    view = await works.cluster.read_namespace("guest")
    assert view is not None
    assert not view.terminating


async def test_a_failed_onboarding_can_be_tried_again(works: Works, admin: httpx.AsyncClient) -> None:
    works.world.create_namespace("late", {}, {})
    body = spec("late").model_dump(mode="json")
    failed = await works.finish((await admin.post("/v1/tenants", json=body)).json()["id"])
    assert failed.state == "failed"
    works.world.terminate("late")
    again = await works.finish((await admin.post("/v1/tenants/late:resume")).json()["id"])
    assert again.state == "succeeded"
    assert (await admin.get("/v1/tenants/late")).json()["phase"] == "active"


async def test_an_export_holds_the_record_and_the_manifests(works: Works, admin: httpx.AsyncClient) -> None:
    answer = await admin.post(f"{PATH}:export")
    problem(await admin.get(f"/v1/operations/{answer.json()['id']}/result"), 404, "not-found")
    await works.finish(answer.json()["id"])
    content = (await admin.get(f"/v1/operations/{answer.json()['id']}/result")).json()
    assert content["tenant"]["name"] == NAME
    assert {m["kind"] for m in content["apps"][0]["manifests"]} == {"Deployment", "Service"}
