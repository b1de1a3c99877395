"""The bus on nats-py. Its pitfalls that shape this file: the first publish after a reconnect may fail (nats.py#529: the caller repeats with
the same id), connecting does not give up by itself (#663), there is no interface for atomic batches.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from itertools import groupby
from pathlib import Path
from typing import Final

import nats
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext

from controlplane.domain.events_out import header_text
from controlplane.ports.bus import BusUnavailableError, Message, Queue, Received

from .permissions import NatsRole, inbox_prefix
from .pull import pull
from .streams import INTENTS, STREAM_OF, ensure_streams

log = structlog.get_logger(__name__)

CONNECT_SECONDS: Final = 5.0
PUBLISH_SECONDS: Final = 5.0
BATCH_LIMIT: Final = 500
"""Messages per atomic batch; the server allows 1,000."""

_NOT_THERE = (nats.errors.Error, OSError, TimeoutError, asyncio.TimeoutError)
_MESSAGE_TOO_LARGE = 10054


class NatsBus:
    """See `controlplane.ports.bus.Bus`. Connects at first use."""

    def __init__(
        self, url: str, role: NatsRole, *, seed: Path | None = None, name: str = "seawall", replicas: int = 1
    ) -> None:
        self._url = url
        self._role = role
        self._seed = seed
        self._name = name
        self._replicas = replicas
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def client(self) -> Client:
        """The connection. Raises BusUnavailableError at once while the server is away."""
        async with self._connecting:
            if self._client is None or self._client.is_closed:
                self._client = await self._connect()
        if not self._client.is_connected:
            raise BusUnavailableError("NATS is away; Seawall keeps trying, and nothing that was accepted is lost.")
        return self._client

    async def _connect(self) -> Client:
        client = Client()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.connect(
                    [self._url],
                    name=f"{self._name}-{self._role.value}",
                    nkeys_seed=str(self._seed) if self._seed else None,
                    inbox_prefix=inbox_prefix(self._role),
                    ping_interval=5,
                    max_outstanding_pings=2,
                    reconnect_time_wait=1,
                    max_reconnect_attempts=-1,
                    error_cb=_note,
                )
        except _NOT_THERE as error:
            await client.close()
            raise BusUnavailableError(f"NATS can't be reached ({type(error).__name__}).") from error
        return client

    async def ensure(self) -> None:
        """Create or update streams and queues."""
        jetstream = (await self.client()).jetstream()
        try:
            await ensure_streams(jetstream, self._replicas)
        except _NOT_THERE as error:
            raise BusUnavailableError(f"NATS did not set up its streams: {error}") from error

    async def publish(self, messages: Sequence[Message]) -> Mapping[str, str]:
        """Atomic batches per stream; one by one where the server refuses a batch (it holds a repetition)."""
        client = await self.client()
        jetstream = client.jetstream(timeout=PUBLISH_SECONDS)
        refused: dict[str, str] = {}
        try:
            for _, group in groupby(messages, key=lambda m: m.subject.split(".", 2)[1]):
                fitting = list(group)
                for start in range(0, len(fitting), BATCH_LIMIT):
                    refused |= await _publish_some(client, jetstream, fitting[start : start + BATCH_LIMIT])
        except _NOT_THERE as error:
            raise BusUnavailableError(f"NATS did not confirm the messages ({type(error).__name__}).") from error
        return refused

    async def take(self, queue: Queue) -> AsyncGenerator[Received]:
        """Messages as they come; see `pull`."""
        while not self._closed:
            try:
                async with aclosing(pull(await self.client(), STREAM_OF[queue], queue.value)) as messages:
                    async for message in messages:
                        yield message
            except (*_NOT_THERE, BusUnavailableError) as error:
                if self._is_closed():
                    return
                log.warning("messages can't be taken, will try again", queue=queue.value, error=str(error)[:200])
                await asyncio.sleep(0.5)

    def _is_closed(self) -> bool:
        return self._closed

    async def check(self) -> None:
        """Ask for the stream of intents where the role may, else for a round trip."""
        client = await self.client()
        try:
            if self._role in (NatsRole.API, NatsRole.RELAY):
                await client.jetstream(timeout=2).stream_info(INTENTS)
            else:
                await client.flush(2)
        except _NOT_THERE as error:
            raise BusUnavailableError(f"NATS does not answer ({type(error).__name__}).") from error

    async def close(self) -> None:
        """Flush and close."""
        self._closed = True
        if self._client is not None:
            await self._client.close()


async def _publish_some(client: Client, jetstream: JetStreamContext, messages: Sequence[Message]) -> dict[str, str]:
    if len(messages) > 1:
        try:
            await _publish_batch(client, messages)
        except nats.js.errors.APIError as error:
            # A batch is all or nothing: one repeated id (10201) or one message above the limit refuses all of it.
            log.debug("batch refused, publishing one by one", code=error.err_code)
        except (nats.errors.MaxPayloadError, nats.errors.NoRespondersError) as error:
            log.debug("batch not possible, publishing one by one", error=type(error).__name__)
        else:
            return {}
    answers = await asyncio.gather(*(_publish_one(jetstream, message) for message in messages))
    return {message.msg_id: answer for message, answer in zip(messages, answers, strict=True) if answer}


async def _publish_one(jetstream: JetStreamContext, message: Message) -> str:
    headers = {**message.headers, "Nats-Msg-Id": header_text(message.msg_id)}
    try:
        await jetstream.publish(message.subject, message.body, headers=headers)
    except nats.errors.MaxPayloadError:
        return "larger than the server's limit"
    except nats.js.errors.APIError as error:
        if error.err_code == _MESSAGE_TOO_LARGE:
            return "larger than the stream's limit"
        raise
    return ""


async def _publish_batch(client: Client, messages: Sequence[Message]) -> None:
    """Atomic batch publishing (NATS ADR-50, server 2.12): all but the last without an answer, the last commits."""
    batch = uuid.uuid4().hex
    for number, message in enumerate(messages, start=1):
        headers = {**message.headers, "Nats-Msg-Id": header_text(message.msg_id), "Nats-Batch-Id": batch}
        headers["Nats-Batch-Sequence"] = str(number)
        if number < len(messages):
            await client.publish(message.subject, message.body, headers=headers)
            continue
        headers["Nats-Batch-Commit"] = "1"
        answer = await client.request(message.subject, message.body, timeout=PUBLISH_SECONDS, headers=headers)
        _confirmed(answer.data)


def _confirmed(data: bytes) -> None:
    import orjson

    answer = orjson.loads(data)
    if "error" in answer:
        raise nats.js.errors.APIError.from_error(answer["error"])


async def _note(error: Exception) -> None:
    log.debug("NATS client", error=str(error)[:200], kind=type(error).__name__)
