"""Judging over many rollouts, over a real registry and its history."""

from __future__ import annotations

import json
import uuid

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
    assert body["restoreDrills"] is None


async def test_outcomes_without_history_say_nothing_and_a_tenants_owner_sees_none(api: Api, fleet: Fleet) -> None:
    admin = await api.as_("platform-admin")
    body = (await admin.get("/v1/outcomes")).json()
    assert (body["fleet"]["deployments"], body["fleet"]["changeFailureRate"], body["groups"]) == (0, None, [])
    problem(await admin.get("/v1/outcomes", params={"by": "colour"}), 422, "invalid")
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    assert (await owner.get("/v1/outcomes")).status_code in (403, 404)
