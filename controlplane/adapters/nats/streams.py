"""The streams and queues, as configuration of nats-server."""

from __future__ import annotations

from typing import Final

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BadRequestError

from controlplane.ports.bus import EVENT_PREFIX, INBOUND_PREFIX, INTENT_PREFIX, MAX_MESSAGE_BYTES, Queue

HOUR: Final = 3600.0
ACK_WAIT_SECONDS: Final = 10.0
_IN_USE = 10058  # JSStreamNameExistErr: the stream exists with another configuration

INTENTS, EVENTS, INBOUND = "SW_INTENT", "SW_EVENT", "SW_IN"
SUBJECTS: Final = {INTENTS: f"{INTENT_PREFIX}>", EVENTS: f"{EVENT_PREFIX}>", INBOUND: f"{INBOUND_PREFIX}>"}
STREAM_OF: Final = {Queue.WAKEUPS: INTENTS, Queue.INBOUND: INBOUND}


def stream_config(name: str, replicas: int) -> StreamConfig:
    """LIMITS, not WORK_QUEUE: there, deduplication by message id can't be relied on."""
    return StreamConfig(
        name=name,
        subjects=[SUBJECTS[name]],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_age=72 * HOUR,
        max_bytes=1024 * 1024 * 1024,
        max_msg_size=MAX_MESSAGE_BYTES if name != INBOUND else 512 * 1024,
        duplicate_window=600,
        deny_delete=True,
        deny_purge=True,
        allow_atomic=True,
        num_replicas=replicas,
    )


def consumer_config(queue: Queue) -> ConsumerConfig:
    """Durable, pulled, acknowledged one by one. A wake-up from before the queue existed is worth nothing: the sweep has it."""
    wakeups = queue is Queue.WAKEUPS
    return ConsumerConfig(
        name=queue.value,
        durable_name=queue.value,
        deliver_policy=DeliverPolicy.NEW if wakeups else DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_SECONDS,
        max_ack_pending=256,
        max_deliver=10 if wakeups else -1,
    )


async def ensure_streams(jetstream: JetStreamContext, replicas: int) -> None:
    """Create or update every stream, then its queue."""
    for name in SUBJECTS:
        config = stream_config(name, replicas)
        try:
            await jetstream.add_stream(config)
        except BadRequestError as error:
            if error.err_code != _IN_USE:
                raise
            await jetstream.update_stream(config)
    for queue, stream in STREAM_OF.items():
        await _ensure_consumer(jetstream, stream, consumer_config(queue))


async def _ensure_consumer(jetstream: JetStreamContext, stream: str, config: ConsumerConfig) -> None:
    """Creating what exists in the same form changes nothing; the deliver policy of an existing one can't change and need not."""
    await jetstream.add_consumer(stream, config)
