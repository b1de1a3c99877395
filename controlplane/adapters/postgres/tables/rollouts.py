"""Rollouts, waves, targets; the step ledger; leases, commands, budgets."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Identity, Index, LargeBinary, text
from sqlmodel import Column, Field, SQLModel

from .columns import amount, big, instant, json_field

_ROLLOUT_OVER = "state in ('succeeded','failed','aborted')"


class Rollout(SQLModel, table=True):
    """Release x selector x strategy, with its frozen plan. `due_at` is when somebody must look at it, at the latest.

    `paused`, `rolling_back` mirror applied commands; `event_seq` numbers its history under this row's lock.
    """

    __tablename__ = "rollouts"
    __table_args__ = (
        CheckConstraint(f"{_ROLLOUT_OVER} or due_at is not null", name="rollout_due"),
        CheckConstraint(
            "state in ('draft','planned','running','paused','rollingBack','succeeded','failed','aborted')",
            name="rollout_state",
        ),
        Index("ix_rollouts_due", "due_at", postgresql_where=text(f"not ({_ROLLOUT_OVER})")),
        Index("ix_rollouts_created", "created_at"),
    )
    id: uuid.UUID = Field(primary_key=True)
    kind: str
    app: str
    release_version: str
    environment: str
    selector: str
    strategy: str
    strategy_version: int
    state: str = "planned"
    outcome: str = ""
    schema_version: int = 1
    plan_hash: str
    plan: dict[str, Any] = json_field()
    reason: str = ""
    change_ref: str = ""
    not_before: datetime | None = instant()
    requested_by: str
    origin: dict[str, Any] = json_field()
    waiting_for: list[dict[str, Any]] = json_field("[]")
    memory: dict[str, Any] = json_field()
    event_seq: int = big()
    created_at: datetime = instant(default_now=True)
    started_at: datetime | None = instant()
    ended_at: datetime | None = instant()
    due_at: datetime | None = instant()


class Wave(SQLModel, table=True):
    """One wave of a rollout; `detail` holds its verdict and reason, `expected_*` is what the plan said.

    `counts`: how many of its targets stand where, as the driver with this lease `epoch` last wrote it:
    `{"epoch": 3, "groups": [[state, code, number, tenant, reason, until], ...]}`. Believed while no other driver has had the lease since.
    """

    __tablename__ = "waves"
    __table_args__ = (
        ForeignKeyConstraint(["rollout_id"], ["rollouts.id"]),
        CheckConstraint(
            "state in ('pending','gating','running','soaking','judging','done','failed')", name="wave_state"
        ),
    )
    rollout_id: uuid.UUID = Field(primary_key=True)
    wave: int = Field(primary_key=True)
    name: str
    state: str = "pending"
    started_at: datetime | None = instant()
    ended_at: datetime | None = instant()
    detail: dict[str, Any] = json_field()
    expected_from: datetime | None = instant()
    expected_by: datetime | None = instant()
    counts: dict[str, Any] | None = json_field(None)


class Target(SQLModel, table=True):
    """One tenant's environment in a rollout. `memory` is what the driver needs to go on after a takeover.

    `release_version` and `values_hash` go into the revision it makes; the values are a row of `contents` under their hash.
    """

    __tablename__ = "targets"
    __table_args__ = (
        ForeignKeyConstraint(["rollout_id", "wave"], ["waves.rollout_id", "waves.wave"]),
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.environment"]),
        CheckConstraint(
            "state in ('pending','preflight','backup','migrate','apply','verify','soak','verified',"
            "'failed','rollingBack','rolledBack','stuck','skipped','cancelled','deferred')",
            name="target_state",
        ),
        CheckConstraint("tenant <> ''", name="target_tenant_named"),
        Index("ix_targets_tenant", "tenant", "environment"),
        Index("ix_targets_order", "rollout_id", "wave", "position"),
    )
    rollout_id: uuid.UUID = Field(primary_key=True)
    tenant: str = Field(primary_key=True)
    environment: str
    wave: int
    position: int
    state: str = "pending"
    code: str = ""
    reason: str = ""
    release_version: str = Field(default="", sa_column_kwargs={"server_default": text("''")})
    values_hash: str = Field(default="", sa_column_kwargs={"server_default": text("''")})
    base_revision: int = 0
    revision: int | None = None
    attempt: int = 1
    epoch: int = big()
    since: datetime = instant(default_now=True)
    started_at: datetime | None = instant()
    ended_at: datetime | None = instant()
    memory: dict[str, Any] = json_field()


class Step(SQLModel, table=True):
    """The ledger of external effects: one row per object. PLANNED, then ISSUED (committed before the call), then OBSERVED.

    `step_id` is one phase of one target's attempt (its apply, its way back, its seal); `ordinal` is the object's place in it.
    """

    __tablename__ = "steps"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.environment"]),
        CheckConstraint("state in ('PLANNED','ISSUED','OBSERVED')", name="step_state"),
        CheckConstraint("fence in ('cluster','name','none')", name="step_fence"),
        Index("ix_steps_subject", "subject_id", "tenant"),
        Index("ix_steps_open", "subject_id", postgresql_where=text("state <> 'OBSERVED'")),
    )
    step_id: uuid.UUID = Field(primary_key=True)
    ordinal: int = Field(primary_key=True)
    subject_kind: str
    subject_id: uuid.UUID
    tenant: str
    environment: str
    phase: str
    verb: str
    api_version: str = ""
    kind: str = ""
    name: str = ""
    fence: str = "cluster"
    state: str = "PLANNED"
    epoch: int = big()
    planned_at: datetime = instant(default_now=True)
    issued_at: datetime | None = instant()
    observed_at: datetime | None = instant()
    outcome: str = ""
    result: dict[str, Any] = json_field()


class Lease(SQLModel, table=True):
    """Who drives a rollout or operation, on the database's clock. `command_seq` rises with each command appended."""

    __tablename__ = "leases"
    __table_args__ = (Index("ix_leases_expires", "expires_at"),)
    subject_kind: str = Field(primary_key=True)
    subject_id: uuid.UUID = Field(primary_key=True)
    holder: str = ""
    epoch: int = big()
    expires_at: datetime = instant(default_now=True)
    command_seq: int = big()


class Command(SQLModel, table=True):
    """A person's word to a driver: pause, resume, abort, retry, approve."""

    __tablename__ = "commands"
    __table_args__ = (
        ForeignKeyConstraint(["subject_kind", "subject_id"], ["leases.subject_kind", "leases.subject_id"]),
    )
    subject_kind: str = Field(primary_key=True)
    subject_id: uuid.UUID = Field(primary_key=True)
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True))
    command: str
    body: dict[str, Any] = json_field()
    actor: str
    created_at: datetime = instant(default_now=True)
    applied_at: datetime | None = instant()


class Budget(SQLModel, table=True):
    """A blast-radius limit: `reserved <= cap` whenever something was granted; `closed` grants nothing. cap NULL: counted, not limited.

    `version` rises with each freeze and thaw, and when a breaker changes, so that a driver that locks the row notices.
    `breaker_detail` says why and since when, and names the probe.
    """

    __tablename__ = "budgets"
    __table_args__ = (
        CheckConstraint("reserved >= 0", name="budget_not_negative"),
        CheckConstraint("breaker in ('','open','halfOpen','probing')", name="budget_breaker"),
    )
    scope: str = Field(primary_key=True)
    cap: Decimal | None = amount(nullable=True)
    reserved: Decimal = amount()
    closed: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    version: int = big()
    breaker: str = Field(default="", sa_column_kwargs={"server_default": text("''")})
    breaker_detail: dict[str, Any] = json_field()


class Reservation(SQLModel, table=True):
    """What a target took from a budget; exactly this is given back."""

    __tablename__ = "reservations"
    __table_args__ = (
        ForeignKeyConstraint(["scope"], ["budgets.scope"]),
        ForeignKeyConstraint(["rollout_id", "tenant"], ["targets.rollout_id", "targets.tenant"]),
    )
    rollout_id: uuid.UUID = Field(primary_key=True)
    tenant: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    amount: Decimal = amount()


class BudgetMove(SQLModel, table=True):
    """Append-only: each change of a budget, numbered under its row's lock, for the independent checker.

    `delta` is what the transaction took less what it gave back; `taken` is what it took. `reserved`, `cap` and `closed` (by a freeze or
    a breaker) are the row's after it.
    """

    __tablename__ = "budget_moves"
    __table_args__ = (Index("ix_budget_moves_scope", "scope", "id"),)
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    scope: str
    rollout_id: uuid.UUID | None = None
    tenant: str | None = None
    delta: Decimal = amount()
    reserved: Decimal = amount()
    cap: Decimal | None = amount(nullable=True)
    at: datetime = instant(default_now=True)
    taken: Decimal = amount()
    closed: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


class Freeze(SQLModel, table=True):
    """Nothing forward starts on what it selects; ways back go on. An empty selector selects all."""

    __tablename__ = "freezes"
    __table_args__ = (CheckConstraint("reason <> ''", name="freeze_reason"),)
    id: uuid.UUID = Field(primary_key=True)
    selector: str = ""
    reason: str
    until: datetime | None = instant()
    created_at: datetime = instant(default_now=True)
    created_by: str
    lifted_at: datetime | None = instant()
    lifted_by: str = ""


class Preview(SQLModel, table=True):
    """A plan somebody looked at, kept for an hour so that its targets can be paged and a later start can say what changed.

    `body` is the plan's canonical JSON, zlib-compressed.
    """

    __tablename__ = "previews"
    __table_args__ = (Index("ix_previews_hash", "plan_hash"), Index("ix_previews_expires", "expires_at"))
    id: uuid.UUID = Field(primary_key=True)
    plan_hash: str
    requested_by: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    expires_at: datetime = instant(default_now=True)
