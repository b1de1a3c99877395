"""Events in from a real nats-server: stored before they are acknowledged, repeated without harm, never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from controlplane.adapters.nats import NatsRole
from controlplane.adapters.postgres.database import Database, Urls
from tests.plugins.bus import NatsFixture
from tests.plugins.database import Database as DatabaseUrls
from tests.support.registry import Fleet
from tests.waiting import until
from workers.inbound import UNREADABLE_TYPE, Inbound

EVENT = {"specversion": "1.0", "id": "1", "source": "/ci", "type": "release.published", "data": {"tag": "17.0.4"}}
STRUCTURED = {"content-type": "application/cloudevents+json"}


class World:
    """The registry, a sender, and the loop between them."""

    def __init__(self, database: DatabaseUrls, nats: NatsFixture) -> None:
        self.pools = Database(Urls(engine=database.engine))
        self.nats = nats
        self.registry = Fleet(database.owner)
        self.draining = asyncio.Event()

    async def send(self, body: Any, headers: dict[str, str] | None = None, subject: str = "sw.in.ci") -> None:
        client = await self.nats.bus(NatsRole.SENDER).client()
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        await client.jetstream().publish(subject, content, headers=STRUCTURED if headers is None else headers)

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(Inbound(self.pools.engine, self.nats.bus(NatsRole.RELAY)).run(self.draining))

    def stored(self) -> list[tuple[Any, ...]]:
        return self.registry.ask("select source, id, type, state from inbound_events order by received_at, id")

    async def until_stored(self, count: int) -> None:
        await until(lambda: asyncio.sleep(0, len(self.stored()) == count))

    async def settled(self) -> None:
        """Everything sent was acknowledged."""

        async def nothing_pending() -> bool:
            client = await self.nats.bus(NatsRole.RELAY).client()
            info = await client.jetstream().consumer_info("SW_IN", "inbound")
            return not info.num_ack_pending and not info.num_pending

        await until(nothing_pending)


@pytest.fixture
async def world(database: DatabaseUrls, nats: NatsFixture) -> AsyncIterator[World]:
    made = World(database, nats)
    yield made
    made.draining.set()
    await made.pools.close()


async def test_structured_binary_and_batch_are_stored(world: World) -> None:
    world.start()
    await world.send(EVENT)
    attributes = {f"ce-{k}": str(v) for k, v in {**EVENT, "id": "2"}.items() if k != "data"}
    await world.send(EVENT["data"], {"content-type": "application/json", **attributes})
    await world.send([{**EVENT, "id": "3"}], {"content-type": "application/cloudevents-batch+json"})
    await world.until_stored(3)
    assert {row[1] for row in world.stored()} == {"1", "2", "3"}
    assert world.registry.ask("select distinct received_from from inbound_events") == [("bus:ci",)]


async def test_a_repetition_is_one_event(world: World) -> None:
    world.start()
    for _ in range(3):
        await world.send(EVENT)
    await world.settled()
    assert len(world.stored()) == 1


@pytest.mark.parametrize("body", [b"no json", b"{}", orjson.dumps({**EVENT, "id": ""}), b"\x00\xff"])
async def test_what_is_no_event_is_a_dead_letter_and_what_follows_is_stored(world: World, body: bytes) -> None:
    world.start()
    await world.send(body)
    await world.send(EVENT)
    await world.until_stored(2)
    await world.settled()
    assert [(row[2], row[3]) for row in world.stored()] == [
        (UNREADABLE_TYPE, "dead"),
        ("release.published", "received"),
    ]


async def test_the_same_id_with_other_content_is_a_dead_letter_and_the_first_stands(world: World) -> None:
    world.start()
    await world.send(EVENT)
    await world.send({**EVENT, "data": {"tag": "6.6.6"}})
    await world.until_stored(2)
    assert world.registry.ask("select data->>'tag' from inbound_events where source = '/ci'") == [("17.0.4",)]
    codes = world.registry.ask("select fate->0->>'code' from inbound_events where state = 'dead'")
    assert codes == [("event-id-reused",)]


async def test_a_message_that_was_stored_but_not_acknowledged_changes_nothing_when_it_comes_again(world: World) -> None:
    stream = world.nats.bus(NatsRole.RELAY)
    await world.send(EVENT)
    inbound = Inbound(world.pools.engine, stream)
    from controlplane.ports.bus import Queue

    messages = stream.take(Queue.INBOUND)
    first = await asyncio.wait_for(anext(messages), 30)
    await inbound._store(first, {k.lower(): v for k, v in first.headers.items()}, "ci")
    await messages.aclose()  # or else it comes again to whoever asks no more
    await first.later(0)
    world.start()
    await world.settled()
    assert len(world.stored()) == 1


async def test_events_sent_while_nobody_took_them_are_stored_later(world: World) -> None:
    await world.send(EVENT)
    await world.send({**EVENT, "id": "2"})
    world.start()
    await world.until_stored(2)
