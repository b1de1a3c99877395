"""Gates of rollouts with what each last said, and the votes of people."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
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


class GateAsk(SQLModel, table=True):
    """A question to an endpoint that answers later: one per gate and plan. It references nothing, so that it outlives the rollout."""

    __tablename__ = "gate_asks"
    __table_args__ = (UniqueConstraint("rollout_id", "wave", "place", "idx", "plan_hash", name="ask_once"),)
    id: uuid.UUID = Field(primary_key=True)
    rollout_id: uuid.UUID
    wave: int
    place: str
    idx: int
    plan_hash: str
    endpoint: str
    asked_at: datetime = instant(default_now=True)
    expires_at: datetime = instant(default_now=True)
    sent_at: datetime | None = instant()


class GateAnswer(SQLModel, table=True):
    """A signed answer to a question. Append-only; the first that passes or fails decides."""

    __tablename__ = "gate_answers"
    __table_args__ = (
        CheckConstraint("verdict in ('pass','wait','fail')", name="answer_verdict"),
        ForeignKeyConstraint(["ask_id"], ["gate_asks.id"]),
        UniqueConstraint("ask_id", "message_id", name="answer_once"),
    )
    id: uuid.UUID = Field(primary_key=True)
    ask_id: uuid.UUID
    message_id: str
    verdict: str
    reason: str
    by: str
    at: datetime = instant(default_now=True)


class VoteRecord(SQLModel, table=True):
    """What a person said to one gate of one plan. Append-only: taking a vote back is a row of its own, and so is a reject.

    It references nothing, so that it outlives the rollout and the tenants it was about. `person`: whose vote it is; `names`: all her
    names then; `actor`: the key or token it was said with; `withdraws`: the vote that a `withdraw` takes back.
    """

    __tablename__ = "votes"
    __table_args__ = (
        CheckConstraint("word in ('approve','reject','withdraw')", name="vote_word"),
        CheckConstraint("(word = 'withdraw') = (withdraws is not null)", name="vote_withdraws"),
        UniqueConstraint("withdraws", name="vote_withdrawn_once"),
        Index("ix_votes_rollout", "rollout_id", "at"),
        Index("ix_votes_actor", "actor"),
    )
    id: uuid.UUID = Field(primary_key=True)
    rollout_id: uuid.UUID
    at: datetime = instant(default_now=True)
    word: str
    withdraws: uuid.UUID | None = None
    app: str
    release_version: str
    environment: str
    change_ref: str
    plan_hash: str
    wave: int
    wave_name: str
    place: str
    idx: int
    approver_group: str
    person: str
    names: list[str] = json_field("[]")
    actor: str
    reason: str


class Notice(SQLModel, table=True):
    """A tenant's owner was told of a release before it comes; it stays on record."""

    __tablename__ = "notices"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.environment"]),
        CheckConstraint("tenant <> ''", name="notice_tenant_named"),
    )
    tenant: str = Field(primary_key=True)
    environment: str = Field(primary_key=True)
    app: str = Field(primary_key=True)
    release_version: str = Field(primary_key=True)
    rollout_id: uuid.UUID
    why: str
    at: datetime = instant(default_now=True)
    earliest: datetime | None = instant()
