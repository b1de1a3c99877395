"""The unit of work on PostgreSQL. A feature's store is one file in this folder and one line in `PostgresUnitOfWork`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.names import new_id
from controlplane.ports.trace import current_trace_id, trace_headers

from .answers import PostgresAnswers
from .approvals import PostgresApprovals
from .audit import PostgresAuditChain
from .blames import PostgresBlames
from .breakglass import PostgresBreakGlass
from .budgets import PostgresBudgets
from .configuration import PostgresConfiguration
from .correlation import PostgresCorrelation
from .emergencies import PostgresEmergencies
from .events import PostgresEvents
from .evidence import PostgresEvidence
from .freezes import PostgresFreezes
from .gate_reads import PostgresGateReads
from .intents import PostgresIntents
from .json_text import as_json
from .keys import PostgresKeys
from .looks import PostgresLooks
from .notices import PostgresNoticeStore
from .operations import PostgresOperations
from .outbox import PostgresDeliveries, PostgresOutbox
from .outcomes import PostgresOutcomes
from .panel import PostgresPanel
from .releases import PostgresReleases
from .rollouts_store import PostgresRollouts
from .self_service import PostgresSelfService
from .sessions import PostgresSessions
from .tenants import PostgresTenants
from .windows import PostgresWindows

_RECORD = text(
    """
    insert into history (subject_kind, subject_id, seq, type, tenant, data, at)
    select cast(:kind as text), cast(:id as text), coalesce(max(seq), 0) + 1, :type, cast(:tenant as text), cast(:data as jsonb), now()
    from history where subject_kind = :kind and subject_id = :id
    returning seq
    """
)
_OUTBOX = text(
    "insert into outbox (subject, msg_id, payload, headers) values (:subject, :msg_id, cast(:payload as jsonb), cast(:headers as jsonb))"
)
_AUDIT = text(
    "insert into audit (actor, action, subject, tenant, detail, trace_id)"
    " values (:actor, :action, :subject, :tenant, cast(:detail as jsonb), :trace_id)"
)


class PostgresUnitOfWork:
    """One transaction on one session. See `controlplane.ports.uow.UnitOfWork`."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self.session = session
        self._now = now
        self.woke = False

    @property
    def audit_chain(self) -> PostgresAuditChain:
        """Sealing the audit trail."""
        return PostgresAuditChain(self.session)

    @property
    def blames(self) -> PostgresBlames:
        """Votes on blame."""
        return PostgresBlames(self.session)

    @property
    def breakglass(self) -> PostgresBreakGlass:
        """What outlives Seawall."""
        return PostgresBreakGlass(self.session)

    @property
    def budgets(self) -> PostgresBudgets:
        """Budgets across rollouts, and breakers."""
        return PostgresBudgets(self.session)

    @property
    def configuration(self) -> PostgresConfiguration:
        """Configuration objects and their versions."""
        return PostgresConfiguration(self.session)

    @property
    def correlation(self) -> PostgresCorrelation:
        """What stands on timelines."""
        return PostgresCorrelation(self.session)

    @property
    def evidence(self) -> PostgresEvidence:
        """What others attest: about releases, and tenants' backups."""
        return PostgresEvidence(self.session)

    @property
    def panel(self) -> PostgresPanel:
        """Reads of the web console."""
        return PostgresPanel(self.session)

    @property
    def sessions(self) -> PostgresSessions:
        """Logins of the web console."""
        return PostgresSessions(self.session)

    @property
    def freezes(self) -> PostgresFreezes:
        """The stop button's rows."""
        return PostgresFreezes(self.session)

    @property
    def answers(self) -> PostgresAnswers:
        """Questions to endpoints, and their answers."""
        return PostgresAnswers(self.session)

    @property
    def gates(self) -> PostgresGateReads:
        """Gates as people see them."""
        return PostgresGateReads(self.session)

    @property
    def notices(self) -> PostgresNoticeStore:
        """Notices given to owners."""
        return PostgresNoticeStore(self.session)

    @property
    def windows(self) -> PostgresWindows:
        """Calendars and whose they are."""
        return PostgresWindows(self.session)

    @property
    def looks(self) -> PostgresLooks:
        """Reads of history and audit."""
        return PostgresLooks(self.session)

    @property
    def outcomes(self) -> PostgresOutcomes:
        """Reads for figures over many rollouts."""
        return PostgresOutcomes(self.session)

    @property
    def releases(self) -> PostgresReleases:
        """Releases, artifacts and holds."""
        return PostgresReleases(self.session)

    @property
    def deliveries(self) -> PostgresDeliveries:
        """Events on their way to webhook subscribers."""
        return PostgresDeliveries(self.session, self._now)

    @property
    def emergencies(self) -> PostgresEmergencies:
        """The record of the emergency lane."""
        return PostgresEmergencies(self.session)

    @property
    def events(self) -> PostgresEvents:
        """Events in, and what became of them."""
        return PostgresEvents(self.session)

    @property
    def intents(self) -> PostgresIntents:
        """The first answers to idempotency keys."""
        return PostgresIntents(self.session)

    @property
    def keys(self) -> PostgresKeys:
        """API keys."""
        return PostgresKeys(self.session)

    @property
    def outbox(self) -> PostgresOutbox:
        """What the relay publishes."""
        return PostgresOutbox(self.session)

    @property
    def approvals(self) -> PostgresApprovals:
        """Votes on gates."""
        return PostgresApprovals(self.session)

    @property
    def rollouts(self) -> PostgresRollouts:
        """Rollouts: facts for plans, rows, commands, reads."""
        return PostgresRollouts(self.session)

    @property
    def operations(self) -> PostgresOperations:
        """Operations, their items and steps."""
        return PostgresOperations(self.session)

    @property
    def self_service(self) -> PostgresSelfService:
        """One tenant's view."""
        return PostgresSelfService(self.session)

    @property
    def tenants(self) -> PostgresTenants:
        """The registry of tenants."""
        return PostgresTenants(self.session)

    @property
    def now(self) -> datetime:
        """The database's clock when the transaction began."""
        return self._now

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """A part that fails on its own."""
        return self.session.begin_nested()

    def new_id(self) -> uuid.UUID:
        """A fresh UUIDv7."""
        return new_id(self._now)

    async def audit(
        self,
        actor: str,
        action: str,
        subject: str,
        *,
        tenant: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Insert one audit row."""
        values = {"actor": actor, "action": action, "subject": subject, "tenant": tenant}
        await self.session.execute(_AUDIT, {**values, "detail": as_json(detail or {}), "trace_id": current_trace_id()})

    async def record(
        self,
        kind: str,
        subject_id: str,
        change: str,
        *,
        tenant: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> int:
        """Insert one history row and its copy for the event feed."""
        event_type = f"dev.seawall.{kind}.{change}.v1"
        values = {"kind": kind, "id": subject_id, "type": event_type, "tenant": tenant, "data": as_json(data or {})}
        seq = int((await self.session.execute(_RECORD, values)).scalar_one())
        payload = {
            "kind": kind,
            "id": subject_id,
            "seq": seq,
            "type": event_type,
            "tenant": tenant,
            "time": self._now,
            "data": data or {},
        }
        await self._enqueue(f"sw.event.{tenant or '_fleet'}.{kind}.{change}", f"{kind}-{subject_id}-{seq}", payload)
        return seq

    async def wake(self, kind: str, subject_id: str, *, tenant: str = "_fleet") -> None:
        """Insert a wake-up into the outbox."""
        self.woke = True
        await self._enqueue(f"sw.intent.{tenant}.{kind}", f"wake-{self.new_id()}", {"kind": kind, "id": subject_id})

    async def _enqueue(self, subject: str, msg_id: str, payload: Mapping[str, Any]) -> None:
        values = {
            "subject": subject,
            "msg_id": msg_id,
            "payload": as_json(payload),
            "headers": as_json(trace_headers()),
        }
        await self.session.execute(_OUTBOX, values)
