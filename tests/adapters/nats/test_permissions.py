"""What each role may do on the bus, asked of the real server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats as nats_client
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from controlplane.adapters.nats import NatsRole
from controlplane.adapters.nats.permissions import inbox_prefix
from tests.plugins.bus import NatsFixture


class Session:
    """A raw connection as a role, which notes what the server denied."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.denied: asyncio.Queue[str] = asyncio.Queue()

    async def note(self, error: Exception) -> None:
        self.denied.put_nowait(str(error).lower())


async def connect(nats: NatsFixture, role: NatsRole) -> Session:
    session = Session(Client())
    await session.client.connect(
        [nats.url], nkeys_seed=str(nats.seeds[role]), inbox_prefix=inbox_prefix(role), error_cb=session.note
    )
    return session


async def denied_publish(session: Session, subject: str) -> str:
    await session.client.publish(subject, b"{}")
    await session.client.flush()
    return await asyncio.wait_for(session.denied.get(), 30)


ALL_BUT_RELAY = [r for r in NatsRole if r is not NatsRole.RELAY]


@pytest.mark.parametrize("subject", ["sw.intent.acme.rollout", "sw.event.acme.rollout.started"])
@pytest.mark.parametrize("role", ALL_BUT_RELAY)
async def test_only_the_relay_publishes_intents_and_events(nats: NatsFixture, role: NatsRole, subject: str) -> None:
    session = await connect(nats, role)
    assert "permissions violation for publish" in await denied_publish(session, subject)
    await session.client.close()


async def test_the_relay_publishes_both(nats: NatsFixture) -> None:
    session = await connect(nats, NatsRole.RELAY)
    jetstream = session.client.jetstream()
    assert (await jetstream.publish("sw.intent.acme.rollout", b"{}")).stream == "SW_INTENT"
    assert (await jetstream.publish("sw.event.acme.rollout.started", b"{}")).stream == "SW_EVENT"
    await session.client.close()


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.API.STREAM.DELETE.SW_INTENT",
        "$JS.API.STREAM.PURGE.SW_INTENT",
        "$JS.API.STREAM.CREATE.SW_INTENT",
        "$JS.API.STREAM.MSG.DELETE.SW_INTENT",
        "$JS.API.CONSUMER.CREATE.SW_INTENT.mine",
        "$JS.API.CONSUMER.DELETE.SW_INTENT.wakeups",
        "sw.in.github",
        "$JS.API.CONSUMER.MSG.NEXT.SW_IN.inbound",
    ],
)
async def test_a_worker_only_takes_wakeups(nats: NatsFixture, subject: str) -> None:
    session = await connect(nats, NatsRole.WORK)
    assert "permissions violation for publish" in await denied_publish(session, subject)
    await session.client.close()


@pytest.mark.parametrize("role", [NatsRole.API, NatsRole.WORK, NatsRole.SENDER])
@pytest.mark.parametrize("subject", ["sw.intent.>", "sw.event.>", "sw.in.>", "_INBOX_relay.>", ">"])
async def test_nobody_listens_beside_his_own_inbox(nats: NatsFixture, role: NatsRole, subject: str) -> None:
    session = await connect(nats, role)
    await session.client.subscribe(subject)
    await session.client.flush()
    assert "permissions violation for subscription" in await asyncio.wait_for(session.denied.get(), 30)
    await session.client.close()


async def test_a_stream_can_neither_be_purged_nor_deleted_even_by_the_relay(nats: NatsFixture) -> None:
    session = await connect(nats, NatsRole.RELAY)
    for verb in ("PURGE", "DELETE"):
        assert "permissions violation" in await denied_publish(session, f"$JS.API.STREAM.{verb}.SW_INTENT")
    await session.client.close()


async def test_without_a_key_nobody_connects(nats: NatsFixture, tmp_path: Path) -> None:
    with pytest.raises(nats_client.errors.Error):
        await nats_client.connect(nats.url, allow_reconnect=False)


async def test_a_listener_reads_events_but_no_intents(nats: NatsFixture) -> None:
    relay, listener = await connect(nats, NatsRole.RELAY), await connect(nats, NatsRole.LISTENER)
    await relay.client.jetstream().publish("sw.event.acme.rollout.started", b"hello")
    subscription = await listener.client.jetstream().pull_subscribe("sw.event.acme.>", stream="SW_EVENT")
    [message] = await subscription.fetch(1, timeout=30)
    assert message.data == b"hello"
    assert "permissions violation" in await denied_publish(listener, "$JS.API.STREAM.INFO.SW_INTENT")
    await relay.client.close()
    await listener.client.close()


async def test_the_api_can_ask_whether_the_streams_are_there(nats: NatsFixture) -> None:
    await nats.bus(NatsRole.API).check()
    session = await connect(nats, NatsRole.API)
    with pytest.raises((TimeoutError, NotFoundError, nats_client.errors.Error)):
        await session.client.jetstream(timeout=0.3).stream_info("SW_EVENT")
    await session.client.close()
