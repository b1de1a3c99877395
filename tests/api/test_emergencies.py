"""The emergency lane through the HTTP door: a permission, a criterion, a reason, and a look by somebody else afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.services.emergencies import tell_overdue
from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.support.registry import Fleet

ASKED: dict[str, Any] = {
    "waves": [
        {"name": "all", "cut": {"percent": "100%"}, "before": [{"approval": {"group": "business"}}]},
    ]
}
LANE: dict[str, Any] = {"criterion": "tax", "reason": "wrong VAT on every receipt", "skip": ["approval"]}
BODY: dict[str, Any] = {"release": "odoo/17.0.4", "strategy": "asked", "selector": "tenant=acme-fr", "emergency": LANE}


@pytest.fixture
async def shop(api: Api, fleet: Fleet) -> Fleet:
    """A strategy that asks, and a criterion that lets that be left out."""
    fleet.config("strategies", "asked", ASKED)
    admin = await api.as_("platform-admin")
    spec = {"description": "A wrong tax rate", "roles": ["operator"], "skip": ["approval"]}
    assert (await admin.put("/v1/criteria/tax", json=spec)).status_code == 201
    return fleet


async def test_a_preview_names_what_is_left_out_and_the_start_is_bound_to_it(api: Api, shop: Fleet) -> None:
    operator = await api.as_("operator")
    seen = (await operator.post("/v1/rollouts:preview", json=BODY)).json()
    assert seen["emergency"]["criterion"] == "tax@1"
    assert seen["emergency"]["leftOut"] == [{"wave": "all", "place": "before", "kind": "approval"}]
    plain = (await operator.post("/v1/rollouts:preview", json={**BODY, "emergency": None})).json()
    assert plain["planHash"] != seen["planHash"]
    problem(await operator.post("/v1/rollouts", json={**BODY, "ifPlanHash": plain["planHash"]}), 409, "plan-changed")
    started = await operator.post("/v1/rollouts", json={**BODY, "ifPlanHash": seen["planHash"]})
    assert started.status_code == 202
    (record,) = (await operator.get("/v1/emergencies")).json()["items"]
    assert (record["rollout"], record["state"], record["targets"]) == (started.json()["id"], "open", 1)


async def test_it_is_closed_by_a_look_of_somebody_else(api: Api, shop: Fleet) -> None:
    operator = await api.as_("operator")
    rollout = (await operator.post("/v1/rollouts", json=BODY)).json()["id"]
    path, found = f"/v1/emergencies/{rollout}:review", {"finding": "justified", "note": "the rate was wrong"}
    problem(await operator.post(path, json=found), 403, "forbidden")
    auditor = await api.as_("auditor")
    problem(await auditor.post(path, json=found), 403, "own-change")
    shop.run("update api_keys set created_by = 'zoe' where roles ? 'auditor'")
    problem(await auditor.post(path, json={**found, "note": ""}), 422, "reason-needed")
    done = await auditor.post(path, json=found)
    assert (done.json()["state"], done.json()["reviewedBy"]) == ("reviewed", "zoe")
    assert (await operator.get("/v1/emergencies?state=open")).json()["items"] == []
    shop.run("update emergencies set review_by = now()")
    kinds = [c["type"] for c in (await operator.get("/v1/changes")).json()["items"] if c["kind"] == "emergency"]
    assert kinds == ["dev.seawall.emergency.reviewed.v1", "dev.seawall.emergency.started.v1"]


async def test_one_that_nobody_looked_at_in_time_is_overdue(api: Api, shop: Fleet) -> None:
    operator = await api.as_("operator")
    rollout = (await operator.post("/v1/rollouts", json=BODY)).json()["id"]
    shop.run("update emergencies set review_by = now()")
    assert (await operator.get(f"/v1/emergencies/{rollout}")).json()["state"] == "overdue"
    for told in (1, 0):
        async with api.container.database.engine() as uow:
            assert len(await tell_overdue(uow)) == told
    newest = (await operator.get("/v1/changes")).json()["items"][0]
    assert (newest["type"], newest["id"]) == ("dev.seawall.emergency.overdue.v1", rollout)


@pytest.mark.parametrize(
    ("changes", "status", "code", "at"),
    [
        ({"emergency": {**LANE, "skip": ["metric"]}}, 422, "emergency-refused", ["/emergency/skip/0"]),
        ({"emergency": {**LANE, "criterion": "nobody"}}, 422, "unknown-criterion", ["/emergency/criterion"]),
        ({"emergency": {**LANE, "reason": "urgent"}}, 422, "invalid", ["/emergency/reason"]),
        ({"emergency": {"criterion": "tax"}}, 422, "invalid", ["/emergency/reason"]),
        ({"mode": "plan"}, 422, "invalid-rollout", ["/mode"]),
        ({"notBefore": "2099-01-01T00:00:00Z"}, 422, "invalid-rollout", ["/notBefore"]),
    ],
)
async def test_what_the_lane_does_not_allow_is_named_and_starts_nothing(
    api: Api, shop: Fleet, changes: dict[str, Any], status: int, code: str, at: list[str]
) -> None:
    operator = await api.as_("operator")
    answer = await operator.post("/v1/rollouts", json={**BODY, **changes})
    assert pointers(problem(answer, status, code)) == at
    assert shop.ask("select count(*) from rollouts") == [(0,)]


async def test_it_takes_a_role_that_the_criterion_names(api: Api, shop: Fleet) -> None:
    manager = await api.as_("release-manager")
    problem(await manager.post("/v1/rollouts", json=BODY), 403, "not-for-you")
    auditor = await api.as_("auditor")
    problem(await auditor.post("/v1/rollouts", json=BODY), 403, "forbidden")


async def test_a_criterion_may_only_name_gates_that_exist(api: Api) -> None:
    admin = await api.as_("platform-admin")
    answer = await admin.put("/v1/criteria/bad", json={"description": "x", "skip": ["approval", "fence"]})
    assert pointers(problem(answer, 422, "invalid-criterion")) == ["/skip/1"]
