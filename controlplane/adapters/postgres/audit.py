"""The audit trail's chain in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.audit_chain import GENESIS, AuditFields, Seal

_SEALER = 0x5EA1A0D1
_FIELDS = "id, at, actor, action, subject, tenant, detail, trace_id"
_BEGIN = text("select pg_try_advisory_xact_lock(:key)")
_HEAD = text("select seal, hash from audit where seal is not null order by seal desc limit 1")
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
