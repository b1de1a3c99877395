"""Relay, API, NATS and PostgreSQL killed while rollouts run: what was accepted is still there, and once."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import httpx
import psycopg
import pytest

from controlplane.adapters.embedded.postgres import EmbeddedPostgres, temporary
from controlplane.adapters.nats import NatsRole
from controlplane.adapters.postgres import migrate
from controlplane.services.keys import KeyWish, issue_key
from tests.plugins.bus import NatsFixture
from tests.plugins.database import Database
from tests.support.history_checker import Pause
from tests.support.processes import until

from .conftest import Field, driving, in_waves, simulated_field, standing_by

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


def start_as_promoted_standby(server: EmbeddedPostgres) -> None:
    """Start as a standby of nobody and promote: PostgreSQL begins a new timeline, as after a failover."""
    note = server.data / "standby.signal"
    note.touch()
    shutil.chown(note, server.data.owner(), server.data.group())
    server.start()
    with psycopg.connect(server.url(), autocommit=True) as db:
        db.execute("select pg_promote()")


async def test_a_postgresql_that_crashed_and_failed_over_finds_every_rollout_where_it_was(tmp_path: Path) -> None:
    server = temporary(durable=True)
    try:
        with server:
            migrate.upgrade(server.url())
            migrate.set_role_passwords(server.url(), None)
            urls = {role: server.url(user=f"sw_{role}") for role in ("platform", "tenant", "engine")}
            async with simulated_field(Database(owner=server.url(), **urls), tmp_path) as field:
                field.rows.config("strategies", "waves", in_waves(1, limit=1))
                field.rows.release("1.0")
                await field.tenants(6)
                rollout = await field.start("1.0", "waves")
                worker = await driving(field, "worker")
                await until(
                    lambda: list(field.targets(rollout).values()).count("verified") >= 2, what="two are verified"
                )
                server.kill()
                start_as_promoted_standby(server)
                assert await field.over(rollout) == ["succeeded"]
                assert worker.running()
                assert field.rows.ask("select max(epoch) >= 2::bigint << 40 from environments") == [(True,)]
                assert set(field.targets(rollout).values()) == {"verified"}
                field.check()
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


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
