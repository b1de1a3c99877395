"""What a tenant owner reads: written for the role that sees one tenant's rows, so that no statement here needs to name others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of something that is the tenant's."""

    at: datetime
    kind: str
    id: str
    seq: int
    type: str
    data: Mapping[str, Any]


class SelfServiceStore(Protocol):
    """One tenant's view."""

    async def status(self, tenant: str) -> dict[str, Any] | None:
        """Everything that `GET /v1/tenants/{t}/status` shows, in one query: see `domain.self_service.status_of` for its shape."""
        ...

    async def history(
        self, tenant: str, before: tuple[datetime, str, str, int] | None, limit: int
    ) -> list[HistoryEntry]:
        """What changed, newest first."""
        ...

    async def defer(self, tenant: str, environment: str, apps: Collection[str], until: datetime) -> Sequence[str]:
        """Note that the tenant asks to wait; returns the apps it was noted for."""
        ...

    async def rollbacks_since(self, tenant: str, since: datetime) -> int:
        """How many rollbacks the tenant's owner has started since then."""
        ...
