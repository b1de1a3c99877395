"""Logins of the web console."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class SessionRecord:
    """One login. `principal` is a `Principal` as JSON; `key_id` the API key behind it, None for a token."""

    hash: str
    principal: Mapping[str, Any]
    key_id: uuid.UUID | None
    created_at: datetime
    expires_at: datetime


class SessionStore(Protocol):
    """Logins in this transaction."""

    async def add(self, record: SessionRecord) -> None:
        """Store a login."""
        ...

    async def by_hash(self, digest: str) -> SessionRecord | None:
        """The login whose cookie has this hash."""
        ...

    async def end(self, digest: str) -> bool:
        """Forget a login. False if there is none."""
        ...

    async def forget_expired(self, limit: int) -> int:
        """Delete at most so many logins that are over. Returns how many."""
        ...
