"""Tenants, their environments and apps, configuration, and what each environment was given."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Column, Field, SQLModel

from .columns import big, instant, json_field


class ConfigVersion(SQLModel, table=True):
    """One immutable version of a configuration object (kinds: apps tiers clusters calendars strategies triggers rules webhooks)."""

    __tablename__ = "config_versions"
    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    spec: dict[str, Any] = json_field()
    digest: str
    created_at: datetime = instant(default_now=True)
    created_by: str


class ConfigCurrent(SQLModel, table=True):
    """Which version of a configuration object is in force; `deleted_at` set: none is, but the number goes on counting."""

    __tablename__ = "config_current"
    __table_args__ = (
        ForeignKeyConstraint(
            ["kind", "name", "version"], ["config_versions.kind", "config_versions.name", "config_versions.version"]
        ),
    )
    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    version: int
    deleted_at: datetime | None = instant()


class Tenant(SQLModel, table=True):
    """A customer. `apps` holds the tenant layer: app -> {channel, values, pin}."""

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint("tenant <> ''", name="tenant_named"),
        CheckConstraint(
            "phase in ('onboarding','active','suspended','offboarding','offboarded','observed')", name="tenant_phase"
        ),
    )
    tenant: str = Field(primary_key=True)
    display_name: str
    tier: str
    region: str
    time_zone: str
    labels: dict[str, str] = json_field()
    exposure: dict[str, Any] = json_field()
    apps: dict[str, Any] = json_field()
    adopt: str = "never"
    phase: str = "onboarding"
    phase_reason: str = ""
    generation: int = big(1)
    created_at: datetime = instant(default_now=True)
    updated_at: datetime = instant(default_now=True)


class Environment(SQLModel, table=True):
    """A tenant's environment: one namespace of one cluster, its fence epoch, and who holds its one change slot.

    `slot_kind` is `rollout` or `operation`; `dirty` marks a stuck environment: only a person's retry or rollback takes its slot.
    """

    __tablename__ = "environments"
    __table_args__ = (
        ForeignKeyConstraint(["tenant"], ["tenants.tenant"]),
        UniqueConstraint("cluster", "namespace"),
        CheckConstraint("tenant <> ''", name="environment_tenant_named"),
        CheckConstraint("(slot_kind is null) = (slot_id is null)", name="environment_slot"),
    )
    tenant: str = Field(primary_key=True)
    environment: str = Field(primary_key=True)
    cluster: str
    namespace: str
    uid: str | None = None
    hosts: list[str] = json_field("[]")
    epoch: int = big()
    slot_kind: str | None = None
    slot_id: uuid.UUID | None = None
    slot_since: datetime | None = instant()
    dirty: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    walls: dict[str, Any] = json_field()
    health: str = "unknown"
    health_reason: str = ""
    health_at: datetime | None = instant()
    quota: dict[str, Any] = json_field()
    drift: dict[str, Any] = json_field()


class TenantApp(SQLModel, table=True):
    """An app of an environment: what it runs (`revision`), what was last verified, its environment-layer values.

    Revision 0 means nothing is installed. `deferred_until`: the tenant asked to wait.
    """

    __tablename__ = "tenant_apps"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.environment"]),
        CheckConstraint("tenant <> ''", name="tenant_app_tenant_named"),
    )
    tenant: str = Field(primary_key=True)
    environment: str = Field(primary_key=True)
    app: str = Field(primary_key=True)
    values: dict[str, Any] = json_field()
    values_version: int = 1
    revision: int = 0
    verified_revision: int | None = None
    last_number: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    deferred_until: datetime | None = instant()


class Revision(SQLModel, table=True):
    """What one environment's app was given. States: applying, applied, verified, failed, left (rolled back from).

    The values it was rendered with are the row of `contents` under (tenant, values_hash): many revisions share them. `values` holds
    them only where that row does not exist: in revisions that were written without a rollout.
    """

    __tablename__ = "revisions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "environment", "app"], ["tenant_apps.tenant", "tenant_apps.environment", "tenant_apps.app"]
        ),
        ForeignKeyConstraint(["tenant", "content_hash"], ["contents.tenant", "contents.hash"]),
        CheckConstraint("state in ('applying','applied','verified','failed','left')", name="revision_state"),
        Index("ix_revisions_rollout", "rollout_id"),
    )
    tenant: str = Field(primary_key=True)
    environment: str = Field(primary_key=True)
    app: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    release_version: str
    content_hash: str
    values_hash: str
    values: dict[str, Any] = json_field()
    inventory: list[dict[str, Any]] = json_field("[]")
    secret_versions: dict[str, str] = json_field()
    base_revision: int
    state: str = "applying"
    rollout_id: uuid.UUID | None = None
    created_at: datetime = instant(default_now=True)
    verified_at: datetime | None = instant()


class Content(SQLModel, table=True):
    """Rendered manifests, keyed by (tenant, hash): zlib-compressed canonical JSON of `domain.manifests.Rendered`."""

    __tablename__ = "contents"
    __table_args__ = (ForeignKeyConstraint(["tenant"], ["tenants.tenant"]),)
    tenant: str = Field(primary_key=True)
    hash: str = Field(primary_key=True)
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = instant(default_now=True)


class Release(SQLModel, table=True):
    """An immutable version of an app; `digest` identifies its bytes whatever the version says. Proven: a rollout of it succeeded.

    `on_behalf_of`: whom the token of a CI run names as the one who set it off; counts as an author.
    """

    __tablename__ = "releases"
    __table_args__ = (Index("ix_releases_digest", "digest"),)
    app: str = Field(primary_key=True)
    version: str = Field(primary_key=True)
    spec: dict[str, Any] = json_field()
    digest: str
    created_at: datetime = instant(default_now=True)
    created_by: str
    on_behalf_of: str = Field(default="", sa_column_kwargs={"server_default": text("''")})
    proven_at: datetime | None = instant()
    proven_by: uuid.UUID | None = None


class Artifact(SQLModel, table=True):
    """Bytes of a chart archive or manifests, by digest."""

    __tablename__ = "artifacts"
    digest: str = Field(primary_key=True)
    media_type: str
    size: int
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = instant(default_now=True)
    created_by: str


class Hold(SQLModel, table=True):
    """No trigger starts these bytes until a person lifts the hold with a reason."""

    __tablename__ = "holds"
    __table_args__ = (
        Index("ix_holds_open", "digest", unique=True, postgresql_where=text("lifted_at is null")),
        CheckConstraint("lifted_at is null or lift_reason <> ''", name="hold_lift_reason"),
    )
    id: uuid.UUID = Field(primary_key=True)
    app: str
    version: str
    digest: str
    reason: str
    rollout_id: uuid.UUID | None = None
    created_at: datetime = instant(default_now=True)
    created_by: str
    lifted_at: datetime | None = instant()
    lifted_by: str = ""
    lift_reason: str = ""
