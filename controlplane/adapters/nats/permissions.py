"""Who may do what on the bus: one nkey and one inbox prefix per role. Only the relay publishes intents and events."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from enum import StrEnum

import nkeys

from controlplane.ports.bus import Queue

from .streams import EVENTS, INBOUND, INTENTS, STREAM_OF, SUBJECTS


class NatsRole(StrEnum):
    """`sender` is somebody else's: it may publish events for us; `listener` may read our event feed."""

    API = "api"
    RELAY = "relay"
    WORK = "work"
    SENDER = "sender"
    LISTENER = "listener"


def inbox_prefix(role: NatsRole) -> str:
    """Where this role's answers arrive; no other role may listen there."""
    return f"_INBOX_{role.value}"


def new_nkey() -> tuple[str, str]:
    """A fresh user nkey: (seed, public key). The seed is the secret; the server knows only the public key."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode()


def nats_authorization(public_keys: Mapping[NatsRole, str]) -> str:
    """The server's `authorization` block for these roles; a role without a key can't connect, nobody connects without one."""
    users = [{"nkey": key, "permissions": permissions(role)} for role, key in sorted(public_keys.items())]
    return f"authorization: {json.dumps({'users': users}, indent=2)}"


def permissions(role: NatsRole) -> dict[str, dict[str, Sequence[str]]]:
    """What a role may publish and subscribe to; everything else is denied."""
    match role:
        case NatsRole.RELAY:
            publish = [SUBJECTS[INTENTS], SUBJECTS[EVENTS], *_manage(), *_take(Queue.INBOUND)]
        case NatsRole.WORK:
            publish = _take(Queue.WAKEUPS)
        case NatsRole.API:
            publish = [f"$JS.API.STREAM.INFO.{INTENTS}"]
        case NatsRole.SENDER:
            publish = [SUBJECTS[INBOUND]]
        case NatsRole.LISTENER:
            publish = [f"$JS.API.CONSUMER.{verb}.{EVENTS}.>" for verb in ("CREATE", "INFO", "MSG.NEXT")]
            publish += [f"$JS.API.STREAM.INFO.{EVENTS}", f"$JS.ACK.{EVENTS}.>"]
    return {"publish": {"allow": publish}, "subscribe": {"allow": [f"{inbox_prefix(role)}.>"]}}


def _manage() -> list[str]:
    streams = [f"$JS.API.STREAM.{verb}.{name}" for name in SUBJECTS for verb in ("INFO", "CREATE", "UPDATE")]
    queues = [f"$JS.API.CONSUMER.CREATE.{stream}.{queue.value}" for queue, stream in STREAM_OF.items()]
    return streams + queues


def _take(queue: Queue) -> list[str]:
    stream = STREAM_OF[queue]
    api = [f"$JS.API.CONSUMER.{verb}.{stream}.{queue.value}" for verb in ("INFO", "MSG.NEXT")]
    return [*api, f"$JS.ACK.{stream}.{queue.value}.>"]
