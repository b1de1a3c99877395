"""Changes that took the emergency lane, and the looks at them afterwards. Append-only; they outlive their rollouts."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlmodel import Field, SQLModel

from .columns import instant, json_field


class Emergency(SQLModel, table=True):
    """One change in the emergency lane. `left_out`: gates, windows and freezes it did not wait for; `review_by`: until when to look."""

    __tablename__ = "emergencies"
    __table_args__ = (Index("ix_emergencies_at", "at"),)
    rollout_id: uuid.UUID = Field(primary_key=True)
    at: datetime = instant(default_now=True)
    criterion: str
    reason: str
    app: str
    release_version: str
    environment: str
    selector: str
    targets: int
    change_ref: str
    plan_hash: str
    left_out: dict[str, Any] = json_field()
    actor: str
    person: str
    review_by: datetime = instant(default_now=True)


class EmergencyReview(SQLModel, table=True):
    """What somebody else found when looking at one afterwards; it closes the matter."""

    __tablename__ = "emergency_reviews"
    __table_args__ = (
        CheckConstraint("finding in ('justified','not-justified')", name="review_finding"),
        CheckConstraint("note <> ''", name="review_note"),
        ForeignKeyConstraint(["rollout_id"], ["emergencies.rollout_id"]),
    )
    rollout_id: uuid.UUID = Field(primary_key=True)
    at: datetime = instant(default_now=True)
    finding: str
    note: str
    actor: str
    person: str
