"""NATS JetStream: the bus, its streams, its queues, and who may do what on it."""

from .bus import NatsBus
from .permissions import NatsRole, nats_authorization, new_nkey

__all__ = ["NatsBus", "NatsRole", "nats_authorization", "new_nkey"]
