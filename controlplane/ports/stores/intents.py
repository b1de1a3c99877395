"""The first answers to idempotency keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class IntentKey:
    """What makes an intent unique: who, doing what (method and path), under which key."""

    principal: str
    operation: str
    key: str


@dataclass(frozen=True)
class StoredAnswer:
    """The answer to an intent. `body` is JSON (None: empty); it never holds a secret."""

    body_hash: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


class IntentStore(Protocol):
    """Intents, kept for 24 hours."""

    async def claim(self, key: IntentKey, body_hash: str) -> StoredAnswer | None:
        """Take the key for this transaction, or give the answer somebody committed under it in the last 24 hours.

        Waits for another transaction that holds the same key; ConflictError `idempotency-key-in-use` if that takes too long.
        """
        ...

    async def complete(self, key: IntentKey, answer: StoredAnswer) -> None:
        """Store the answer under a key claimed in this transaction."""
        ...

    async def forget_expired(self, limit: int = 1000) -> int:
        """Delete intents older than 24 hours, at most `limit`. Returns how many."""
        ...
