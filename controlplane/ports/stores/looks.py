"""Looking back: what changed, who did what."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.changes import RolloutFacts


@dataclass(frozen=True)
class ChangeRecord:
    """One row of history."""

    at: datetime
    kind: str
    id: str
    seq: int
    type: str
    tenant: str | None
    data: dict[str, Any]


@dataclass(frozen=True)
class AuditRecord:
    """One row of the audit trail. `hash` chains it once the sealer has passed."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    tenant: str | None
    detail: dict[str, Any]
    trace_id: str
    hash: str | None
    seal: int | None


@dataclass(frozen=True)
class AuditFilter:
    """Which audit rows; empty fields take all."""

    since: datetime | None = None
    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    tenant: str | None = None


type ChangePosition = tuple[datetime, str, str, int]
"""Time, kind, id and number: newest first."""


class LookStore(Protocol):
    """Reads of history and audit."""

    async def changes(
        self, since: datetime, cluster: str | None, app: str | None, after: ChangePosition | None, limit: int
    ) -> list[ChangeRecord]:
        """What changed since a time, on a cluster, of an app; newest first."""
        ...

    async def rollouts(self, ids: Collection[str]) -> dict[str, RolloutFacts]:
        """How these rollouts stand now, by id."""
        ...

    async def clusters_of(self, tenants: Collection[str]) -> dict[str, list[str]]:
        """The clusters of tenants."""
        ...

    async def audit(self, wanted: AuditFilter, before: int | None, limit: int) -> list[AuditRecord]:
        """Audit rows, newest first."""
        ...
