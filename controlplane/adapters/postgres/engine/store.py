"""The driver's door to PostgreSQL: see `controlplane.ports.engine`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.adapters.icalendars import ICalendars
from controlplane.adapters.postgres.batch import Batch
from controlplane.adapters.postgres.database import Database
from controlplane.adapters.postgres.gates import write_gates
from controlplane.adapters.postgres.leases import lock_lease, locked_command_seq, mark_applied, read_commands
from controlplane.adapters.postgres.uow import PostgresUnitOfWork
from controlplane.adapters.postgres.windows import read_attachments
from controlplane.domain.admission import EnvironmentRow
from controlplane.domain.breaker import Trip
from controlplane.domain.counts import GroupCount
from controlplane.domain.dispatch import Started
from controlplane.domain.engine import Decision, EffectDone, Frozen
from controlplane.domain.exposure import FLEET_IN_FLIGHT, Amount, Budget
from controlplane.domain.manifests import InventoryItem, Rendered
from controlplane.domain.names import new_id
from controlplane.domain.windows import Attached, Default
from controlplane.domain.work import Given, Work
from controlplane.ports.calendars import Calendars
from controlplane.ports.engine import Ask, DataFaultError, Loaded, Observed
from controlplane.ports.leases import CommandRow, HeldLease
from controlplane.ports.meters import SILENT, Meters, Tick
from controlplane.ports.trace import span
from controlplane.services.windows import attach

from . import freezes, load, start, write
from .breakers import judge_breakers, note_probe, open_breakers
from .packing import unpack

_CONTENTS = text(
    """
    select c.tenant, c.hash, c.body from contents c
    join unnest(cast(:tenants as text[]), cast(:hashes as text[])) as x(tenant, hash) on c.tenant = x.tenant and c.hash = x.hash
    where c.tenant = any(cast(:tenants as text[]))
    """
)
_GIVEN = text(
    """
    select r.tenant, r.environment, r.revision, r.inventory, c.body
    from revisions r
    join contents c on c.tenant = r.tenant and c.hash = r.content_hash
    join unnest(cast(:tenants as text[]), cast(:environments as text[]), cast(:revisions as int[])) as x(tenant, environment, revision)
      on r.tenant = x.tenant and r.environment = x.environment and r.revision = x.revision
    where r.app = :app and r.tenant = any(cast(:tenants as text[])) and c.tenant = any(cast(:tenants as text[]))
    """
)
_HOLD = text(
    """
    insert into holds (id, app, version, digest, reason, rollout_id, created_by, lifted_by, lift_reason)
    select :hold, app, version, digest, :reason, :id, 'seawall', '', '' from releases where app = :app and version = :version
    on conflict do nothing
    """
)
_FLEET_VERSION = text("select version from budgets where scope = 'fleet/inFlight'")
_POSTPONE = text("update rollouts set due_at = :due where id = :id")
_PROVE = text(
    "update releases set proven_at = now(), proven_by = :id where app = :app and version = :version and proven_at is null"
)


class PostgresEngineStore:
    """See `controlplane.ports.engine.EngineStore`."""

    def __init__(self, database: Database, meters: Meters = SILENT, calendars: Calendars | None = None) -> None:
        self._database = database
        self._meters = meters
        self._calendars = calendars or ICalendars()

    async def load(self, lease: HeldLease) -> Loaded:
        """Load a rollout as its new driver."""
        async with self._database.engine() as uow:
            loaded = await load.load(uow.session, lease)
        if loaded.commands:
            lease.command_seq = loaded.commands[-1].seq
        return loaded

    @asynccontextmanager
    async def begin(self, lease: HeldLease) -> AsyncIterator[PostgresEngineTransaction]:
        """Open one driver transaction."""
        started = time.monotonic()
        try:
            with span("tick", rollout=str(lease.subject_id), epoch=lease.epoch):
                async with self._database.engine() as uow:
                    sent = await lock_lease(uow.session, lease)
                    seq = locked_command_seq(uow.session)
                    commands: list[CommandRow] = []
                    if seq != lease.command_seq:
                        commands = await read_commands(uow.session, lease.kind, lease.subject_id, lease.command_seq)
                    tx = PostgresEngineTransaction(uow.session, lease, uow.now, commands)
                    yield tx
                    await tx.flush()
        except (IntegrityError, DataError) as error:
            raise DataFaultError(f"PostgreSQL refused a row ({type(error.orig).__name__})") from error
        self._meters.ticked(tx.tick(time.monotonic() - started))
        lease.sent_at = sent
        lease.command_seq = seq

    async def frozen(self, known: Frozen, tenants: Sequence[str], environment: str) -> Frozen:
        """Read the freezes again if they changed."""
        async with self._database.engine() as uow:
            version = (await uow.session.execute(_FLEET_VERSION)).scalar_one_or_none()
            ended = known.until is not None and known.until <= uow.now
            if version is None or (version == known.version and not ended):
                return known
            return await freezes.read_frozen(uow.session, tenants, environment, version, known.passes)

    async def windows(self, tenants: Sequence[str], environment: str, default: Default) -> Attached:
        """Read the calendars and whose they are, then work them out."""
        async with self._database.engine() as uow:
            version = (await uow.session.execute(_FLEET_VERSION)).scalar_one_or_none()
            found, now = await read_attachments(uow.session, tenants, environment), uow.now
        return await attach(found, self._calendars, default, now, version=-1 if version is None else version)

    async def stored(
        self, contents: Sequence[Ask], revisions: Sequence[Ask], app: str
    ) -> tuple[Mapping[Ask, Rendered], Mapping[Ask, Given]]:
        """Read contents and what revisions gave, in one transaction."""
        bodies: list[Any] = []
        hashes = {"tenants": [a.tenant for a in contents], "hashes": [a.content for a in contents]}
        places = {"tenants": [a.tenant for a in revisions], "environments": [a.environment for a in revisions]}
        numbers = {"revisions": [a.revision for a in revisions], "app": app}
        async with self._database.engine() as uow:
            batch = Batch(uow.session)
            batch.add(_CONTENTS, hashes, bodies.extend)
            rows = await batch.rows(_GIVEN, places | numbers)
        found = {(row.tenant, row.hash): row.body for row in bodies}
        asked = {ask: unpack(found[ask.tenant, ask.content]) for ask in contents if (ask.tenant, ask.content) in found}
        return asked, {Ask(row.tenant, row.environment, row.revision): _given(row) for row in rows}


class PostgresEngineTransaction:
    """See `controlplane.ports.engine.EngineTransaction`."""

    def __init__(self, session: AsyncSession, lease: HeldLease, now: datetime, commands: Sequence[CommandRow]) -> None:
        self._session = session
        self._batch = Batch(session)
        self._id = lease.subject_id
        self._lease = lease
        self._uow = PostgresUnitOfWork(session, now)
        self._trips: Sequence[Trip] = ()
        self._passes = False
        self._deltas: dict[str, Amount] = {}
        self._fleet_version = -1
        self._moved: Counter[str] = Counter()
        self._issued: Counter[str] = Counter()
        self._observed: Counter[str] = Counter()
        self.now = now
        self.commands = commands

    async def write(self, decision: Decision, *, app: str, environment: str) -> None:
        """Write a decision; what it gives back is kept for `settle`."""
        targets = [new for _, new in decision.targets.values()]
        self._moved.update(new.state.value for old, new in decision.targets.values() if new.state is not old.state)
        write.write_rollout(self._batch, self._id, decision.rollout)
        write.write_waves(self._batch, self._id, decision)
        write_gates(self._batch, self._id, decision)
        write.write_targets(self._batch, self._id, targets)
        write.write_consequences(self._batch, self._id, decision, self._note, app=app, environment=environment)
        write.write_events(self._batch, self._id, decision.events, self.now)

    async def observe(
        self, observed: Sequence[Observed], done: Sequence[EffectDone], *, app: str, environment: str
    ) -> None:
        """Write what effects came back with."""
        self._observed.update(row.outcome for row in observed)
        write.write_observed(self._batch, self._id, observed, done, {"app": app, "environment": environment})

    async def lock_environments(
        self, tenants: Sequence[str], app: str, environment: str
    ) -> Mapping[str, EnvironmentRow]:
        """Lock environments; those of stuck targets are freed of old debts."""
        rows = await start.lock_environments(self._batch, self._id, tenants, app=app, environment=environment)
        dirty = [row.tenant for row in rows.values() if row.dirty]
        if dirty:
            debts = await start.old_debts(self._batch, self._id, dirty, environment)
            self._note({scope: -amount for scope, amount in debts.items()})
        return rows

    async def lock_budgets(self, scopes: Iterable[str]) -> Mapping[str, Budget]:
        """Lock budgets, with what this transaction gives back subtracted. Breakers that open do so here, under the locks."""
        await self._returned()
        wanted = {*scopes, *self._deltas, *(trip.scope for trip in self._trips)}
        wanted |= {FLEET_IN_FLIGHT} if self._trips else set()
        if not wanted:
            return {}
        budgets, self._fleet_version = await start.lock_budgets(self._batch, wanted)
        for scope in await open_breakers(self._uow, self._trips, budgets):
            budgets[scope] = replace(budgets[scope], breaker="open")
            self._fleet_version += 1  # as the row's: what drivers remember of freezes is read again
        return {s: replace(b, reserved=b.reserved + self._deltas.get(s, 0)) for s, b in budgets.items()}

    async def judge_breakers(self) -> Sequence[str]:
        """Judge the breakers."""
        await self._batch.flush()
        self._trips = await judge_breakers(self._session)
        return [trip.code for trip in self._trips]

    async def let_through(self, tenant: str, scopes: Iterable[str]) -> None:
        """Note a probe; the rows are locked."""
        await note_probe(self._uow, scopes, str(self._id), tenant)

    async def issue(
        self, started: Sequence[Started], work: Mapping[str, Work], *, app: str, environment: str, release: str
    ) -> None:
        """Write who starts and what is issued."""
        self._issued.update(item.verb for one in work.values() for item in one.items)
        place = {"app": app, "environment": environment}
        start.issue(self._batch, self._id, started, work, place, release)

    async def raise_epochs(self, seals: Mapping[str, int]) -> Mapping[str, int]:
        """Raise environments above seals found in the cluster."""
        return await start.raise_epochs(self._batch, self._id, seals)

    def tick(self, seconds: float) -> Tick:
        """What this transaction wrote, for the meters."""
        return Tick(seconds, self._moved, self._issued, self._observed)

    async def write_counts(self, counts: Mapping[int, Sequence[GroupCount]], reasons: Mapping[str, str]) -> None:
        """Write waves' counts."""
        write.write_counts(self._batch, self._id, self._lease.epoch, counts, reasons)

    async def settle(self, taken: Mapping[str, Amount]) -> None:
        """Write the budgets."""
        await self._returned()
        self._note(taken)
        start.settle(self._batch, self._id, self._deltas, taken, passes=self._passes)

    async def frozen(self, known: Frozen, tenants: Sequence[str]) -> Frozen:
        """Read freezes again if the fleet row's version moved, or one has ended."""
        self._passes = bool(known.passes)
        ended = known.until is not None and known.until <= self.now
        if known.version == self._fleet_version and not ended:
            return known
        environment = await self._environment()
        return await freezes.read_frozen(self._session, tenants, environment, self._fleet_version, known.passes)

    async def hold(self, app: str, release: str, reason: str) -> None:
        """Hold the release."""
        values = {"hold": new_id(self.now), "id": self._id, "app": app, "version": release, "reason": reason}
        self._batch.add(_HOLD, values)

    async def prove(self, app: str, release: str) -> None:
        """Note that the release is proven."""
        self._batch.add(_PROVE, {"id": self._id, "app": app, "version": release})

    async def postpone(self, due_at: datetime) -> None:
        """Set when the sweeper looks next."""
        self._batch.add(_POSTPONE, {"id": self._id, "due": due_at})

    async def applied(self, up_to: int) -> None:
        """Note commands as applied."""
        await mark_applied(self._session, self._lease.kind, self._id, up_to)

    async def _environment(self) -> str:
        statement = text("select environment from rollouts where id = :id")
        return str((await self._session.execute(statement, {"id": self._id})).scalar_one())

    async def flush(self) -> None:
        """Send what was not sent yet."""
        await self._batch.flush()

    async def _returned(self) -> None:
        """Know what budgets get back by what was written."""
        if self._batch.owes_rows():
            await self._batch.flush()

    def _note(self, deltas: Mapping[str, Amount]) -> None:
        for scope, delta in deltas.items():
            self._deltas[scope] = self._deltas.get(scope, 0) + delta


def _given(row: Any) -> Given:
    return Given(row.revision, unpack(row.body), tuple(InventoryItem.model_validate(item) for item in row.inventory))
