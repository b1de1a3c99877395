"""`/readyz` says whether somebody may take the work that is left."""

from __future__ import annotations

import httpx

from controlplane.adapters.postgres.workers import tell_worker
from controlplane.domain.plans import PLAN_SCHEMA_VERSION
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.rollouts.start import plan_and_start
from tests.plugins.api import Api
from tests.support.registry import Fleet


async def workers(api: Api) -> dict[str, str]:
    answer: httpx.Response = await api.client().get("/readyz")
    assert answer.status_code == 200, "the API serves without workers"
    (part,) = [p for p in answer.json()["parts"] if p["name"] == "workers"]
    return {"state": part["state"], "detail": part["detail"]}


async def start(api: Api, fleet: Fleet) -> None:
    """A rollout to the fleet's four tenants, all on cluster aks-1."""
    ask = Ask(RolloutRequest.model_validate({"release": "odoo/17.0.4", "strategy": "all"}))
    await plan_and_start(api.container.rollout_tools, ask, actor="mia", origin={"kind": "person"})


async def test_without_work_no_worker_is_missed(api: Api) -> None:
    assert (await workers(api))["state"] == "notRequired"


async def test_a_rollout_that_no_live_worker_may_take_is_shown_with_its_clusters(api: Api, fleet: Fleet) -> None:
    await start(api, fleet)
    none = await workers(api)
    assert none["state"] == "away"
    assert "1 rollouts" in none["detail"]
    assert "aks-1" in none["detail"]
    await tell_worker(api.container.database, "elsewhere", "1", PLAN_SCHEMA_VERSION, ["aks-2"])
    assert (await workers(api))["state"] == "away"
    await tell_worker(api.container.database, "older", "1", PLAN_SCHEMA_VERSION - 1, [])
    assert (await workers(api))["state"] == "away"
    await tell_worker(api.container.database, "near", "1", PLAN_SCHEMA_VERSION, ["aks-1", "aks-2"])
    assert await workers(api) == {"state": "ok", "detail": "3 live"}


async def test_a_worker_not_heard_of_for_a_while_does_not_count(api: Api, fleet: Fleet) -> None:
    await start(api, fleet)
    await tell_worker(api.container.database, "near", "1", PLAN_SCHEMA_VERSION, [])
    assert (await workers(api))["state"] == "ok"
    fleet.run("update workers set seen_at = now() - interval '20 seconds'")
    assert (await workers(api))["state"] == "away"
