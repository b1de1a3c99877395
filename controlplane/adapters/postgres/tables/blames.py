"""Verdicts of votes on blame. Append-only; they outlive their rollouts. No tenant's own: only roles that see the fleet read them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from .columns import instant, json_field


class BlameVerdict(SQLModel, table=True):
    """One verdict. `asker`: whose tenants were ill; `rollouts`: all that reached those; `rests_on`: ill tenants, and when the blamed
    change reached each; `digest`: the same verdict is kept once.
    """

    __tablename__ = "blame_verdicts"
    __table_args__ = (
        CheckConstraint("act in ('stopped','held','told')", name="blame_act"),
        Index("ix_blame_verdicts_rollouts", "rollouts", postgresql_using="gin"),
        Index("ix_blame_verdicts_blamed", "blamed", postgresql_using="gin"),
    )
    id: uuid.UUID = Field(primary_key=True)
    at: datetime = instant(default_now=True)
    asker: uuid.UUID
    verdict: str
    blamed: list[str] = json_field("[]")
    rollouts: list[str] = json_field("[]")
    reason: str
    act: str
    why: str
    rests_on: list[Any] = json_field("[]")
    votes: list[Any] = json_field("[]")
    digest: str = Field(unique=True)
