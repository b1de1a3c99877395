"""API keys: only hashes are stored."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class KeyRecord:
    """One key. `hash` is the SHA-256 of the secret as hex; `prefix` its first characters, to recognise it by."""

    id: uuid.UUID
    name: str
    prefix: str
    hash: str
    roles: tuple[str, ...]
    tenants: tuple[str, ...]
    apps: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None


class KeyStore(Protocol):
    """Keys of people and machines."""

    async def add(self, record: KeyRecord) -> None:
        """Store a new key."""
        ...

    async def by_hash(self, digest: str) -> KeyRecord | None:
        """Find a key by its secret's SHA-256, revoked and expired ones too."""
        ...

    async def get(self, key_id: uuid.UUID) -> KeyRecord | None:
        """Find a key by its id."""
        ...

    async def page(self, after: uuid.UUID | None, limit: int) -> list[KeyRecord]:
        """List keys in the order of their making, from after an id."""
        ...

    async def revoke(self, key_id: uuid.UUID, at: datetime) -> bool:
        """End a key. False if there is none or it was ended before."""
        ...
