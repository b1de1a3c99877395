"""kill -9 of a real relay process around each of its effects: nothing lost, nothing twice, the next one goes on."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.adapters.embedded.processes import Child
from controlplane.adapters.nats import NatsRole
from controlplane.adapters.postgres.database import Database, Urls
from tests.plugins.bus import NatsFixture
from tests.plugins.database import Database as DatabaseUrls
from tests.support.forked import ForkedChild
from tests.support.registry import Fleet
from tests.waiting import until

pytestmark = pytest.mark.kill
ROLLOUT = "01990000-0000-7000-8000-000000000001"


class World:
    """A database, a server, and relays that are started and die."""

    def __init__(self, database: DatabaseUrls, nats: NatsFixture, folder: Path) -> None:
        self.urls = database
        self.nats = nats
        self.folder = folder
        self.pools = Database(Urls(engine=database.engine))
        self.registry = Fleet(database.owner)
        self.children: list[Child] = []

    def relay(self, fault: str = "") -> Child:
        env = {
            "SEAWALL_DATABASE_URL_ENGINE": self.urls.engine,
            "SEAWALL_NATS_URL": self.nats.url,
            "SEAWALL_NATS_CREDENTIALS": str(self.nats.seeds[NatsRole.RELAY]),
            "SEAWALL_FAULT": fault,
        }
        child = ForkedChild("relay", ["relay"], self.folder / f"relay-{len(self.children)}.log", env=env)
        self.children.append(child)
        return child

    async def commit(self, rounds: int) -> None:
        for _ in range(rounds):
            async with self.pools.engine() as uow:
                await uow.wake("rollout", ROLLOUT)
                await uow.record("rollout", ROLLOUT, "changed", tenant="acme")

    async def until_dead(self, child: Child) -> None:
        async def dead() -> bool:
            return not child.running()

        await until(dead)
        assert child.process.returncode == -signal.SIGKILL, child.log.read_text()[-2000:]

    async def until_empty(self) -> None:
        async def empty() -> bool:
            return self.registry.ask("select count(*) from outbox") == [(0,)]

        await until(empty, 60)

    async def stored(self, stream: str) -> int:
        client = await self.nats.bus(NatsRole.RELAY).client()
        return int((await client.jetstream().stream_info(stream)).state.messages)


@pytest.fixture
async def world(database: DatabaseUrls, nats: NatsFixture, tmp_path: Path) -> AsyncIterator[World]:
    made = World(database, nats, tmp_path)
    yield made
    for child in made.children:
        child.stop(signal.SIGKILL)
    await made.pools.close()


@pytest.mark.parametrize("point", ["relay:after-claim", "relay:after-publish", "relay:after-delete"])
async def test_a_relay_killed_between_two_effects_loses_and_repeats_nothing(world: World, point: str) -> None:
    await world.commit(20)
    await world.until_dead(world.relay(point))
    await world.commit(5)
    world.relay()
    await world.until_empty()
    assert await world.stored("SW_INTENT") == 25
    assert await world.stored("SW_EVENT") == 25


async def test_a_relay_that_is_asked_to_end_ends_well(world: World) -> None:
    child = world.relay()
    await world.commit(3)
    await world.until_empty()
    child.kill(signal.SIGTERM)
    assert child.process.wait(20) == 0
