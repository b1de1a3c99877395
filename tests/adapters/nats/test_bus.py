"""Publishing and taking on a real server: repetitions, batches, refusals, a server that goes and comes back empty."""

from __future__ import annotations

import asyncio
import socket

import pytest
from nats.js.api import DiscardPolicy, RetentionPolicy

from controlplane.adapters.nats import NatsBus, NatsRole
from controlplane.ports.bus import MAX_MESSAGE_BYTES, Bus, BusUnavailableError, Message, Queue, Received
from tests.plugins.bus import NatsFixture
from tests.waiting import until


def intents(*numbers: int) -> list[Message]:
    return [
        Message(f"sw.intent.acme.t{n}", f"wake-{n}", str(n).encode(), {"traceparent": "00-a-b-01"}) for n in numbers
    ]


async def next_of(stream: object) -> Received:
    message = await asyncio.wait_for(anext(stream), 10)  # type: ignore[call-overload]  # an async iterator of a port
    assert message is not None
    return message  # type: ignore[no-any-return]  # as above


async def stored(bus: NatsBus, stream: str) -> int:
    info = await (await bus.client()).jetstream().stream_info(stream)
    return int(info.state.messages)


async def until_published(bus: Bus, messages: list[Message]) -> None:
    """What the relay does: the same messages again until they are confirmed."""

    async def confirmed() -> bool:
        try:
            await bus.ensure()
            await bus.publish(messages)
        except BusUnavailableError:
            return False
        return True

    await until(confirmed)


async def test_the_streams_are_as_promised_and_making_them_again_changes_nothing(nats: NatsFixture) -> None:
    relay = nats.bus(NatsRole.RELAY)
    await relay.ensure()
    info = await (await relay.client()).jetstream().stream_info("SW_INTENT")
    config = info.config
    assert config.retention == RetentionPolicy.LIMITS
    assert config.discard == DiscardPolicy.NEW
    assert (config.max_age, config.duplicate_window) == (72 * 3600, 600)
    assert config.max_msg_size == MAX_MESSAGE_BYTES
    assert config.deny_delete
    assert config.deny_purge


async def test_a_batch_arrives_whole_and_in_order(nats: NatsFixture) -> None:
    relay, work = nats.bus(NatsRole.RELAY), nats.bus(NatsRole.WORK)
    assert await relay.publish(intents(*range(150))) == {}
    stream = work.take(Queue.WAKEUPS)
    for number in range(150):
        message = await next_of(stream)
        assert message.body == str(number).encode()
        assert message.headers["traceparent"] == "00-a-b-01"
        await message.ack()


async def test_repeating_a_batch_or_parts_of_it_stores_nothing_twice(nats: NatsFixture) -> None:
    relay = nats.bus(NatsRole.RELAY)
    await relay.publish(intents(1, 2, 3))
    await relay.publish(intents(1, 2, 3))
    await relay.publish(intents(2))
    await relay.publish(intents(3, 4))
    assert await stored(relay, "SW_INTENT") == 4


async def test_a_message_that_is_too_large_is_named_and_holds_nobody_up(nats: NatsFixture) -> None:
    relay = nats.bus(NatsRole.RELAY)
    large = Message("sw.intent.acme.rollout", "large", b"x" * (MAX_MESSAGE_BYTES + 1))
    huge = Message("sw.intent.acme.rollout", "huge", b"x" * (2 * 1024 * 1024))
    refused = await relay.publish([*intents(1), large, huge, *intents(2)])
    assert set(refused) == {"large", "huge"}
    assert await stored(relay, "SW_INTENT") == 2


async def test_one_message_reaches_a_waiting_worker_at_once_and_one_worker_only(nats: NatsFixture) -> None:
    relay = nats.bus(NatsRole.RELAY)
    first, second = nats.bus(NatsRole.WORK).take(Queue.WAKEUPS), nats.bus(NatsRole.WORK).take(Queue.WAKEUPS)
    waiting = {asyncio.ensure_future(next_of(first)), asyncio.ensure_future(next_of(second))}
    await relay.publish(intents(7))
    done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    assert [t.result().body for t in done] == [b"7"]
    assert len(rest) == 1
    for task in rest:
        task.cancel()


async def test_what_is_put_off_comes_again_with_a_higher_count(nats: NatsFixture) -> None:
    await nats.bus(NatsRole.RELAY).publish(intents(1))
    stream = nats.bus(NatsRole.WORK).take(Queue.WAKEUPS)
    first = await next_of(stream)
    assert first.deliveries == 1
    await first.later(0.05)
    again = await next_of(stream)
    assert (again.body, again.deliveries) == (b"1", 2)
    await again.ack()


async def test_a_server_that_is_not_there_is_said_at_once(nats_server: NatsFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        bus = NatsBus(f"nats://127.0.0.1:{unused.getsockname()[1]}", NatsRole.RELAY)
        async with asyncio.timeout(10):
            with pytest.raises(BusUnavailableError):
                await bus.publish(intents(1))


async def test_messages_published_while_the_server_was_away_arrive_when_it_is_back(nats: NatsFixture) -> None:
    relay, work = nats.bus(NatsRole.RELAY), nats.bus(NatsRole.WORK)
    stream = work.take(Queue.WAKEUPS)
    await relay.publish(intents(1))
    await (await next_of(stream)).ack()
    nats.server.kill()
    with pytest.raises(BusUnavailableError):
        await relay.publish(intents(2, 3))
    nats.server.start()
    await until_published(relay, intents(2, 3))
    seen = [(await next_of(stream)).body for _ in range(2)]
    while b"3" not in seen:  # an acknowledgement that the crash ate brings message 1 once more
        seen.append((await next_of(stream)).body)
    assert [body for body in seen if body != b"1"] == [b"2", b"3"]
    assert await stored(relay, "SW_INTENT") == 3


async def test_a_wiped_store_is_made_again_and_a_worker_that_waited_gets_what_follows(nats: NatsFixture) -> None:
    relay, work = nats.bus(NatsRole.RELAY), nats.bus(NatsRole.WORK)
    stream = work.take(Queue.WAKEUPS)
    await relay.publish(intents(1))
    await (await next_of(stream)).ack()
    nats.server.stop()
    nats.server.wipe()
    nats.server.start()
    await until_published(relay, intents(2))
    assert (await next_of(stream)).body == b"2"
