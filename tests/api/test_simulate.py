"""`POST /v1/rollouts:simulate` over a real registry and its history."""

from __future__ import annotations

from tests.api.problems import problem
from tests.plugins.api import Api
from tests.support.registry import Fleet

BODY = {"release": "odoo/17.0.4", "strategy": "all"}


async def test_a_what_if_says_how_runs_end_when_and_what_it_assumes_and_starts_nothing(api: Api, fleet: Fleet) -> None:
    client = await api.as_("release-manager")
    answer = await client.post("/v1/rollouts:simulate", json={**BODY, "runs": 20, "failureRate": 0})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["targets"], body["runs"]) == (4, 20)
    assert (
        body["ends"][0]["outcome"] == "succeeded"
    )  # now and then one is drawn so slow that the progress deadline ends it
    assert sum(end["share"] for end in body["ends"]) == 1.0
    assert body["finish"]["p50"].startswith("PT")
    assert body["curve"][0]["after"] == "PT0S"
    assert {note["code"] for note in body["assumptions"]} == {"what-if-alone", "times-assumed"}
    assert fleet.ask("select count(*) from rollouts") == [(0,)]
    again = await client.post("/v1/rollouts:simulate", json={**BODY, "runs": 20, "failureRate": 0})
    assert again.json()["curve"] == body["curve"]


async def test_failures_are_drawn_as_often_as_they_were_recorded(api: Api, fleet: Fleet) -> None:
    names = [f"shop-{n:02}" for n in range(30)]
    fleet.tenants(names)
    fleet.runs(names, "17.0.3")
    client = await api.as_("release-manager")
    past = await client.post("/v1/rollouts", json={**BODY, "selector": "tenant notin (acme-de,acme-fr,zed-de,zed-fr)"})
    assert past.status_code == 202, past.text
    fleet.run("update rollouts set started_at = now(), state = 'failed'")
    fleet.run("update targets set state = 'verified'")
    fleet.run("update targets set state = 'rolledBack', code = 'unhealthy' where tenant < 'shop-15'")
    body = (await client.post("/v1/rollouts:simulate", json={**BODY, "runs": 30})).json()
    assert body["failureRate"] == 0.5
    assert any(end["outcome"] == "failed" for end in body["ends"])


async def test_a_what_if_refuses_what_a_preview_refuses_and_too_many_runs(api: Api, fleet: Fleet) -> None:
    client = await api.as_("release-manager")
    problem(await client.post("/v1/rollouts:simulate", json={**BODY, "strategy": "nothing"}), 422, "unknown-strategy")
    assert (await client.post("/v1/rollouts:simulate", json={**BODY, "runs": 5000})).status_code == 422
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    assert (await owner.post("/v1/rollouts:simulate", json=BODY)).status_code in (403, 404)
