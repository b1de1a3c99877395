"""Relay, API and NATS killed while rollouts run: what was accepted is still there, and once."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
import yaml

from controlplane.adapters.nats import NatsRole
from controlplane.domain.events import CloudEvent
from controlplane.ports.stores.events import NewEvent
from controlplane.services.events.receive import receive
from controlplane.services.keys import KeyWish, issue_key
from tests.plugins.bus import NatsFixture
from tests.support.history_checker import Pause
from tests.support.processes import tail, until

from .conftest import Field, driving, in_waves, standing_by

pytestmark = pytest.mark.kill


def on_bus(nats: NatsFixture, role: NatsRole) -> dict[str, str]:
    """What a process of that role needs to know of NATS."""
    return {"SEAWALL_NATS_URL": nats.url, "SEAWALL_NATS_CREDENTIALS": str(nats.seeds[role])}


def outbox(field: Field) -> int:
    """Rows that nobody has carried to the bus."""
    return int(field.rows.ask("select count(*) from outbox")[0][0])


async def test_an_api_killed_after_its_commit_gives_the_first_answer_to_the_same_key(playground: Field) -> None:
    playground.rows.release("1.0")
    await playground.tenants(2)
    wish = KeyWish("test", frozenset({"platform-admin"}), frozenset(), frozenset(), timedelta(days=1))
    async with playground.transactions.platform() as uow:
        secret = (await issue_key(uow, wish, actor="tests"))[1]
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "once-only"}
    body = {"release": "odoo/1.0", "strategy": "all"}
    victim = await playground.processes.api("victim", fault="api:after-commit")
    async with httpx.AsyncClient(headers=headers, timeout=30, trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(f"{victim}/v1/rollouts", json=body)
        heir = await playground.processes.api("heir")
        again = await client.post(f"{heir}/v1/rollouts", json=body)
    assert again.status_code == 202, again.text
    assert again.headers["Idempotency-Replayed"] == "true"
    assert playground.rows.ask("select id::text from rollouts") == [(again.json()["id"],)]


async def test_a_worker_killed_after_it_turned_an_event_into_a_rollout_starts_no_second_one(playground: Field) -> None:
    playground.rows.release("1.0")
    await playground.tenants(2)
    release = {"app": "odoo", "version": "${event.data.tag}"}
    wish = {"environment": "production", "selector": "", "strategy": "all"}
    trigger = {"source": "/ci", "filter": "true", "release": release, "rollout": wish, "mode": "start"}
    playground.rows.config("triggers", "odoo-stable", trigger)
    event = CloudEvent(id="e-1", source="/ci", type="release.published", data={"tag": "1.0"})
    async with playground.transactions.platform() as uow:
        await receive(uow, [NewEvent(event, received_from="api:ci")])
    await playground.processes.ended(playground.processes.worker("dying", fault="events:after-commit:1"))
    started = playground.rows.ask("select id from rollouts")
    assert len(started) == 1
    playground.processes.worker("heir")
    assert await playground.over(started[0][0]) == ["succeeded"]
    assert playground.rows.ask("select id from rollouts") == started
    playground.check()


async def test_rollouts_go_on_without_nats_and_wake_ups_come_back_after_its_store_was_wiped(
    playground: Field, nats: NatsFixture
) -> None:
    playground.rows.release("1.0")
    playground.rows.release("2.0")
    await playground.tenants(3)
    playground.processes.relay(**on_bus(nats, NatsRole.RELAY))
    await standing_by(playground, "worker", **on_bus(nats, NatsRole.WORK))
    nats.server.kill()
    first = await playground.start("1.0")
    assert await playground.over(first) == ["succeeded"]
    assert outbox(playground) > 0
    nats.server.wipe()
    nats.server.start()
    second = await playground.start("2.0")
    assert await playground.over(second) == ["succeeded"]
    await until(lambda: outbox(playground) == 0, what="the relay makes its streams again and empties the outbox")
    playground.check()


async def test_a_pause_holds_through_the_death_of_its_driver(playground: Field) -> None:
    playground.rows.config("strategies", "slowly", in_waves(limit=1))
    playground.rows.release("1.0")
    await playground.tenants(5)
    rollout = await playground.start("1.0", "slowly")
    first = await driving(playground, "first")
    await until(lambda: "verified" in playground.targets(rollout).values(), what="one is verified")
    answered = await playground.command(rollout, "pause")
    first.kill()
    await driving(playground, "second")
    settled = {"pending", "verified"}
    await until(lambda: set(playground.targets(rollout).values()) <= settled, what="what was in flight finishes")
    assert playground.state(rollout) == "paused"
    resumed = playground.rows.ask("select clock_timestamp()")[0][0]
    await playground.command(rollout, "resume")
    assert await playground.over(rollout) == ["succeeded"]
    playground.check(Pause(rollout, answered, resumed))


async def test_an_older_worker_leaves_newer_plans_to_a_newer_one(playground: Field) -> None:
    playground.rows.release("1.0")
    playground.rows.release("2.0")
    await playground.tenants(2)
    newer, older = await playground.start("1.0"), await playground.start("2.0")
    playground.rows.run(
        "update rollouts set schema_version = 0, due_at = now() + interval '1 millisecond' where id = %s", older
    )
    await driving(playground, "older", SEAWALL_PLAN_SCHEMA="0")
    assert {claim.rollout for claim in playground.processes.claims()} == {str(older)}
    assert playground.state(newer) == "planned"
    await driving(playground, "newer")
    assert await playground.over(newer, older) == ["succeeded", "succeeded"]
    assert {c.worker for c in playground.processes.claims() if c.rollout == str(newer)} == {"newer"}
    playground.check()


async def test_a_worker_told_to_serve_some_clusters_leaves_the_others_rollouts_to_those_who_serve_them(
    playground: Field,
) -> None:
    access = yaml.safe_load(playground.processes.clusters.read_text())
    playground.processes.clusters.write_text(yaml.safe_dump({**access, "aks-2": access["aks-1"]}))
    playground.rows.release("1.0")
    await playground.tenants(2)
    rollout = await playground.start("1.0")
    elsewhere = playground.processes.start("elsewhere", "work", {}, "--clusters", "aks-2")
    await until(lambda: "worker started" in tail(elsewhere), what="it has started")
    tried = "select due_at < now() - interval '3 seconds' from rollouts where id = %s"
    await until(lambda: playground.rows.ask(tried, rollout) == [(True,)], what="it had time to take it")
    assert playground.processes.claims() == []
    playground.processes.start("here", "work", {}, "--clusters", "aks-1,aks-2")
    assert await playground.over(rollout) == ["succeeded"]
    assert {claim.worker for claim in playground.processes.claims()} == {"here"}
    playground.check()


async def test_a_worker_that_only_lost_its_guards_session_takes_it_again_and_keeps_its_rollout(
    playground: Field,
) -> None:
    soak = {"waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT4S", "samples": 1}}]}
    playground.rows.config("strategies", "soaks", {**soak, "limits": {"inFlight": "100%"}})
    playground.rows.release("1.0")
    await playground.tenants(2)
    rollout = await playground.start("1.0", "soaks")
    await driving(playground, "holder")
    await standing_by(playground, "other")
    guards = "select pid from pg_stat_activity where application_name = 'seawall-guard' and state = 'idle'"

    def guarding() -> set[int]:
        return {pid for (pid,) in playground.rows.ask(guards)}

    await until(lambda: len(guarding()) == 2, what="both guard")
    before = guarding()
    playground.rows.run(f"select pg_terminate_backend(pid) from ({guards}) g")
    await until(lambda: len(guarding() - before) == 2, what="both guard again")
    assert await playground.over(rollout) == ["succeeded"]
    assert playground.rows.ask("select epoch from leases where subject_id = %s", rollout) == [(1,)], "nobody took it"
    playground.check()
