"""Evidence about releases and backups of tenants."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """One attestation. `body` is a `domain.evidence.EvidenceWish` as JSON."""

    id: uuid.UUID
    app: str
    version: str
    kind: str
    at: datetime
    body: dict[str, Any]
    received_at: datetime
    reported_by: str


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """One backup of an environment, as reported."""

    tenant: str
    environment: str
    id: str
    taken_at: datetime
    size: int
    checked_at: datetime | None
    location: str
    reported_by: str
    reported_at: datetime


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """One restore drill of an environment, as reported."""

    tenant: str
    environment: str
    id: str
    started_at: datetime
    ended_at: datetime
    result: Literal["succeeded", "failed"]
    backup: str | None
    note: str
    reported_by: str
    reported_at: datetime


class EvidenceStore(Protocol):
    """What others attest."""

    async def put_drill(self, record: DrillRecord) -> tuple[DrillRecord, bool]:
        """Store a restore drill, unless one has its id; returns what is stored, and whether it is new. Forgets all but the newest."""
        ...

    async def drills(
        self, tenant: str, environment: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[DrillRecord]:
        """An environment's restore drills, newest first (by their end)."""
        ...

    async def lock_release(self, app: str, version: str) -> bool:
        """Let one writer at a time attest about a release, until the transaction ends. False if there is none."""
        ...

    async def add(self, record: EvidenceRecord) -> None:
        """Append an attestation."""
        ...

    async def page(
        self, app: str, version: str, kind: str | None, after: uuid.UUID | None, limit: int
    ) -> Sequence[EvidenceRecord]:
        """Attestations about a release, newest first."""
        ...

    async def newest(self, app: str, version: str) -> Mapping[str, Mapping[str, Any]]:
        """The newest attestation of each kind about a release (by `at`), as the body that was sent."""
        ...

    async def put_backup(self, record: BackupRecord) -> BackupRecord:
        """Store a backup, or the moment it was checked; returns what is stored now. Forgets all but the newest `BACKUPS_KEPT`."""
        ...

    async def backup(self, tenant: str, environment: str, backup_id: str) -> BackupRecord | None:
        """One backup."""
        ...

    async def has_environment(self, tenant: str, environment: str) -> bool:
        """Whether the tenant has this environment."""
        ...

    async def backups(
        self, tenant: str, environment: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[BackupRecord]:
        """An environment's backups, newest first."""
        ...
