"""What others attest: evidence about releases, backups of tenants and drills of restoring them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKeyConstraint, Index
from sqlmodel import Field, SQLModel

from .columns import instant, json_field


class ReleaseEvidence(SQLModel, table=True):
    """One attestation about a release: appended, never changed. `body` is a `domain.evidence.EvidenceWish`; `received_at` its proof of time."""

    __tablename__ = "release_evidence"
    __table_args__ = (
        ForeignKeyConstraint(["app", "version"], ["releases.app", "releases.version"]),
        Index("ix_release_evidence_release", "app", "version", "kind", "at"),
    )
    id: uuid.UUID = Field(primary_key=True)
    app: str
    version: str
    kind: str
    at: datetime = instant(default_now=True)
    body: dict[str, Any] = json_field()
    received_at: datetime = instant(default_now=True)
    reported_by: str


class Backup(SQLModel, table=True):
    """A backup of one environment, as a backup system reported it."""

    __tablename__ = "backups"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.environment"]),
        CheckConstraint("tenant <> ''", name="backup_tenant_named"),
        Index("ix_backups_newest", "tenant", "environment", "taken_at"),
    )
    tenant: str = Field(primary_key=True)
    environment: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    taken_at: datetime = instant(default_now=True)
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    checked_at: datetime | None = instant()
    location: str = ""
    reported_by: str
    reported_at: datetime = instant(default_now=True)


class RestoreDrill(SQLModel, table=True):
    """A restore of one environment's backup, to see whether it works, as somebody reported it."""

    __tablename__ = "restore_drills"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.environment"]),
        CheckConstraint("tenant <> ''", name="restore_drill_tenant_named"),
        CheckConstraint("result in ('succeeded','failed')", name="restore_drill_result"),
        Index("ix_restore_drills_newest", "tenant", "environment", "ended_at"),
    )
    tenant: str = Field(primary_key=True)
    environment: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    started_at: datetime = instant(default_now=True)
    ended_at: datetime = instant(default_now=True)
    result: str
    backup: str | None = None
    note: str = ""
    reported_by: str
    reported_at: datetime = instant(default_now=True)
