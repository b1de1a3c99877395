"""What flows: intents, operations, events in, history and outbox out; identity and audit."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Identity, Index, UniqueConstraint, text
from sqlmodel import Column, Field, SQLModel

from .columns import big, instant, json_field

_OPERATION_OVER = "state in ('succeeded','failed','cancelled')"


class Installation(SQLModel, table=True):
    """The identity of one Seawall: one row."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("one", name="installation_single"),)
    one: bool = Field(default=True, primary_key=True)
    id: uuid.UUID
    created_at: datetime = instant(default_now=True)


class Intent(SQLModel, table=True):
    """The first answer to an Idempotency-Key, kept 24 h."""

    __tablename__ = "intents"
    __table_args__ = (Index("ix_intents_created", "created_at"),)
    principal: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body_hash: str
    status: int
    headers: dict[str, str] = json_field()
    response: Any = json_field(None)
    created_at: datetime = instant(default_now=True)


class Operation(SQLModel, table=True):
    """The status monitor of an accepted intent that is not a rollout: onboard, batchOnboard, update, suspend, resume, offboard, ..."""

    __tablename__ = "operations"
    __table_args__ = (
        CheckConstraint(f"{_OPERATION_OVER} or due_at is not null", name="operation_due"),
        CheckConstraint(
            "state in ('accepted','running','waiting','succeeded','failed','cancelled')", name="operation_state"
        ),
        Index("ix_operations_due", "due_at", postgresql_where=text(f"not ({_OPERATION_OVER})")),
    )
    id: uuid.UUID = Field(primary_key=True)
    kind: str
    tenant: str | None = None
    state: str = "accepted"
    spec: dict[str, Any] = json_field()
    result: dict[str, Any] = json_field()
    problem: dict[str, Any] | None = json_field(None)
    waiting_for: list[dict[str, Any]] = json_field("[]")
    requested_by: str
    event_seq: int = big()
    created_at: datetime = instant(default_now=True)
    started_at: datetime | None = instant()
    ended_at: datetime | None = instant()
    due_at: datetime | None = instant()


class OperationItem(SQLModel, table=True):
    """One tenant environment's part of an operation: its stage, and the problem that stopped it."""

    __tablename__ = "operation_items"
    __table_args__ = (
        ForeignKeyConstraint(["operation_id"], ["operations.id"]),
        Index("ix_operation_items_tenant", "tenant"),
        CheckConstraint("state in ('pending','running','waiting','succeeded','failed')", name="operation_item_state"),
    )
    operation_id: uuid.UUID = Field(primary_key=True)
    ordinal: int = Field(primary_key=True)
    tenant: str
    environment: str = ""
    state: str = "pending"
    stage: str = ""
    spec: dict[str, Any] = json_field()
    problem: dict[str, Any] | None = json_field(None)
    memory: dict[str, Any] = json_field()


class InboundEvent(SQLModel, table=True):
    """A CloudEvent as received, stored before the 202, and its fate: what it matched, started, or why not.

    `apps`: the only apps its sender may start (NULL: any).
    """

    __tablename__ = "inbound_events"
    __table_args__ = (
        CheckConstraint("state in ('received','waiting','done','dead')", name="inbound_event_state"),
        CheckConstraint("state in ('done','dead') or due_at is not null", name="inbound_event_due"),
        Index("ix_inbound_events_due", "due_at", postgresql_where=text("state in ('received','waiting')")),
        Index("ix_inbound_events_id", "id"),
        Index("ix_inbound_events_content", "source", "digest"),
        Index("ix_inbound_events_dead", "ended_at", postgresql_where=text("state = 'dead'")),
    )
    source: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    type: str
    subject: str = ""
    time: datetime | None = instant()
    data: Any = json_field(None)
    attributes: dict[str, Any] = json_field()
    digest: str
    received_at: datetime = instant(default_now=True)
    received_from: str
    state: str = "received"
    fate: list[dict[str, Any]] = json_field("[]")
    attempts: int = 0
    due_at: datetime | None = instant()
    apps: list[str] | None = json_field(None)
    trace: dict[str, str] = json_field()
    ended_at: datetime | None = instant()


class Outbox(SQLModel, table=True):
    """What the relay publishes on NATS; deleted once acknowledged. `msg_id` is the JetStream Msg-Id."""

    __tablename__ = "outbox"
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    subject: str
    msg_id: str
    payload: Any = json_field(None)
    headers: dict[str, str] = json_field()
    created_at: datetime = instant(default_now=True)
    claimed_until: datetime | None = instant()


class History(SQLModel, table=True):
    """Every state change, numbered under its subject's row lock: feeds, webhooks and `why` read it. `tenant` NULL: fleet-wide."""

    __tablename__ = "history"
    __table_args__ = (
        Index("ix_history_tenant", "tenant", "at"),
        Index("ix_history_at", "at"),
    )
    subject_kind: str = Field(primary_key=True)
    subject_id: str = Field(primary_key=True)
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True))
    type: str
    tenant: str | None = None
    data: dict[str, Any] = json_field()
    at: datetime = instant(default_now=True)


class Delivery(SQLModel, table=True):
    """One event on its way to one webhook subscriber. Dead after its last retry, until somebody redrives it."""

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint("state in ('pending','delivered','dead')", name="delivery_state"),
        Index("ix_deliveries_due", "due_at", postgresql_where=text("state = 'pending'")),
        Index("ix_deliveries_dead", "ended_at", postgresql_where=text("state = 'dead'")),
        UniqueConstraint("webhook", "subject_kind", "subject_id", "seq", name="delivery_once"),
    )
    id: uuid.UUID = Field(primary_key=True)
    webhook: str
    subject_kind: str
    subject_id: str
    seq: int = big()
    tenant: str | None = None
    state: str = "pending"
    attempts: int = 0
    last_error: str = ""
    due_at: datetime | None = instant()
    created_at: datetime = instant(default_now=True)
    ended_at: datetime | None = instant()


class ApiKey(SQLModel, table=True):
    """A machine's or person's key: only its SHA-256 is stored. `apps` binds role `ci`, `tenants` binds `tenant-owner`."""

    __tablename__ = "api_keys"
    id: uuid.UUID = Field(primary_key=True)
    name: str
    prefix: str
    hash: str = Field(unique=True)
    roles: list[str] = json_field("[]")
    tenants: list[str] = json_field("[]")
    apps: list[str] = json_field("[]")
    created_at: datetime = instant(default_now=True)
    created_by: str
    expires_at: datetime = instant(default_now=True)
    revoked_at: datetime | None = instant()


class Audit(SQLModel, table=True):
    """Who did what to what, inserted in the deciding transaction. `seal` and `hash` chain rows once the sealer has passed."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_tenant", "tenant", "id"),
        Index("ix_audit_seal", "seal", unique=True),
        Index("ix_audit_unsealed", "id", postgresql_where=text("seal is null")),
    )
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    at: datetime = instant(default_now=True)
    actor: str
    action: str
    subject: str
    tenant: str | None = None
    detail: dict[str, Any] = json_field()
    trace_id: str = ""
    hash: str | None = None
    seal: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))


class AuditCheckpoint(SQLModel, table=True):
    """Where the audit chain begins since old rows were removed: the last removed row's seal and hash. Only `remove_audit` writes it."""

    __tablename__ = "audit_checkpoints"
    seal: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    hash: str
    rows: int = big()
    removed_at: datetime = instant(default_now=True)


class Worker(SQLModel, table=True):
    """A worker process that lives: its newest plan schema and the clusters it serves. `guarded`: its session holds its own lock."""

    __tablename__ = "workers"
    id: str = Field(primary_key=True)
    version: str
    schema_version: int
    clusters: list[str] = json_field("[]")
    guarded: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    started_at: datetime = instant(default_now=True)
    seen_at: datetime = instant(default_now=True)
