"""Two rollouts overlap and one breaks the shops, over real processes: PostgreSQL, NATS, relay, API and workers, one of which is killed."""

from __future__ import annotations

import signal
import uuid
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from controlplane.adapters.nats import NatsRole
from controlplane.cli.client import Client
from controlplane.cli.profile import Profile
from controlplane.cli.why import explain
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.keys import KeyWish, issue_key
from controlplane.services.rollouts.start import plan_and_start
from tests.plugins.bus import NatsFixture
from tests.support.charts import DEPLOYMENT, chart
from tests.support.processes import until
from tests.support.query_api import query_api, vector

from .conftest import SOON, Field, standing_by
from .test_parts_away import on_bus, outbox

pytestmark = pytest.mark.kill

SYNC = {"sync.yaml": DEPLOYMENT.replace("name: web", "name: sync").replace("app: web", "app: sync")}
APPROVED: dict[str, Any] = {
    "waves": [
        {
            "name": "first",
            "cut": {"selector": "ring=first"},
            **SOON,
            "after": [{"approval": {"group": "business", "count": 1}}],
        },
        {"name": "rest", "cut": {"percent": "100%"}, **SOON},
    ],
    "limits": {"inFlight": "100%"},
}
WATCHED: dict[str, Any] = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT8S", "samples": 3}}],
    "limits": {"inFlight": "100%"},
    "success": {"maxFailures": 0},
    "during": [{"metric": {"query": "errors", "max": 0.01, "interval": "PT0.3S", "samples": 1}}],
}


async def start(field: Field, app: str, version: str, strategy: str) -> uuid.UUID:
    ask = Ask(RolloutRequest.model_validate({"release": f"{app}/{version}", "strategy": strategy}))
    return (await plan_and_start(field.tools, ask, actor="mia", origin={"kind": "person"})).id


async def fleet_of_two_apps(field: Field) -> tuple[list[str], list[str]]:
    """Three tenants of ring `first` and three others; both apps are released twice."""
    first = await field.tenants(3, labels={"ring": "first"})
    others = await field.tenants(3)
    field.rows.config("apps", "pos-sync", {})
    field.rows.config("strategies", "approved", APPROVED)
    field.rows.config("strategies", "watched", WATCHED)
    field.rows.also([*first, *others], "pos-sync")
    for version in ("1.0", "2.0"):
        field.rows.release(version)
        field.rows.release(version, chart(SYNC, values={"release": version}, base=False), app="pos-sync")
    return first, others


async def owner_of(field: Field, url: str, tenant: str) -> Client:
    """The command line's client as the tenant's owner."""
    wish = KeyWish("owner", frozenset({"tenant-owner"}), frozenset({tenant}), frozenset(), timedelta(days=1))
    async with field.transactions.platform() as uow:
        secret = (await issue_key(uow, wish, actor="tests"))[1]
    return Client(Profile(url, secret))


async def test_the_guilty_rollout_goes_back_the_other_finishes_and_the_owner_is_told_which_it_was(
    playground: Field, nats: NatsFixture
) -> None:
    first, others = await fleet_of_two_apps(playground)
    ill = False

    async def answer(_request: web.Request) -> web.StreamResponse:
        return vector(**dict.fromkeys(first, "0.3" if ill else "0.001"), **dict.fromkeys(others, "0.001"))

    async with query_api() as api:
        api.answer = answer
        env = {**on_bus(nats, NatsRole.WORK), "SEAWALL_METRICS_SOURCE": api.url}
        playground.processes.relay(**on_bus(nats, NatsRole.RELAY))
        await standing_by(playground, "one", **env)
        for app in ("odoo", "pos-sync"):
            assert await playground.over(await start(playground, app, "1.0", "all")) == ["succeeded"]
        playground.rows.run("update history set at = at - interval '7 days'")
        guilty = await start(playground, "pos-sync", "2.0", "approved")
        await until(
            lambda: {playground.targets(guilty)[t] for t in first} == {"verified"}, what="it changed the first three"
        )
        good = await start(playground, "odoo", "2.0", "watched")
        await until(lambda: set(playground.targets(good).values()) == {"soak"}, what="all six soak")
        ill = True
        halted = "select count(*) from commands where command = 'halt'"
        await until(lambda: playground.rows.ask(halted) == [(1,)], what="the vote halts the guilty one")
        playground.processes.children["one"].kill(signal.SIGKILL)
        await standing_by(playground, "two", **env)
        await until(lambda: {playground.targets(guilty)[t] for t in first} == {"rolledBack"}, what="it goes back")
        ill = False
        assert await playground.over(guilty, good) == ["failed", "succeeded"]
        assert set(playground.targets(good).values()) == {"verified"}
        assert {playground.targets(guilty)[t] for t in others} == {"cancelled"}
        assert playground.rows.ask(halted) == [(1,)], "the same vote halts once, whoever takes it"
        client = await owner_of(playground, await playground.processes.api(), first[0])
        why = explain(client, first[0], 50)
        said = [one["data"] for one in why["history"] if one["type"] == "dev.seawall.tenant.fellIll.v1"]
        assert said[0]["cause"].startswith("deploy of pos-sync 2.0")
        assert not any(name in str(why) for name in (*first[1:], *others)), "an owner reads of no other tenant"
        await until(partial(_carried, playground), what="what happened is on the bus")
    playground.check()


def _carried(field: Field) -> bool:
    return outbox(field) == 0
