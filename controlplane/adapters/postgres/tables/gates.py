"""Gates of rollouts with what each last said, and the votes of people."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, text
from sqlmodel import Field, SQLModel

from .columns import instant, json_field


class GateRow(SQLModel, table=True):
    """What a gate of a rollout last said, and on which evidence: why it stopped is one read."""

    __tablename__ = "gates"
    __table_args__ = (
        ForeignKeyConstraint(["rollout_id", "wave"], ["waves.rollout_id", "waves.wave"]),
        CheckConstraint("verdict in ('pass','wait','fail','unknown')", name="gate_verdict"),
        CheckConstraint("place in ('before','during','after')", name="gate_place"),
    )
    rollout_id: uuid.UUID = Field(primary_key=True)
    wave: int = Field(primary_key=True)
    place: str = Field(primary_key=True)
    idx: int = Field(primary_key=True)
    kind: str
    verdict: str
    reason: str = ""
    who: str = ""
    since: datetime | None = instant()
    until: datetime | None = instant()
    evidence: dict[str, Any] = json_field()


class TargetGateRow(SQLModel, table=True):
    """What a gate before a single target last said to it, and on which evidence."""

    __tablename__ = "target_gates"
    __table_args__ = (
        ForeignKeyConstraint(["rollout_id", "tenant"], ["targets.rollout_id", "targets.tenant"]),
        CheckConstraint("verdict in ('pass','wait','fail','unknown')", name="target_gate_verdict"),
        CheckConstraint("tenant <> ''", name="target_gate_tenant_named"),
    )
    rollout_id: uuid.UUID = Field(primary_key=True)
    tenant: str = Field(primary_key=True)
    idx: int = Field(primary_key=True)
    kind: str
    verdict: str
    reason: str = ""
    who: str = ""
    since: datetime | None = instant()
    until: datetime | None = instant()
    evidence: dict[str, Any] = json_field()


class Approval(SQLModel, table=True):
    """A person's vote for one gate of one plan; withdrawn ones stay on record."""

    __tablename__ = "approvals"
    __table_args__ = (
        ForeignKeyConstraint(["rollout_id", "wave"], ["waves.rollout_id", "waves.wave"]),
        Index(
            "ix_approvals_one_vote",
            "rollout_id",
            "wave",
            "place",
            "idx",
            "person",
            unique=True,
            postgresql_where=text("withdrawn_at is null"),
        ),
    )
    id: uuid.UUID = Field(primary_key=True)
    rollout_id: uuid.UUID
    wave: int
    place: str
    idx: int
    approver_group: str
    person: str
    plan_hash: str
    reason: str = ""
    at: datetime = instant(default_now=True)
    withdrawn_at: datetime | None = instant()
