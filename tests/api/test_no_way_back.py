"""What can't go back starts only with a person's word on it, and the word is kept."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.problems import problem
from tests.plugins.api import Api
from tests.support.registry import Fleet

ONE_WAY = {"release": "odoo/18.0.0", "strategy": "all"}
WORD = "rehearsed on staging, the business signed"


@pytest.fixture
async def client(api: Api, fleet: Fleet) -> httpx.AsyncClient:
    """A release manager, and a release whose database change can't be undone."""
    fleet.release("18.0.0", database={"change": "forward-only"})
    return await api.as_("release-manager")


def origin(fleet: Fleet) -> dict[str, Any]:
    found: dict[str, Any] = fleet.ask("select origin from rollouts")[0][0]
    return found


async def test_the_preview_says_it_and_a_start_without_a_word_is_refused(
    client: httpx.AsyncClient, fleet: Fleet
) -> None:
    seen = (await client.post("/v1/rollouts:preview", json=ONE_WAY)).json()
    assert seen["wayBack"] == {"reapply": 0, "restore": 0, "none": 4}
    assert "acceptNoWayBack" in next(n["detail"] for n in seen["notes"] if n["code"] == "no-way-back")
    body = problem(await client.post("/v1/rollouts", json=ONE_WAY), 409, "no-way-back")
    assert (body["count"], body["tenants"]) == (4, ["acme-de", "acme-fr", "zed-de", "zed-fr"])
    assert fleet.ask("select count(*) from rollouts") == [(0,)]


async def test_with_a_word_it_starts_and_origin_history_and_audit_keep_who_said_what(
    client: httpx.AsyncClient, fleet: Fleet
) -> None:
    answer = await client.post("/v1/rollouts", json={**ONE_WAY, "acceptNoWayBack": WORD})
    assert answer.status_code == 202, answer.text
    kept = origin(fleet)["noWayBack"]
    assert (kept["reason"], kept["targets"], bool(kept["acceptedBy"])) == (WORD, 4, True)
    assert fleet.ask("select data -> 'noWayBack' from history where type like '%%rollout.planned%%'") == [(kept,)]
    assert fleet.ask("select detail -> 'noWayBack' from audit where action = 'rollout.start'") == [(kept,)]


async def test_a_draft_needs_the_word_when_a_person_starts_it(client: httpx.AsyncClient, fleet: Fleet) -> None:
    draft = (await client.post("/v1/rollouts", json={**ONE_WAY, "mode": "plan"})).json()
    url = f"/v1/rollouts/{draft['id']}:start"
    problem(await client.post(url), 409, "no-way-back")
    assert fleet.ask("select state from rollouts") == [("draft",)]
    answer = await client.post(url, json={"acceptNoWayBack": WORD})
    assert answer.status_code == 202, answer.text
    assert fleet.ask("select state from rollouts") == [("planned",)]
    assert fleet.ask("select detail #>> '{noWayBack,reason}' from audit where action = 'rollout.start'") == [(WORD,)]


async def test_a_first_installation_and_a_rollback_need_no_word(client: httpx.AsyncClient, fleet: Fleet) -> None:
    fleet.tenants(["newcomer"])
    only = {"selector": "tenant=newcomer"}
    first = await client.post("/v1/rollouts", json={**ONE_WAY, **only})
    assert first.status_code == 202, first.text
    fleet.runs(["acme-fr"], "17.0.4")
    back = {"kind": "rollback", "app": "odoo", "strategy": "all", "selector": "tenant=acme-fr"}
    assert (await client.post("/v1/rollouts", json=back)).status_code == 202
