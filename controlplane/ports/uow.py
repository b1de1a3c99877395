"""One transaction, and the stores it reaches. A feature adds its store as one file in `ports/stores` and one line here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from controlplane.ports.endpoints import AnswerStore
from controlplane.ports.notices import NoticeStore
from controlplane.ports.stores.approvals import ApprovalStore
from controlplane.ports.stores.audit import AuditChainStore
from controlplane.ports.stores.blames import BlameStore
from controlplane.ports.stores.breakglass import BreakGlassStore
from controlplane.ports.stores.budgets import BudgetStore
from controlplane.ports.stores.configuration import ConfigStore
from controlplane.ports.stores.correlation import CorrelationStore
from controlplane.ports.stores.emergencies import EmergencyStore
from controlplane.ports.stores.events import EventStore
from controlplane.ports.stores.evidence import EvidenceStore
from controlplane.ports.stores.freezes import FreezeStore
from controlplane.ports.stores.gates import GateReads
from controlplane.ports.stores.intents import IntentStore
from controlplane.ports.stores.keys import KeyStore
from controlplane.ports.stores.looks import LookStore
from controlplane.ports.stores.operations import OperationStore
from controlplane.ports.stores.outbox import DeliveryStore, OutboxStore
from controlplane.ports.stores.outcomes import OutcomeStore
from controlplane.ports.stores.panel import PanelStore
from controlplane.ports.stores.releases import ReleaseStore
from controlplane.ports.stores.rollouts import RolloutsStore
from controlplane.ports.stores.self_service import SelfServiceStore
from controlplane.ports.stores.sessions import SessionStore
from controlplane.ports.stores.tenants import TenantStore
from controlplane.ports.stores.windows import WindowStore


class UnitOfWork(Protocol):
    """One database transaction as one role. Leaving its context commits; an exception rolls back.

    Never make an external call inside it.
    """

    @property
    def audit_chain(self) -> AuditChainStore:
        """Sealing the audit trail."""
        ...

    @property
    def blames(self) -> BlameStore:
        """Votes on blame."""
        ...

    @property
    def breakglass(self) -> BreakGlassStore:
        """What outlives Seawall."""
        ...

    @property
    def budgets(self) -> BudgetStore:
        """Budgets across rollouts, and breakers."""
        ...

    @property
    def configuration(self) -> ConfigStore:
        """Configuration objects and their versions."""
        ...

    @property
    def correlation(self) -> CorrelationStore:
        """What stands on timelines."""
        ...

    @property
    def evidence(self) -> EvidenceStore:
        """What others attest: about releases, and tenants' backups."""
        ...

    @property
    def panel(self) -> PanelStore:
        """Reads of the web console."""
        ...

    @property
    def sessions(self) -> SessionStore:
        """Logins of the web console."""
        ...

    @property
    def freezes(self) -> FreezeStore:
        """The stop button's rows."""
        ...

    @property
    def answers(self) -> AnswerStore:
        """Questions to endpoints, and their answers."""
        ...

    @property
    def gates(self) -> GateReads:
        """Gates as people see them."""
        ...

    @property
    def notices(self) -> NoticeStore:
        """Notices given to owners."""
        ...

    @property
    def windows(self) -> WindowStore:
        """Calendars and whose they are."""
        ...

    @property
    def looks(self) -> LookStore:
        """Reads of history and audit."""
        ...

    @property
    def outcomes(self) -> OutcomeStore:
        """Reads for figures over many rollouts."""
        ...

    @property
    def releases(self) -> ReleaseStore:
        """Releases, artifacts and holds."""
        ...

    @property
    def deliveries(self) -> DeliveryStore:
        """Events on their way to webhook subscribers."""
        ...

    @property
    def emergencies(self) -> EmergencyStore:
        """The record of the emergency lane."""
        ...

    @property
    def events(self) -> EventStore:
        """Events in, and what became of them."""
        ...

    @property
    def intents(self) -> IntentStore:
        """The first answers to idempotency keys."""
        ...

    @property
    def keys(self) -> KeyStore:
        """API keys."""
        ...

    @property
    def outbox(self) -> OutboxStore:
        """What the relay publishes."""
        ...

    @property
    def approvals(self) -> ApprovalStore:
        """Votes on gates."""
        ...

    @property
    def rollouts(self) -> RolloutsStore:
        """Rollouts: facts for plans, rows, commands, reads."""

    @property
    def operations(self) -> OperationStore:
        """Operations, their items and steps."""
        ...

    @property
    def self_service(self) -> SelfServiceStore:
        """One tenant's view."""
        ...

    @property
    def tenants(self) -> TenantStore:
        """The registry of tenants."""
        ...

    @property
    def now(self) -> datetime:
        """The database's clock when the transaction began (UTC)."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """A part that fails on its own: an exception leaving it undoes what was written inside, and goes on."""
        ...

    def new_id(self) -> uuid.UUID:
        """A fresh UUIDv7 at `now`."""
        ...

    async def audit(
        self,
        actor: str,
        action: str,
        subject: str,
        *,
        tenant: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Write who did what to what, in this transaction. `detail` holds no secrets."""
        ...

    async def record(
        self,
        kind: str,
        subject_id: str,
        change: str,
        *,
        tenant: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> int:
        """Write one state change to the history of a subject, numbered; the caller holds the subject's row lock.

        `kind` is `rollout`, `tenant`, `operation`, `release`, ...; the event's type becomes `dev.seawall.<kind>.<change>.v1`, and a
        copy goes to the outbox as `sw.event.<tenant or _fleet>.<kind>.<change>`. Returns the number.
        """
        ...

    async def wake(self, kind: str, subject_id: str, *, tenant: str = "_fleet") -> None:
        """Ask the workers to look at a rollout, operation or event: an outbox entry that carries (kind, id) only."""
        ...


class Transactions(Protocol):
    """Opens transactions as one of the database's three roles; each has a pool of its own."""

    def platform(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """As the API's fleet roles."""
        ...

    def tenant(self, name: str) -> AbstractAsyncContextManager[UnitOfWork]:
        """As one tenant: rows of all others are invisible, whatever the statement says."""
        ...

    def engine(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """As the workers."""
        ...
