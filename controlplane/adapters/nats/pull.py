"""A pull consumer that hands out each message as it arrives.

nats-py's `fetch(n)` waits until its timeout for the rest of a batch once the first message has come, and leaves requests behind on the
server (nats.py#933); so this keeps exactly one open request of its own, with a heartbeat that tells a quiet queue from a lost one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

BATCH: Final = 64
EXPIRES_SECONDS: Final = 30.0
HEARTBEAT_SECONDS: Final = 1.0
_HEARTBEAT = "100"
_NANO = 1_000_000_000


class NatsMessage:
    """See `controlplane.ports.bus.Received`."""

    def __init__(self, message: Msg) -> None:
        self._message = message

    @property
    def subject(self) -> str:
        """Where it was published."""
        return self._message.subject

    @property
    def body(self) -> bytes:
        """Its content."""
        return self._message.data

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        return self._message.headers or {}

    @property
    def deliveries(self) -> int:
        """How often it was handed out."""
        return int(self._message.metadata.num_delivered or 1)

    async def ack(self) -> None:
        """Done."""
        await self._message.ack()

    async def later(self, seconds: float) -> None:
        """Not now."""
        await self._message.nak(delay=seconds)

    async def drop(self) -> None:
        """Never."""
        await self._message.term()


async def pull(client: Client, stream: str, consumer: str) -> AsyncGenerator[NatsMessage]:
    """Messages of a durable consumer. Raises nats errors when the connection is lost for good."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    try:
        while not client.is_closed:
            async for message in _one_request(
                client, subscription, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", inbox
            ):
                yield NatsMessage(message)
    finally:
        if client.is_connected:
            await subscription.unsubscribe()


async def _one_request(client: Client, subscription: Subscription, subject: str, inbox: str) -> AsyncIterator[Msg]:
    """Ask for up to BATCH messages; ends when they came, the request expired, or nothing was heard for two heartbeats."""
    request = {
        "batch": BATCH,
        "expires": int(EXPIRES_SECONDS * _NANO),
        "idle_heartbeat": int(HEARTBEAT_SECONDS * _NANO),
    }
    await client.publish(subject, orjson.dumps(request), inbox)
    left, heard = BATCH, time.monotonic()
    while left:
        try:
            message = await subscription.next_msg(timeout=HEARTBEAT_SECONDS)
        except (TimeoutError, nats.errors.TimeoutError):
            if time.monotonic() - heard > 2 * HEARTBEAT_SECONDS:
                return
            continue
        heard = time.monotonic()
        status = _status(message)
        if not status:
            left -= 1
            yield message
        elif status != _HEARTBEAT:
            await _pause_after(status)
            return


def _status(message: Msg) -> str:
    """The status code of a message of the server's own; empty for a message of the stream."""
    if message.reply or not message.headers:
        return ""
    return str(message.headers.get("Status", ""))


async def _pause_after(status: str) -> None:
    """404 and 408 end a request in the ordinary way; anything else (409, 503) says that the queue is away for the moment."""
    if status not in ("404", "408"):
        await asyncio.sleep(0.2)
