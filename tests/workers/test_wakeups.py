"""Wake-ups from a real nats-server to the runner: acknowledged when the lease is held or seen held, else they come again."""

from __future__ import annotations

import asyncio
import gc
import uuid
from collections.abc import AsyncIterator

import orjson
import pytest

from controlplane.adapters.nats import NatsRole
from controlplane.domain.errors import DependencyError
from controlplane.ports.bus import Message
from tests.plugins.bus import NatsFixture
from tests.waiting import until
from workers.wakeups import Wakeups

ROLLOUT = uuid.UUID("01990000-0000-7000-8000-000000000001")


class Driver:
    """What stands where the runner stands: answers as it is told, and notes what it was asked."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, uuid.UUID]] = []
        self.events = 0

    async def nudge(self, kind: str, subject_id: uuid.UUID) -> bool:
        self.asked.append((kind, subject_id))
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    def event(self) -> None:
        self.events += 1


@pytest.fixture
async def draining() -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()
    yield event
    event.set()


def message(kind: str = "rollout", subject: str = str(ROLLOUT), number: int = 1) -> Message:
    return Message(f"sw.intent.acme.{kind}", f"wake-{number}", orjson.dumps({"kind": kind, "id": subject}))


async def pending(nats: NatsFixture) -> int:
    client = await nats.bus(NatsRole.WORK).client()
    info = await client.jetstream().consumer_info("SW_INTENT", "wakeups")
    return int((info.num_ack_pending or 0) + (info.num_pending or 0))


async def run(nats: NatsFixture, driver: Driver, draining: asyncio.Event) -> asyncio.Task[None]:
    wakeups = Wakeups(nats.bus(NatsRole.WORK), driver.nudge, events=driver.event)
    return asyncio.create_task(wakeups.run(draining))


async def settled(nats: NatsFixture) -> None:
    async def nothing_pending() -> bool:
        return await pending(nats) == 0

    await until(nothing_pending)


async def test_a_wake_up_reaches_the_driver_and_is_acknowledged(nats: NatsFixture, draining: asyncio.Event) -> None:
    driver = Driver()
    running = await run(nats, driver, draining)
    await nats.bus(NatsRole.RELAY).publish([message()])
    await until(lambda: asyncio.sleep(0, driver.asked))
    await settled(nats)
    assert driver.asked == [("rollout", ROLLOUT)]
    draining.set()
    await running


@pytest.mark.parametrize("refusal", [False, DependencyError("PostgreSQL is away.")])
async def test_a_wake_up_that_nobody_could_follow_comes_again(
    nats: NatsFixture, draining: asyncio.Event, refusal: bool | Exception
) -> None:
    driver = Driver(refusal)
    await run(nats, driver, draining)
    await nats.bus(NatsRole.RELAY).publish([message()])
    await until(lambda: asyncio.sleep(0, len(driver.asked) == 2))
    await settled(nats)


async def test_what_can_t_be_read_is_dropped_and_what_follows_is_handled(
    nats: NatsFixture, draining: asyncio.Event
) -> None:
    driver = Driver()
    await run(nats, driver, draining)
    nonsense = [
        Message("sw.intent.x.y", f"bad-{n}", body)
        for n, body in enumerate((b"", b"[]", b'{"kind": "rollout", "id": "x"}'))
    ]
    await nats.bus(NatsRole.RELAY).publish([*nonsense, message()])
    await until(lambda: asyncio.sleep(0, driver.asked))
    await settled(nats)
    assert driver.asked == [("rollout", ROLLOUT)]


async def test_a_wake_up_of_an_event_goes_to_the_events_loop(nats: NatsFixture, draining: asyncio.Event) -> None:
    driver = Driver()
    await run(nats, driver, draining)
    await nats.bus(NatsRole.RELAY).publish([message("event", "any id at all")])
    await until(lambda: asyncio.sleep(0, driver.events))
    assert driver.asked == []
    await settled(nats)


async def test_draining_ends_the_loop_at_once_though_nothing_comes(nats: NatsFixture, draining: asyncio.Event) -> None:
    running = await run(nats, Driver(), draining)
    draining.set()
    await asyncio.wait_for(running, 5)


async def test_a_loop_that_is_cancelled_leaves_nothing_behind(nats: NatsFixture, draining: asyncio.Event) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    bus = nats.bus(NatsRole.WORK)
    running = asyncio.create_task(Wakeups(bus, Driver().nudge).run(draining))
    await bus.check()
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()
    gc.collect()
    await asyncio.sleep(0)
    asyncio.get_running_loop().set_exception_handler(None)
    assert running.cancelled()
    assert complaints == []
