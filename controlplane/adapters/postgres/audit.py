"""The audit trail's chain in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.audit_chain import GENESIS, AuditFields, Checkpoint, Seal

from .json_text import as_json

_SEALER = 0x5EA1A0D1
_FIELDS = "id, at, actor, action, subject, tenant, detail, trace_id"
_BEGIN = text("select pg_try_advisory_xact_lock(:key)")
_HEAD = text(
    "select seal, hash from ((select seal, hash from audit where seal is not null order by seal desc limit 1)"
    " union all (select seal, hash from audit_checkpoints order by seal desc limit 1)) as heads order by seal desc limit 1"
)
_CHECKPOINT = text("select seal, hash, rows, removed_at from audit_checkpoints order by seal desc limit 1")
_WAITING = text("select count(*), coalesce(clock_timestamp() - min(at), interval '0') from audit where seal is null")
_REMOVABLE = text(
    """
    with oldest as (select seal, hash, at from audit where seal is not null order by seal limit :most)
    select seal, hash from oldest
    where seal < coalesce((select min(seal) from oldest where at >= :before), 9223372036854775807) order by seal desc limit 1
    """
)
_REMOVE = text("select remove_audit(:seal, :hash, :before)")
_PUBLISH = text(
    "insert into outbox (subject, msg_id, payload, headers)"
    " select :subject, 'audit-trail-' || x.seal, cast(x.payload as jsonb), '{}'::jsonb"
    " from unnest(cast(:seals as bigint[]), cast(:payloads as text[])) as x (seal, payload)"
)
_UNSEALED = text(f"select {_FIELDS} from audit where seal is null order by id limit :limit")  # noqa: S608 -- a constant
_SEAL = text(
    "update audit set seal = given.seal, hash = given.hash"
    " from unnest(cast(:ids as bigint[]), cast(:seals as bigint[]), cast(:hashes as text[])) as given (id, seal, hash)"
    " where audit.id = given.id and audit.seal is null"
)
_SEALED = text(f"select seal, hash, {_FIELDS} from audit where seal > :after order by seal limit :limit")  # noqa: S608 -- a constant


class PostgresAuditChain:
    """See `controlplane.ports.stores.audit.AuditChainStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def begin(self) -> bool:
        """Take the sealer's lock."""
        return bool((await self._session.execute(_BEGIN, {"key": _SEALER})).scalar_one())

    async def head(self) -> Seal:
        """The newest seal."""
        row = (await self._session.execute(_HEAD)).one_or_none()
        return Seal(row[0], row[1]) if row else Seal(0, GENESIS)

    async def checkpoint(self) -> Checkpoint | None:
        """Where the chain begins."""
        row = (await self._session.execute(_CHECKPOINT)).one_or_none()
        return Checkpoint(Seal(row.seal, row.hash), row.rows, row.removed_at) if row else None

    async def waiting(self) -> tuple[int, timedelta]:
        """Rows without a seal, and the age of the oldest."""
        row = (await self._session.execute(_WAITING)).one()
        return int(row[0]), row[1]

    async def removable(self, before: datetime, most: int) -> Seal | None:
        """The last of the oldest rows that may go."""
        row = (await self._session.execute(_REMOVABLE, {"before": before, "most": most})).one_or_none()
        return Seal(row[0], row[1]) if row else None

    async def remove(self, upto: Seal, before: datetime) -> int:
        """Remove rows; `remove_audit` is the only way to."""
        values = {"seal": upto.number, "hash": upto.hash, "before": before}
        return int((await self._session.execute(_REMOVE, values)).scalar_one())

    async def publish(self, change: str, rows: Sequence[tuple[Seal, AuditFields]]) -> None:
        """Put events into the outbox."""
        payloads = [as_json(_event(change, seal, row)) for seal, row in rows]
        values = {
            "subject": f"sw.event._fleet.audit.{change}",
            "seals": [s.number for s, _ in rows],
            "payloads": payloads,
        }
        await self._session.execute(_PUBLISH, values)

    async def unsealed(self, limit: int) -> list[AuditFields]:
        """Committed rows without a seal."""
        return [AuditFields(*row) for row in await self._session.execute(_UNSEALED, {"limit": limit})]

    async def seal(self, sealed: Sequence[tuple[int, Seal]]) -> None:
        """Write seals."""
        values = {
            "ids": [row for row, _ in sealed],
            "seals": [seal.number for _, seal in sealed],
            "hashes": [seal.hash for _, seal in sealed],
        }
        await self._session.execute(_SEAL, values)

    async def sealed(self, after: int, limit: int) -> list[tuple[Seal, AuditFields]]:
        """Sealed rows in order."""
        rows = await self._session.execute(_SEALED, {"after": after, "limit": limit})
        return [(Seal(row[0], row[1]), AuditFields(*row[2:])) for row in rows]


def _event(change: str, seal: Seal, row: AuditFields) -> dict[str, Any]:
    """What the relay makes a CloudEvent of; `deliveries` reads the same from the row itself."""
    data = {"id": row.id, "actor": row.actor, "action": row.action, "subject": row.subject, "detail": row.detail}
    return {
        "kind": "audit",
        "id": "trail",
        "seq": seal.number,
        "type": f"dev.seawall.audit.{change}.v1",
        "tenant": row.tenant,
        "time": row.at,
        "data": {**data, "traceId": row.trace_id, "hash": seal.hash},
    }
