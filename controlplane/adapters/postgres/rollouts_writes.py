"""The rows of a new rollout, and commands to one. Every multi-row write compares its row count with what it sent."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import batched
from typing import Any

from sqlalchemy import CursorResult, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.stores.rollout_rows import BusyRow, LockedRollout, NewRollout, NewTarget, RowCountError

from .json_text import as_json
from .numbers import numerics

_BATCH = 2000
_ROLLOUT = text(
    """
    insert into rollouts (id, kind, app, release_version, environment, selector, strategy, strategy_version, state, outcome,
        schema_version, plan_hash, plan, reason, change_ref, not_before, requested_by, origin, due_at)
    values (:id, :kind, :app, :version, :environment, :selector, :strategy, :strategy_version, :state, '',
        :schema_version, :plan_hash, cast(:plan as jsonb), :reason, :change_ref, :not_before, :requested_by,
        cast(:origin as jsonb), :due_at)
    """
)
_LEASE = text("insert into leases (subject_kind, subject_id, holder, expires_at) values ('rollout', :id, '', now())")
_WAVES = text(
    """
    insert into waves (rollout_id, wave, name, state, expected_from, expected_by)
    select :id, w.place - 1, w.name, 'pending', cast(w.expected_from as timestamptz), cast(w.expected_by as timestamptz)
    from unnest(cast(:names as text[]), cast(:from as text[]), cast(:by as text[])) with ordinality
      as w(name, expected_from, expected_by, place)
    """
)
_TARGETS = text(
    """
    insert into targets (rollout_id, tenant, environment, wave, position, state, code, reason, release_version, values_hash,
        base_revision, attempt, memory)
    select :id, u.tenant, u.environment, u.wave, u.position, 'pending', '', '', u.release, u.values_hash, u.base,
        u.attempt, cast(u.memory as jsonb)
    from unnest(cast(:tenants as text[]), cast(:environments as text[]), cast(:waves as integer[]),
        cast(:positions as integer[]), cast(:releases as text[]), cast(:values_hashes as text[]), cast(:bases as integer[]),
        cast(:attempts as integer[]), cast(:memories as text[]))
        as u(tenant, environment, wave, position, release, values_hash, base, attempt, memory)
    """
)
_CONTENTS = text(
    """
    insert into contents (tenant, hash, body)
    select u.tenant, u.hash, u.body
    from unnest(cast(:tenants as text[]), cast(:hashes as text[]), cast(:bodies as bytea[])) as u(tenant, hash, body)
    on conflict (tenant, hash) do nothing
    """
)
_HAVE = text(
    """
    select count(*) from contents c
    join unnest(cast(:tenants as text[]), cast(:hashes as text[])) as u(tenant, hash) on (c.tenant, c.hash) = (u.tenant, u.hash)
    """
)
_BUDGETS = text(
    """
    with given as (
        insert into budgets (scope, cap)
        select u.scope, u.cap from unnest(cast(:scopes as text[]), cast(:caps as numeric[])) as u(scope, cap)
        order by u.scope collate "C"
        on conflict (scope) do nothing returning scope, cap, reserved
    )
    insert into budget_moves (scope, delta, reserved, cap) select scope, 0, reserved, cap from given
    """
)
_ROLLBACK_CAPS = text(
    """
    with wanted as (
        select b.scope, u.cap from budgets b
        join unnest(cast(:scopes as text[]), cast(:caps as numeric[])) as u(scope, cap) on u.scope = b.scope
        where b.scope like '%/rollback' and b.cap is distinct from u.cap
        order by b.scope collate "C" for update of b
    ), changed as (
        update budgets set cap = wanted.cap from wanted where budgets.scope = wanted.scope
        returning budgets.scope, budgets.reserved, budgets.cap
    )
    insert into budget_moves (scope, delta, reserved, cap) select scope, 0, reserved, cap from changed
    """
)
_MOVED = text(
    """
    select u.tenant from unnest(cast(:tenants as text[]), cast(:bases as integer[])) as u(tenant, base)
    left join tenant_apps ta on (ta.tenant, ta.environment, ta.app) = (u.tenant, :environment, :app)
    where coalesce(ta.revision, 0) <> u.base order by u.tenant
    """
)
_ONE_START = text("select pg_advisory_xact_lock(hashtextextended('rollouts ' || :app || ' ' || :environment, 0))")
_BUSY = text(
    """
    select r.id, r.state, count(*) as targets, r.kind <> 'rollback' and r.origin #> '{request,emergency}' is null as yields
    from rollouts r join targets t on t.rollout_id = r.id
    where r.app = :app and r.environment = :environment and r.state not in ('draft','succeeded','failed','aborted')
      and t.tenant = any(:tenants) and t.state not in ('verified','rolledBack','stuck','skipped','cancelled','deferred')
    group by r.id order by r.id
    """
)
_BEHIND = text(
    "update targets set memory = jsonb_set(memory, '{behind}', cast(:others as jsonb)) where rollout_id = :id"
)
_LOCK_LEASE = text("select command_seq from leases where subject_kind = 'rollout' and subject_id = :id for update")
_LOCK = text(
    """
    select r.id, r.state, r.kind, r.app, r.release_version as version, r.environment, r.plan_hash, r.not_before, r.origin,
           coalesce(bool_or(c.seq is not null and c.applied_at is null), false) as pending,
           coalesce(r.memory ->> 'abort', '') <> '' or coalesce(bool_or(c.command in ('abort', 'supersede')), false) as ending
    from (select * from rollouts where id = :id for update) r
    left join commands c on c.subject_kind = 'rollout' and c.subject_id = r.id
    group by r.id, r.state, r.kind, r.app, r.release_version, r.environment, r.plan_hash, r.not_before, r.origin, r.memory
    """
)
_COMMAND = text(
    """
    with raised as (
        update leases set command_seq = command_seq + 1 where subject_kind = 'rollout' and subject_id = :id
        returning subject_kind, subject_id, command_seq
    ), due as (
        update rollouts set due_at = now() where id = :id
    )
    insert into commands (subject_kind, subject_id, seq, command, body, actor)
    select subject_kind, subject_id, command_seq, :command, cast(:body as jsonb), :actor from raised
    returning seq
    """
)
_BEGIN = text("update rollouts set state = 'planned', due_at = :due_at where id = :id and state = 'draft'")
_ABANDON = text(
    "update rollouts set state = 'aborted', outcome = 'aborted', ended_at = now(), due_at = null where id = :id and state = 'draft'"
)
_CANCEL_ALL = text(
    "update targets set state = 'cancelled', code = 'aborted', reason = :reason, since = now(), ended_at = now() where rollout_id = :id"
)
_EVENT_SEQ = text("update rollouts set event_seq = greatest(event_seq, :seq) where id = :id")
_OLD_PREVIEWS = text("delete from previews where expires_at < now()")
_PREVIEW = text(
    """
    insert into previews (id, plan_hash, requested_by, body, expires_at)
    values (:id, :plan_hash, :by, :body, now() + make_interval(secs => :seconds))
    """
)


class RolloutWriteQueries:
    """See `controlplane.ports.stores.rollouts.RolloutWrites`."""

    session: AsyncSession

    async def insert(self, new: NewRollout) -> None:
        """Insert all rows of a rollout; budget rows come last, in lock order."""
        row = {name: getattr(new, name) for name in _ROLLOUT_COLUMNS}
        await self._write(_ROLLOUT, 1, **row, plan=as_json(new.plan), origin=as_json(new.origin))
        await self._write(_LEASE, 1, id=new.id)
        planned = new.plan.get("waves") or [{}] * len(new.waves)
        expected = {"from": [w.get("expectedFrom") for w in planned], "by": [w.get("expectedBy") for w in planned]}
        await self._write(_WAVES, len(new.waves), id=new.id, names=list(new.waves), **expected)
        for contents in batched(new.contents, _BATCH, strict=False):
            await self._insert_contents(
                [c.tenant for c in contents], [c.hash for c in contents], [c.body for c in contents]
            )
        for targets in batched(new.targets, _BATCH, strict=False):
            await self._write(_TARGETS, len(targets), id=new.id, **_columns(targets))
        await self._ensure_budgets({**new.scopes, **new.caps})

    async def moved(self, app: str, environment: str, bases: Mapping[str, int]) -> list[str]:
        """Tenants whose current revision is not the given one any more."""
        values = {"app": app, "environment": environment, "tenants": list(bases), "bases": list(bases.values())}
        return list((await self.session.execute(_MOVED, values)).scalars())

    async def one_start_at_a_time(self, app: str, environment: str) -> None:
        """Take turns with other starts of this app and environment, by an advisory lock of this transaction."""
        await self.session.execute(_ONE_START, {"app": app, "environment": environment})

    async def busy(self, app: str, environment: str, tenants: Collection[str]) -> list[BusyRow]:
        """Unfinished rollouts with unsettled targets among these tenants."""
        values = {"app": app, "environment": environment, "tenants": sorted(tenants)}
        return [BusyRow(*row) for row in await self.session.execute(_BUSY, values)]

    async def queue_behind(self, rollout_id: uuid.UUID, others: Sequence[uuid.UUID]) -> None:
        """Note the older rollouts in each target's memory, where the driver's admission reads them."""
        names = as_json([str(other) for other in others])
        await self.session.execute(_BEHIND, {"id": rollout_id, "others": names})

    async def lock(self, rollout_id: uuid.UUID) -> LockedRollout | None:
        """Lock the lease row first, as every driver does, then the rollout's."""
        seq = (await self.session.execute(_LOCK_LEASE, {"id": rollout_id})).scalar_one_or_none()
        row = (await self.session.execute(_LOCK, {"id": rollout_id})).mappings().one_or_none()
        return None if row is None or seq is None else LockedRollout(**row, command_seq=seq)

    async def command(self, rollout_id: uuid.UUID, command: str, body: Mapping[str, Any], actor: str) -> int:
        """Append a command, raise `command_seq`, make the rollout due now."""
        values = {"id": rollout_id, "command": command, "body": as_json(body), "actor": actor}
        return int((await self.session.execute(_COMMAND, values)).scalar_one())

    async def begin(self, rollout_id: uuid.UUID, due_at: datetime) -> None:
        """Turn a draft into a planned rollout."""
        await self._write(_BEGIN, 1, id=rollout_id, due_at=due_at)

    async def abandon(self, rollout_id: uuid.UUID, reason: str) -> None:
        """End a draft nobody started: nothing of it ever ran."""
        await self._write(_ABANDON, 1, id=rollout_id)
        await self.session.execute(_CANCEL_ALL, {"id": rollout_id, "reason": reason})

    async def record(self, rollout_id: uuid.UUID, seq: int) -> None:
        """Note the number of the newest history entry on the rollout's row."""
        await self._write(_EVENT_SEQ, 1, id=rollout_id, seq=seq)

    async def save_preview(self, id_: uuid.UUID, plan_hash: str, requested_by: str, body: bytes, seconds: int) -> None:
        """Keep a preview's plan for so long; drop those that ran out."""
        await self.session.execute(_OLD_PREVIEWS)
        values = {"id": id_, "plan_hash": plan_hash, "by": requested_by, "body": body, "seconds": seconds}
        await self._write(_PREVIEW, 1, **values)

    async def _insert_contents(self, tenants: list[str], hashes: list[str], bodies: list[bytes]) -> None:
        values = {"tenants": tenants, "hashes": hashes}
        await self.session.execute(_CONTENTS, {**values, "bodies": bodies})
        have = (await self.session.execute(_HAVE, values)).scalar_one()
        _compare("contents", have, len(tenants))

    async def _ensure_budgets(self, caps: Mapping[str, int | Decimal | None]) -> None:
        scopes = sorted(caps)
        values = {"scopes": scopes, "caps": numerics(caps[scope] for scope in scopes)}
        await self.session.execute(_BUDGETS, values)
        back = [scope for scope in scopes if scope.endswith("/rollback")]
        await self.session.execute(_ROLLBACK_CAPS, {"scopes": back, "caps": numerics(caps[scope] for scope in back)})

    async def _write(self, statement: TextClause, rows: int, **values: Any) -> None:
        result = await self.session.execute(statement, values)
        written = result.rowcount if isinstance(result, CursorResult) else -1
        _compare(str(statement).split(maxsplit=3)[2], written, rows)


_ROLLOUT_COLUMNS = (
    "id", "kind", "app", "version", "environment", "selector", "strategy", "strategy_version", "state", "schema_version",
    "plan_hash", "reason", "change_ref", "not_before", "requested_by", "due_at",
)  # fmt: skip


def _columns(targets: Sequence[NewTarget]) -> dict[str, list[Any]]:
    return {
        "tenants": [t.tenant for t in targets],
        "environments": [t.environment for t in targets],
        "waves": [t.wave for t in targets],
        "positions": [t.position for t in targets],
        "releases": [t.release for t in targets],
        "values_hashes": [t.values_hash for t in targets],
        "bases": [t.base_revision for t in targets],
        "attempts": [t.attempt for t in targets],
        "memories": [as_json(t.memory) for t in targets],
    }


def _compare(what: str, wrote: int, sent: int) -> None:
    if wrote != sent:
        raise RowCountError(f"{what}: {wrote} rows written, {sent} sent; the transaction is given up")
