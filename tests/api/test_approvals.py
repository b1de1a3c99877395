"""Votes and gates through the HTTP door: who may, what is refused, and what the record shows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.adapters.identity.local_issuer import LocalIssuer
from controlplane.bootstrap import Container
from tests.api.problems import problem
from tests.plugins.api import Api, serving, settings_for
from tests.plugins.database import Database
from tests.support.registry import Fleet

ASKED: dict[str, Any] = {
    "waves": [
        {
            "name": "all",
            "cut": {"percent": "100%"},
            "before": [{"approval": {"group": "business", "count": 2, "early": True}}],
        }
    ]
}


@pytest.fixture
async def rollout(api: Api, fleet: Fleet) -> dict[str, Any]:
    """A rollout that takes early votes."""
    fleet.config("strategies", "asked", ASKED)
    manager = await api.as_("release-manager")
    body = {"release": "odoo/17.0.4", "strategy": "asked", "changeRef": "CHG1", "notBefore": "2099-01-01T00:00:00Z"}
    answer = await manager.post("/v1/rollouts", json=body)
    assert answer.status_code == 202, answer.text
    started: dict[str, Any] = answer.json()
    return started


async def approver(api: Api, fleet: Fleet, maker: str) -> httpx.AsyncClient:
    """A key for group business that `maker` made: it votes as her."""
    client = await api.as_("approver:business")
    me = (await client.get("/v1/whoami")).json()["id"]
    fleet.run("update api_keys set created_by = %s where id::text = %s", maker, me.removeprefix("key:"))
    return client


def ballot(rollout: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"group": "business", "planHash": rollout["planHash"], **changes}


async def test_nobody_approves_his_own_change_through_a_second_key(
    api: Api, fleet: Fleet, rollout: dict[str, Any]
) -> None:
    path = f"/v1/rollouts/{rollout['id']}/approvals"
    # Every key of these tests was made by `tests`, as the requester's was.
    second = await api.as_("approver:business")
    problem(await second.post(path, json=ballot(rollout)), 403, "own-change")
    third = await approver(api, fleet, (await second.get("/v1/whoami")).json()["id"])
    problem(await third.post(path, json=ballot(rollout)), 403, "own-change")
    ann = await approver(api, fleet, "ann")
    (vote,) = (await ann.post(path, json=ballot(rollout, reason="seen"))).json()["items"]
    assert (vote["person"], vote["vote"], vote["changeRef"], vote["release"]) == (
        "ann",
        "approve",
        "CHG1",
        "odoo/17.0.4",
    )
    problem(await second.post(path, json=ballot(rollout)), 403, "own-change")
    again = await (await approver(api, fleet, "ann")).post(path, json=ballot(rollout))
    assert len(again.json()["items"]) == 1


async def test_a_vote_for_another_plan_group_or_rollout_is_refused(
    api: Api, fleet: Fleet, rollout: dict[str, Any]
) -> None:
    ann = await approver(api, fleet, "ann")
    path = f"/v1/rollouts/{rollout['id']}/approvals"
    problem(await ann.post(path, json=ballot(rollout, planHash="sha256:" + "0" * 64)), 409, "plan-changed")
    problem(await ann.post(path, json=ballot(rollout, group="platform")), 403, "not-in-group")
    problem(await ann.post(path, json=ballot(rollout, wave="nobody")), 422, "no-such-gate")
    problem(await ann.post(path, json=ballot(rollout, vote="reject")), 422, "reason-needed")
    problem(await ann.post(path, json=ballot(rollout, vote="abstain")), 422, "invalid")
    nowhere = f"/v1/rollouts/{'0' * 8}-0000-7000-8000-{'0' * 12}/approvals"
    problem(await ann.post(nowhere, json=ballot(rollout)), 404, "not-found")
    assert (await ann.get(path)).json() == {"items": []}


async def test_a_vote_is_taken_back_by_its_person_or_with_a_reason_by_an_administrator(
    api: Api, fleet: Fleet, rollout: dict[str, Any]
) -> None:
    path = f"/v1/rollouts/{rollout['id']}/approvals"
    ann, ben = await approver(api, fleet, "ann"), await approver(api, fleet, "ben")
    (mine,) = (await ann.post(path, json=ballot(rollout))).json()["items"]
    problem(await ben.delete(f"{path}/{mine['id']}"), 404, "not-found")
    assert (await ann.delete(f"{path}/{mine['id']}")).status_code == 204
    problem(await ann.delete(f"{path}/{mine['id']}"), 404, "not-found")
    await ann.post(path, json=ballot(rollout))
    theirs = (await ann.get(path)).json()["items"][1]
    admin = await api.as_("platform-admin")
    problem(await admin.delete(f"{path}/{theirs['id']}"), 422, "reason-needed")
    assert (await admin.delete(f"{path}/{theirs['id']}", params={"reason": "she left"})).status_code == 204
    assert all(v["withdrawnAt"] for v in (await ann.get(path)).json()["items"])
    rows = (await admin.get("/v1/audit", params={"action": "rollout.withdraw"})).json()["items"]
    assert [r["detail"]["reason"] for r in rows] == ["she left", ""]


async def test_a_revoked_key_takes_its_votes_with_it(api: Api, fleet: Fleet, rollout: dict[str, Any]) -> None:
    path = f"/v1/rollouts/{rollout['id']}/approvals"
    ann = await approver(api, fleet, "ann")
    await ann.post(path, json=ballot(rollout))
    key = (await ann.get("/v1/whoami")).json()["id"].removeprefix("key:")
    admin = await api.as_("platform-admin")
    assert (await admin.delete(f"/v1/keys/{key}")).status_code == 204
    (vote,) = (await admin.get(path)).json()["items"]
    assert vote["withdrawnAt"]


async def test_gates_are_listed_with_their_evidence_for_who_may_see_the_app(
    api: Api, fleet: Fleet, rollout: dict[str, Any]
) -> None:
    fleet.run(
        "insert into gates (rollout_id, wave, place, idx, kind, verdict, reason, who, since, evidence)"
        " values (%s, 0, 'before', 0, 'approval', 'wait', '0 of 2', 'approver:business', now(), '{\"votes\": []}')",
        rollout["id"],
    )
    auditor = await api.as_("auditor")
    (gate,) = (await auditor.get(f"/v1/rollouts/{rollout['id']}/gates")).json()["items"]
    assert (gate["kind"], gate["wave"], gate["evidence"]) == ("approval", "all", {"votes": []})
    (outstanding,) = (await auditor.get("/v1/gates?limit=1")).json()["items"]
    assert (outstanding["who"], outstanding["changeRef"]) == ("approver:business", "CHG1")
    ours, others = await api.as_("ci", apps=["odoo"]), await api.as_("ci", apps=["pos-sync"])
    assert len((await ours.get("/v1/gates")).json()["items"]) == 1
    assert (await others.get("/v1/gates")).json()["items"] == []
    problem(await others.get(f"/v1/rollouts/{rollout['id']}/gates"), 404, "not-found")


async def test_a_person_whose_newer_token_has_lost_the_role_takes_her_votes_with_it(
    database: Database, fleet: Fleet, rollout: dict[str, Any], tmp_path: Path
) -> None:
    issuer = LocalIssuer(tmp_path)
    settings = settings_for(database).model_copy(update={"oidc_issuer": await issuer.start()})
    now, path = int(time.time()), f"/v1/rollouts/{rollout['id']}/approvals"
    async with serving(Container(settings)) as api:

        def token(*roles: str, at: int, name: str = "ann") -> httpx.AsyncClient:
            return api.client(issuer.sign({"sub": name, "roles": list(roles), "iat": at}))

        older = token("approver:business", at=now - 60)
        assert (await older.post(path, json=ballot(rollout))).status_code == 201
        assert (await token("approver:business", at=now - 60, name="ben").post(path, json=ballot(rollout))).is_success
        auditor = await api.as_("auditor")

        async def in_force() -> int:
            votes = (await auditor.get(path)).json()["items"]
            return sum(1 for vote in votes if not vote.get("withdrawnAt"))

        assert (await token("auditor", at=now - 120).get("/v1/whoami")).is_success  # an older token takes nothing back
        assert (
            await token("approver:business", at=now + 30).get("/v1/whoami")
        ).is_success  # nor one that still has the role
        assert await in_force() == 2
        assert (await token("auditor", at=now + 40).get("/v1/whoami")).is_success
        assert await in_force() == 1
        problem(await token(at=now + 40, name="ben").get("/v1/whoami"), 403, "no-role")
        assert await in_force() == 0
        reasons = [
            r["detail"]["reason"] for r in (await auditor.get("/v1/audit?action=rollout.withdraw")).json()["items"]
        ]
        assert reasons == ["the person has no role approver:business any more"] * 2
    await issuer.stop()
