"""Tenants and operations as the API shows them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import Field

from controlplane.domain.operations import ItemState, OperationKind, OperationState
from controlplane.domain.tenants import TenantPhase, TenantSpec
from controlplane.domain.wire import Wire


class Placement(Wire):
    """Where an environment is, and which tier its walls have now (none: not raised yet)."""

    environment: str
    cluster: str
    namespace: str
    uid: str | None
    walls_tier: str | None
    changing: str | None = Field(description="The rollout or operation that holds the environment now.")


class TenantView(TenantSpec):
    """A tenant: what was asked for, and where it stands."""

    phase: TenantPhase
    phase_reason: str
    generation: int
    placements: list[Placement]
    created_at: datetime
    updated_at: datetime


class WaitingFor(Wire):
    """What somebody waits for: since when, and who can end it, if a person can."""

    gate: str
    reason: str
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    who: str | None = None


class ItemView(Wire):
    """One part of an operation: a tenant's environment, or a line of a batch that could not be carried out."""

    ordinal: int
    line: int | None = None
    tenant: str
    environment: str
    state: ItemState
    stage: str
    problem: dict[str, Any] | None = None
    waiting_for: WaitingFor | None = None
    report: dict[str, Any] | None = Field(default=None, description="With adopt: observe, what was found.")
    installs: dict[str, str] = Field(default_factory=dict, description="App to the version that is installed.")
    steps: list[StepItem] = Field(default_factory=list, description="Its effects, where they were asked for.")


class StepItem(Wire):
    """One external effect as the ledger has it."""

    phase: str
    verb: str
    kind: str
    name: str
    state: str
    outcome: str
    issued_at: datetime | None
    observed_at: datetime | None


class OperationView(Wire):
    """An operation: where it stands, how many items are in which state, and the first problem if it failed."""

    id: uuid.UUID
    kind: OperationKind
    tenant: str | None
    state: OperationState
    items: dict[ItemState, int]
    items_url: str
    waiting_for: list[WaitingFor]
    result: dict[str, Any]
    problem: dict[str, Any] | None
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
