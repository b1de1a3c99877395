"""The relay on real PostgreSQL and a real nats-server: nothing lost, nothing twice, whatever goes away."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import orjson
import pytest

from controlplane.adapters.cel import Cel
from controlplane.adapters.nats import NatsBus, NatsRole
from controlplane.adapters.postgres.database import Database, Urls
from controlplane.adapters.postgres.listen import OUTBOX_CHANNEL, listen
from controlplane.ports.bus import BusUnavailableError, Queue
from tests.plugins.bus import NatsFixture
from tests.plugins.database import Database as DatabaseUrls
from tests.waiting import until
from workers.relay import HOLD, Relay

ROLLOUT = "01990000-0000-7000-8000-000000000001"


@pytest.fixture
async def pools(database: DatabaseUrls) -> AsyncIterator[Database]:
    """Transactions as each role."""
    made = Database(Urls(platform=database.platform, tenant=database.tenant, engine=database.engine))
    yield made
    await made.close()


@pytest.fixture
def relay(pools: Database, nats: NatsFixture) -> Relay:
    return Relay(pools.engine, nats.bus(NatsRole.RELAY), Cel())


async def wake(pools: Database, *subjects: str) -> None:
    async with pools.platform() as uow:
        for subject in subjects:
            await uow.wake("rollout", subject, tenant="acme")


async def record(pools: Database, *changes: str) -> None:
    async with pools.engine() as uow:
        for change in changes:
            await uow.record("rollout", ROLLOUT, change, tenant="acme", data={"wave": 1})


async def depth(pools: Database) -> int:
    async with pools.engine() as uow:
        return await uow.outbox.depth(1000)


async def stored(nats: NatsFixture, stream: str) -> int:
    client = await nats.bus(NatsRole.RELAY).client()
    return int((await client.jetstream().stream_info(stream)).state.messages)


async def until_empty(pools: Database) -> None:
    async def empty() -> bool:
        return await depth(pools) == 0

    await until(empty)


async def test_what_was_committed_arrives_and_leaves_the_outbox(
    relay: Relay, pools: Database, nats: NatsFixture
) -> None:
    subject = str(uuid.uuid4())
    await wake(pools, subject)
    assert await relay.step() == 1
    assert await depth(pools) == 0
    message = await asyncio.wait_for(anext(aiter(nats.bus(NatsRole.WORK).take(Queue.WAKEUPS))), 30)
    assert orjson.loads(message.body) == {"kind": "rollout", "id": subject}
    assert message.subject == "sw.intent.acme.rollout"


async def test_what_was_rolled_back_never_arrives(relay: Relay, pools: Database) -> None:
    with contextlib.suppress(RuntimeError):
        async with pools.platform() as uow:
            await uow.wake("rollout", "x")
            raise RuntimeError
    assert await relay.step() == 0


async def test_a_change_arrives_as_a_cloudevent_in_its_order(relay: Relay, pools: Database, nats: NatsFixture) -> None:
    await record(pools, "started", "paused", "resumed")
    await relay.step()
    client = await nats.bus(NatsRole.LISTENER).client()
    subscription = await client.jetstream().pull_subscribe("sw.event.acme.>", stream="SW_EVENT")
    messages = await subscription.fetch(3, timeout=30)
    headers = [m.headers or {} for m in messages]
    assert [h["ce-type"] for h in headers] == [f"dev.seawall.rollout.{c}.v1" for c in ("started", "paused", "resumed")]
    assert [h["ce-sequence"] for h in headers] == ["1", "2", "3"]
    assert [h["ce-id"] for h in headers] == [h["Nats-Msg-Id"] for h in headers]
    assert headers[0]["ce-source"] == f"/seawall/rollout/{ROLLOUT}"
    assert orjson.loads(messages[0].data) == {"wave": 1}


async def test_an_id_that_people_chose_can_t_forge_headers(relay: Relay, pools: Database, nats: NatsFixture) -> None:
    async with pools.engine() as uow:
        await uow.record("release", "odoo/1\r\nNats-Rollup: all é", "registered")
    await relay.step()
    client = await nats.bus(NatsRole.LISTENER).client()
    subscription = await client.jetstream().pull_subscribe("sw.event.>", stream="SW_EVENT")
    [message] = await subscription.fetch(1, timeout=30)
    headers = message.headers or {}
    assert headers["ce-subject"] == "odoo/1%0D%0ANats-Rollup:%20all%20%C3%A9"
    assert "Nats-Rollup" not in headers


async def test_an_event_with_much_data_says_where_to_read_it(relay: Relay, pools: Database, nats: NatsFixture) -> None:
    async with pools.engine() as uow:
        await uow.record("rollout", ROLLOUT, "started", data={"text": "x" * 100_000})
    await relay.step()
    assert await stored(nats, "SW_EVENT") == 1
    assert await depth(pools) == 0


async def test_nothing_is_lost_while_nats_is_away(relay: Relay, pools: Database, nats: NatsFixture) -> None:
    running = asyncio.create_task(relay.run())
    await wake(pools, "a")
    await until_empty(pools)
    nats.server.kill()
    await wake(pools, *(str(n) for n in range(50)))
    await record(pools, "started", "paused")
    relay.hint.set()
    with pytest.raises(BusUnavailableError):
        await NatsBus(nats.url, NatsRole.RELAY, seed=nats.seeds[NatsRole.RELAY]).publish([])
    assert await depth(pools) == 52
    nats.server.start()
    await until_empty(pools)
    relay.draining.set()
    await running
    assert await stored(nats, "SW_INTENT") == 51
    assert await stored(nats, "SW_EVENT") == 2


async def test_a_wiped_store_gets_its_streams_again_and_what_was_not_published(
    relay: Relay, pools: Database, nats: NatsFixture
) -> None:
    running = asyncio.create_task(relay.run())
    await wake(pools, "a")
    await until_empty(pools)
    nats.server.stop()
    nats.server.wipe()
    await wake(pools, "b", "c")
    nats.server.start()
    await until_empty(pools)
    relay.draining.set()
    await running
    assert await stored(nats, "SW_INTENT") == 2


async def test_two_relays_publish_each_row_once(pools: Database, nats: NatsFixture) -> None:
    relays = [Relay(pools.engine, nats.bus(NatsRole.RELAY), Cel()) for _ in range(2)]
    await wake(pools, *(str(n) for n in range(1200)))
    await asyncio.gather(*(relay.step() for relay in relays for _ in range(1)))
    await asyncio.gather(*(relay.step() for relay in relays))
    assert await depth(pools) == 0
    assert await stored(nats, "SW_INTENT") == 1200


async def test_a_row_whose_relay_died_is_taken_again_after_its_claim_ran_out(
    relay: Relay, pools: Database, nats: NatsFixture
) -> None:
    await wake(pools, "a")
    async with pools.engine() as uow:
        assert len(await uow.outbox.claim(10, HOLD)) == 1
    assert await relay.step() == 0
    async with pools.engine() as uow:
        assert await uow.outbox.depth(10) == 1
    await expire_claims(pools)
    assert await relay.step() == 1


async def expire_claims(pools: Database) -> None:
    from sqlalchemy import text

    async with pools.engine() as uow:
        await uow.session.execute(text("update outbox set claimed_until = now() - interval '1 s'"))


async def test_a_wake_up_is_heard_of_at_once_and_an_event_waits_for_the_poll(
    pools: Database, database: DatabaseUrls
) -> None:
    heard = asyncio.Semaphore(0)
    draining = asyncio.Event()
    listening = asyncio.create_task(listen(database.engine, OUTBOX_CHANNEL, heard.release, draining))
    await asyncio.wait_for(heard.acquire(), 30)
    await record(pools, "started")
    await wake(pools, "a")
    await asyncio.wait_for(heard.acquire(), 30)
    assert heard.locked()
    draining.set()
    await listening
