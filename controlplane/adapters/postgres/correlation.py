"""Reads for timelines: see `controlplane.ports.stores.correlation`. Texts sort by code point, as they do where sources are merged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.changes import RolloutFacts
from controlplane.domain.correlation import Position, Span
from controlplane.domain.health import Health
from controlplane.ports.stores.correlation import IllnessRecord, VerdictRecord
from controlplane.ports.stores.looks import ChangeRecord

_LEFT_OUT = "('audit', 'operation')"
"""Rows of the audit trail are told one by one there; what operations do to a tenant is the tenant's own history."""
_COLUMNS = "h.at, h.subject_kind, h.subject_id, h.seq, h.type, h.tenant, h.data"
_ORDER = 'order by at desc, subject_kind collate "C" desc, subject_id collate "C" desc, seq desc limit :limit'
_HERE = f"""
      h.at >= :since and h.at < :until and h.subject_kind not in {_LEFT_OUT}
      and (cast(:at as timestamptz) is null
        or (h.at, h.subject_kind collate "C", h.subject_id collate "C", h.seq) < (cast(:at as timestamptz), :kind, :id, :seq))
"""
_FLEET = text(f"select {_COLUMNS} from history h where {_HERE} {_ORDER}")  # noqa: S608 -- constants
_TENANT = text(
    f"""
    select * from (
      (select {_COLUMNS} from history h where h.tenant = :tenant and {_HERE} {_ORDER})
      union all
      (select {_COLUMNS} from history h where h.tenant is null and {_HERE}
        and (h.subject_kind in ('freeze', 'breaker', 'emergency', 'calendar')
          or (h.subject_kind = 'rollout' and h.subject_id in (select cast(t.rollout_id as text) from targets t where t.tenant = :tenant))
          or (h.subject_kind = 'cluster' and h.subject_id in (select e.cluster from environments e where e.tenant = :tenant))
          or (h.subject_kind = 'tier' and h.subject_id in (select t.tier from tenants t where t.tenant = :tenant))
          or (h.subject_kind in ('release', 'app')
            and coalesce(h.data ->> 'app', h.subject_id) in (select a.app from tenant_apps a where a.tenant = :tenant)))
        {_ORDER})
    ) h {_ORDER}
    """  # noqa: S608 -- constants
)
# Gates before single targets are read for one tenant only: of a fleet they would be thousands.
_SAID = """
    select g.since as at, cast(g.rollout_id as text) as rollout, r.app, coalesce(r.release_version, '') as version,
      w.name as wave, {place} as place, g.idx as index, g.kind, g.verdict, g.reason, g.evidence, {tenant} as tenant, {number} as number
    from {table} g join rollouts r on r.id = g.rollout_id {waves}
    where g.since >= :since and g.since < :until
      and (cast(:at as timestamptz) is null or (g.since, 'gate' collate "C", cast(g.rollout_id as text) collate "C", {number})
        < (cast(:at as timestamptz), :kind, :id, cast(:seq as bigint)))
      and {whose}
    order by g.since desc, g.rollout_id desc, {number} desc limit :limit
"""
_NUMBER = (
    "cast(g.wave * 10000 + case g.place when 'before' then 0 when 'during' then 1000 else 2000 end + g.idx as bigint)"
)
_OF_WAVES = {
    "place": "g.place",
    "tenant": "cast(null as text)",
    "number": _NUMBER,
    "table": "gates",
    "waves": "join waves w on (w.rollout_id, w.wave) = (g.rollout_id, g.wave)",
}
_OF_TARGETS = {
    "place": "'beforeEach'",
    "tenant": "g.tenant",
    "number": "cast(9000000 + g.idx as bigint)",
    "table": "target_gates",
    "waves": (
        "join targets t on (t.rollout_id, t.tenant) = (g.rollout_id, g.tenant)"
        " left join waves w on (w.rollout_id, w.wave) = (t.rollout_id, t.wave)"
    ),
    "whose": "g.tenant = :tenant",
}
_VERDICTS = text(_SAID.format(**_OF_WAVES, whose="true"))
_VERDICTS_ABOUT = text(
    _SAID.format(
        **_OF_WAVES,
        whose="exists (select 1 from targets x where (x.rollout_id, x.wave, x.tenant) = (g.rollout_id, g.wave, :tenant))",
    )
)
_VERDICTS_BEFORE = text(_SAID.format(**_OF_TARGETS))
_MAY_READ_GATES = text("select has_table_privilege('gates', 'select')")
_ILL = text(
    """
    select e.health_at as at, e.tenant, e.environment, e.health, e.health_reason as reason from environments e
    where e.health = :ill and e.health_at >= :since and e.health_at < :until
      and (cast(:tenant as text) is null or e.tenant = :tenant)
      and (cast(:at as timestamptz) is null
        or (e.health_at, 'health' collate "C", (e.tenant || '/' || e.environment) collate "C", cast(0 as bigint))
          < (cast(:at as timestamptz), :kind, :id, cast(:seq as bigint)))
    order by e.health_at desc, (e.tenant || '/' || e.environment) collate "C" desc limit :limit
    """
)
_ROLLOUTS = text(
    "select cast(id as text) as id, app, release_version as version, kind, environment, state"
    " from rollouts where id = any(cast(:ids as uuid[]))"
)
_NAMES = text("select tenant from environments where environment = :environment order by tenant")


class PostgresCorrelation:
    """See `controlplane.ports.stores.correlation.CorrelationStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def history(
        self, tenant: str | None, span: Span, after: Position | None, limit: int
    ) -> Sequence[ChangeRecord]:
        """What history holds."""
        values = _values(tenant, span, after, limit)
        rows = await self._session.execute(_FLEET if tenant is None else _TENANT, values)
        return [ChangeRecord(*row) for row in rows]

    async def verdicts(
        self, tenant: str | None, span: Span, after: Position | None, limit: int
    ) -> Sequence[VerdictRecord]:
        """What gates last said. A tenant's own role sees the gates before its own target, not those of whole waves: they name others."""
        statements = [] if tenant is None else [_VERDICTS_BEFORE]
        if (await self._session.execute(_MAY_READ_GATES)).scalar_one():
            statements.append(_VERDICTS if tenant is None else _VERDICTS_ABOUT)
        values = _values(tenant, span, after, limit)
        found = [VerdictRecord(*row) for one in statements for row in await self._session.execute(one, values)]
        return sorted(found, key=lambda one: (one.at, one.rollout, one.number), reverse=True)[:limit]

    async def ill(self, tenant: str | None, span: Span, after: Position | None, limit: int) -> Sequence[IllnessRecord]:
        """Environments that are ill."""
        values = {**_values(tenant, span, after, limit), "ill": Health.UNHEALTHY.value}
        return [IllnessRecord(*row) for row in await self._session.execute(_ILL, values)]

    async def rollouts(self, ids: Collection[str]) -> Mapping[str, RolloutFacts]:
        """What they are."""
        rows = await self._session.execute(_ROLLOUTS, {"ids": sorted(ids)}) if ids else ()
        return {row.id: RolloutFacts(*row) for row in rows}

    async def tenants(self, environment: str) -> Sequence[str]:
        """Names of all."""
        return (await self._session.execute(_NAMES, {"environment": environment})).scalars().all()


def _values(tenant: str | None, span: Span, after: Position | None, limit: int) -> dict[str, Any]:
    at, kind, subject, seq = after or (None, "", "", 0)
    position = {"at": at, "kind": kind, "id": subject, "seq": seq}
    return {"tenant": tenant, "since": span.since, "until": span.until, "limit": limit, **position}
