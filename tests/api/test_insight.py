"""Judging over many rollouts, over a real registry and its history."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

from tests.api.problems import problem
from tests.plugins.api import Api
from tests.support.registry import Fleet

NAMES = ("acme-de", "acme-fr", "zed-de", "zed-fr")


async def started(api: Api, release: str = "odoo/17.0.4") -> str:
    client = await api.as_("release-manager")
    answer = await client.post("/v1/rollouts", json={"release": release, "strategy": "all"})
    assert answer.status_code == 202, answer.text
    return str(uuid.UUID(answer.json()["id"]))


def happened(fleet: Fleet, rollout: str, tenant: str, change: str, minutes_ago: int, **data: str) -> None:
    """Write a change of a target as a worker does."""
    fleet.run(
        "with n as (update rollouts set event_seq = event_seq + 1 where id = %s returning event_seq)"
        " insert into history (subject_kind, subject_id, seq, type, tenant, data, at)"
        " select 'rollout', %s, event_seq, %s, %s, %s::jsonb, now() - make_interval(mins => %s) from n",
        rollout,
        rollout,
        f"dev.seawall.rollout.{change}.v1",
        tenant,
        json.dumps(data),
        minutes_ago,
    )


async def test_outcomes_are_read_from_what_happened(api: Api, fleet: Fleet) -> None:
    rollout = await started(api)
    for tenant in NAMES[:3]:
        happened(fleet, rollout, tenant, "target-started", 60)
    happened(fleet, rollout, "acme-de", "target-verified", 50)
    happened(fleet, rollout, "acme-fr", "target-verified", 50)
    happened(fleet, rollout, "zed-de", "target-failed", 40, code="unhealthy")
    happened(fleet, rollout, "zed-de", "target-rolling-back", 39, code="unhealthy")
    happened(fleet, rollout, "zed-de", "target-rolled-back", 30)
    fleet.run("update releases set created_at = now() - interval '2 hours'")
    fleet.run("update targets set started_at = now() where tenant <> 'zed-fr'")
    fleet.run("update rollouts set started_at = now() - interval '1 hour', state = 'failed'")
    for place, verdict in (("before", "pass"), ("during", "fail")):
        fleet.run(
            "insert into gates (rollout_id, wave, place, idx, kind, verdict, reason, who, since, evidence)"
            " values (%s, 0, %s, 0, 'metric', %s, '', '', now(), '{}')",
            rollout,
            place,
            verdict,
        )
    auditor = await api.as_("auditor")
    answer = await auditor.get("/v1/outcomes", params={"since": "P1D", "by": "tenant"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    fleet_figures = body["fleet"]
    assert (fleet_figures["deployments"], fleet_figures["failed"]) == (3, 1)
    assert fleet_figures["recoveryTime"] == {"count": 1, "p50": "PT10M", "p90": "PT10M", "max": "PT10M"}
    assert fleet_figures["leadTime"] == {"count": 2, "p50": "PT1H10M", "p90": "PT1H10M", "max": "PT1H10M"}
    assert fleet_figures["rollbackTime"]["max"] == "PT9M"
    assert fleet_figures["moneyNotLost"] == {
        "amount": "100.00",
        "currency": "EUR",
    }  # one tenant, 200 an hour, half an hour
    assert [g["name"] for g in body["groups"]] == list(NAMES)
    assert (body["rollouts"], body["manualActions"]) == (1, 1)
    stopped = [{"gate": "metric", "stood": 1, "stopped": 1, "share": 1.0}]
    assert body["gates"] == stopped
    for one in (fleet_figures, *body["groups"]):
        assert (one["rollouts"], one["gates"], one["manualActionsPerRollout"]) == (1, stopped, 1.0), one["name"]
    assert body["restoreDrills"] == 0.0


async def test_outcomes_without_history_say_nothing_and_a_tenants_owner_sees_none(api: Api, fleet: Fleet) -> None:
    admin = await api.as_("platform-admin")
    body = (await admin.get("/v1/outcomes")).json()
    assert (body["fleet"]["deployments"], body["fleet"]["changeFailureRate"], body["groups"]) == (0, None, [])
    problem(await admin.get("/v1/outcomes", params={"by": "colour"}), 422, "invalid")
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    assert (await owner.get("/v1/outcomes")).status_code in (403, 404)


async def test_of_two_overlapping_rollouts_the_one_that_broke_tenants_is_blamed_by_both(api: Api, fleet: Fleet) -> None:
    odoo, other = await started(api), str(uuid.uuid4())
    fleet.run(
        "insert into rollouts select (jsonb_populate_record(r, jsonb_build_object('id', %s::text, 'app', 'proxy'))).* from rollouts r",
        other,
    )
    fleet.run("insert into leases (subject_kind, subject_id, holder) values ('rollout', %s, '')", other)
    fleet.tenants(many := [f"shop-{n}" for n in range(16)])
    for tenant in (*NAMES, *many):
        happened(fleet, other, tenant, "target-started", 30)
    for tenant in NAMES:
        happened(fleet, odoo, tenant, "target-started", 25)
    for tenant in NAMES[:3]:
        happened(fleet, odoo, tenant, "target-failed", 20, code="unhealthy")
    happened(fleet, odoo, "zed-fr", "target-rolling-back", 19, code="policy")
    fleet.run("update rollouts set started_at = now() - interval '31 minutes'")
    auditor = await api.as_("auditor")
    mine = (await auditor.get(f"/v1/rollouts/{odoo}/blame")).json()
    assert (mine["verdict"], mine["blamed"], mine["isThis"], mine["ill"]) == ("blamed", [f"rollout/{odoo}"], True, 3)
    assert [(v["tenants"], v["ill"]) for v in mine["votes"]] == [(4, 3), (20, 3)]
    its = (await auditor.get(f"/v1/rollouts/{other}/blame")).json()
    assert (its["blamed"], its["isThis"], its["complete"]) == ([f"rollout/{odoo}"], False, True)


async def test_a_change_of_the_cluster_stands_among_those_voted_on(api: Api, fleet: Fleet) -> None:
    odoo = await started(api)
    fleet.run(
        "insert into history (subject_kind, subject_id, seq, type, at)"
        " values ('cluster', 'aks-1', 9, 'dev.seawall.cluster.changed.v1', now() - interval '21 minutes')"
    )
    happened(fleet, odoo, "acme-de", "target-started", 25)
    happened(fleet, odoo, "acme-de", "target-failed", 20, code="unhealthy")
    fleet.run("update rollouts set started_at = now() - interval '31 minutes'")
    auditor = await api.as_("auditor")
    body = (await auditor.get(f"/v1/rollouts/{odoo}/blame")).json()
    assert (body["verdict"], body["blamed"]) == ("unclear", [])
    assert {v["change"] for v in body["votes"]} == {f"rollout/{odoo}", "cluster/aks-1@9"}


async def test_blame_of_no_rollout_is_not_found_and_a_rollout_without_failures_blames_nobody(
    api: Api, fleet: Fleet
) -> None:
    auditor = await api.as_("auditor")
    problem(await auditor.get(f"/v1/rollouts/{uuid.uuid4()}/blame"), 404, "not-found")
    body = (await auditor.get(f"/v1/rollouts/{await started(api)}/blame")).json()
    assert (body["verdict"], body["votes"]) == ("nobody", [])
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    assert (await owner.get(f"/v1/rollouts/{uuid.uuid4()}/blame")).status_code in (403, 404)


async def test_outcomes_are_given_per_module_and_say_who_was_restored_lately(api: Api, fleet: Fleet) -> None:
    rollout = await started(api)
    fleet.run(
        """update releases set spec = spec || '{"modules": ["stock_account", "sale"]}' where version = '17.0.4'"""
    )
    for tenant in NAMES[:2]:
        happened(fleet, rollout, tenant, "target-started", 60)
        happened(fleet, rollout, tenant, "target-verified", 50)
    operator = await api.as_("operator")
    old, new = (datetime.now(UTC) - timedelta(days=d) for d in (31, 3))
    drills = {"acme-de": ("succeeded", new), "acme-fr": ("failed", new), "zed-de": ("succeeded", old)}
    for tenant, (result, at) in drills.items():
        body = {"startedAt": at.isoformat(), "endedAt": at.isoformat(), "result": result}
        path = f"/v1/tenants/{tenant}/environments/production/restore-drills/monthly"
        assert (await operator.put(path, json=body)).status_code == 201
    found = (await operator.get("/v1/outcomes", params={"by": "module"})).json()
    assert [(g["name"], g["deployments"], g["restoreDrills"]) for g in found["groups"]] == [
        ("sale", 2, None),
        ("stock_account", 2, None),
    ]
    assert (found["fleet"]["deployments"], found["restoreDrills"]) == (2, 0.25)
    tenants = (await operator.get("/v1/outcomes", params={"by": "tenant"})).json()["groups"]
    assert {g["name"]: g["restoreDrills"] for g in tenants} == {"acme-de": 1.0, "acme-fr": 0.0}
