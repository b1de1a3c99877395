"""Leases on PostgreSQL: raw statements on the engine's pool, database clock only."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.plans import PLAN_SCHEMA_VERSION
from controlplane.ports.leases import TTL_SECONDS, CommandRow, DueSubject, HeldLease, LeaseLostError

from .engine_timeline import TIMELINE
from .guard import KEY

if TYPE_CHECKING:  # a unit of work has stores, one of which uses this file
    from .database import Database

_TAKE = text(
    f"""
    update leases set holder = :holder, epoch = epoch + 1, expires_at = clock_timestamp() + make_interval(secs => :ttl)
    where (subject_kind, subject_id) = (:kind, :id) and (holder = '' or expires_at < clock_timestamp())
      and not exists (select 1 from rollouts r where :kind = 'rollout' and r.id = :id and r.schema_version > :schema)
      and not exists (
        select 1 from targets t join environments e using (tenant, environment)
        where :kind = 'rollout' and t.rollout_id = :id and cast(:clusters as text[]) is not null and e.cluster <> all(:clusters)
      )
    returning epoch, {TIMELINE} as timeline,
      (select r.origin -> 'trace' from rollouts r where :kind = 'rollout' and r.id = :id) as trace, (
      select coalesce(max(seq), 0) from commands where (subject_kind, subject_id) = (:kind, :id) and applied_at is not null
    ) as command_seq
    """  # noqa: S608 -- constant
)
_RENEW = text(
    f"""
    update leases set expires_at = clock_timestamp() + make_interval(secs => :ttl)
    where (subject_kind, subject_id) = (:kind, :id) and holder = :holder and epoch = :epoch and expires_at > clock_timestamp()
    returning command_seq, {TIMELINE} as timeline
    """  # noqa: S608 -- constant
)
_RELEASE = text(
    """
    update leases set holder = '', expires_at = clock_timestamp()
    where (subject_kind, subject_id) = (:kind, :id) and holder = :holder and epoch = :epoch
    """
)
_SOONEST = text(
    "select extract(epoch from min(expires_at) - clock_timestamp()) from leases where holder <> '' and expires_at > clock_timestamp()"
)
_FREE = f"pg_try_advisory_xact_lock_shared({KEY.format(holder='w.id')})"
_GONE = text(
    f"""
    select w.id from workers w
    where w.guarded and w.id <> :but and pg_postmaster_start_time() < clock_timestamp() - interval '10 seconds'
      and exists (select 1 from leases l where l.holder = w.id and l.expires_at > clock_timestamp())
      and {_FREE}
    """  # noqa: S608 -- constant
)
_LET_RUN_OUT = text(
    f"""
    update leases l set expires_at = clock_timestamp()
    from workers w
    where l.holder = :holder and w.id = l.holder and w.guarded and l.expires_at > clock_timestamp() and {_FREE}
    """  # noqa: S608 -- constant
)
_COMMANDS = text(
    """
    select seq, command, body, actor, created_at from commands
    where (subject_kind, subject_id) = (:kind, :id) and seq > :seq order by seq
    """
)
_APPLIED = text(
    """
    update commands set applied_at = now()
    where (subject_kind, subject_id) = (:kind, :id) and seq <= :seq and applied_at is null
    """
)
_DUE = {
    "rollout": text(
        """
        select r.id, extract(epoch from now() - r.due_at)::float8 as late
        from rollouts r join leases l on l.subject_kind = 'rollout' and l.subject_id = r.id
        where r.state not in ('draft','succeeded','failed','aborted') and r.due_at <= now()
          and (l.holder = '' or l.expires_at < now()) and r.schema_version <= :schema
          and not exists (
            select 1 from targets t join environments e using (tenant, environment)
            where t.rollout_id = r.id and cast(:clusters as text[]) is not null and e.cluster <> all(:clusters)
          )
        order by r.due_at limit :limit
        """
    ),
    "operation": text(
        """
        select o.id, extract(epoch from now() - o.due_at)::float8 as late
        from operations o join leases l on l.subject_kind = 'operation' and l.subject_id = o.id
        where o.state not in ('succeeded','failed','cancelled') and o.due_at <= now()
          and (l.holder = '' or l.expires_at < now())
          and not exists (
            select 1 from operation_items i join environments e using (tenant, environment)
            where i.operation_id = o.id and cast(:clusters as text[]) is not null and e.cluster <> all(:clusters)
          )
        order by o.due_at limit :limit
        """
    ),
}


class PostgresLeases:
    """See `controlplane.ports.leases.Leases`.

    `schema_version`: the newest plan this process understands; newer ones are left to newer workers. `clusters`: those it
    serves (None: all); a rollout that touches another one is left to others. `ttl`: how long a lease lasts, in seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        schema_version: int = PLAN_SCHEMA_VERSION,
        clusters: frozenset[str] | None = None,
        ttl: float = TTL_SECONDS,
    ) -> None:
        self._database = database
        self._ttl = ttl
        self._served = {"schema": schema_version, "clusters": None if clusters is None else sorted(clusters)}

    async def take(self, kind: str, subject_id: uuid.UUID, holder: str) -> HeldLease | None:
        """Take the lease if it is free or ran out."""
        sent = time.monotonic()
        async with self._database.engine() as uow:
            values = {"kind": kind, "id": subject_id, "holder": holder, "ttl": self._ttl}
            row = (await uow.session.execute(_TAKE, values | self._served)).one_or_none()
        if row is None:
            return None
        return HeldLease(
            kind, subject_id, holder, row.epoch, row.command_seq, sent, self._ttl, row.timeline, row.trace or {}
        )

    async def renew(self, lease: HeldLease) -> None:
        """Push the expiry out in a transaction of its own."""
        async with self._database.engine() as uow:
            sent = await lock_lease(uow.session, lease)
        lease.sent_at = sent

    async def release(self, lease: HeldLease) -> None:
        """Let go early."""
        async with self._database.engine() as uow:
            await uow.session.execute(_RELEASE, _key(lease))

    async def due(self, kinds: tuple[str, ...], limit: int = 64) -> list[DueSubject]:
        """What is due and not driven."""
        found = []
        async with self._database.engine() as uow:
            for kind in kinds:
                rows = await uow.session.execute(_DUE[kind], self._served | {"limit": limit})
                found += [DueSubject(kind, row.id, row.late) for row in rows]
        return found

    async def gone(self, but: str) -> list[str]:
        """Holders whose guard's lock is free. Not soon after PostgreSQL's own start, when everybody's session is gone."""
        async with self._database.engine() as uow:
            return list((await uow.session.execute(_GONE, {"but": but})).scalars())

    async def let_run_out(self, holder: str) -> int:
        """End a gone holder's leases."""
        async with self._database.engine() as uow:
            ended = await uow.session.execute(_LET_RUN_OUT, {"holder": holder})
            return int(ended.rowcount)  # type: ignore[attr-defined]  # a cursor result, which the annotation does not say

    async def soonest_expiry(self) -> float | None:
        """Seconds until the first held lease runs out unless it is renewed."""
        async with self._database.engine() as uow:
            seconds = (await uow.session.execute(_SOONEST)).scalar_one()
        return None if seconds is None else max(0.0, float(seconds))


def _key(lease: HeldLease) -> dict[str, Any]:
    return {
        "kind": lease.kind,
        "id": lease.subject_id,
        "holder": lease.holder,
        "epoch": lease.epoch,
        "ttl": lease.ttl,
    }


async def lock_lease(session: AsyncSession, lease: HeldLease) -> float:
    """Lock the lease row in this transaction, renew it, and compare epoch and holder; raises `LeaseLostError`.

    Returns our monotonic clock when the renewal was sent: put it into `lease.sent_at` after the commit is known.
    `lease.command_seq` is left alone: compare `locked_command_seq`.
    """
    sent = time.monotonic()
    row = (await session.execute(_RENEW, _key(lease))).one_or_none()
    if row is None:
        raise LeaseLostError(
            f"The lease on {lease.kind} {lease.subject_id} with epoch {lease.epoch} is not ours any more."
        )
    if lease.timeline not in (0, row.timeline):
        raise LeaseLostError(
            f"PostgreSQL went from timeline {lease.timeline} to {row.timeline}; {lease.kind} {lease.subject_id} is loaded afresh."
        )
    session.info["command_seq"] = row.command_seq
    return sent


def locked_command_seq(session: AsyncSession) -> int:
    """The command_seq that `lock_lease` read in this transaction; if it moved, issue nothing and read the commands."""
    return int(session.info["command_seq"])


async def read_commands(session: AsyncSession, kind: str, subject_id: uuid.UUID, after: int) -> list[CommandRow]:
    """Commands with a higher number than `after`, in order."""
    rows = await session.execute(_COMMANDS, {"kind": kind, "id": subject_id, "seq": after})
    return [CommandRow(row.seq, row.command, row.body, row.actor, row.created_at) for row in rows]


async def mark_applied(session: AsyncSession, kind: str, subject_id: uuid.UUID, up_to: int) -> None:
    """Note that the driver has taken commands up to `up_to` into account, in the transaction that did."""
    await session.execute(_APPLIED, {"kind": kind, "id": subject_id, "seq": up_to})


async def create_lease(session: AsyncSession, kind: str, subject_id: uuid.UUID) -> None:
    """Insert the free lease row of a new rollout or operation, in the transaction that creates it."""
    statement = text(
        "insert into leases (subject_kind, subject_id, holder, epoch, expires_at, command_seq) values (:k, :i, '', 0, now(), 0)"
    )
    await session.execute(statement, {"k": kind, "i": subject_id})
