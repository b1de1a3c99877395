"""Tenants in PostgreSQL: one statement for many rows, rows as JSON."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.names import namespace_name, new_id
from controlplane.domain.tenants import TenantPhase, TenantSpec
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.ports.stores.tenants import (
    AppRecord,
    EnvironmentRecord,
    GivenRow,
    PlaceRow,
    ReleaseChoice,
    SeenRow,
    TenantEvent,
    TenantRecord,
)

from . import tenants_sql as sql
from .json_text import as_json


class PostgresTenants:
    """See `controlplane.ports.stores.tenants.TenantStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, name: str, *, lock: bool = False) -> TenantRecord | None:
        """Read a tenant."""
        if lock:
            await self._session.execute(sql.LOCK, {"name": name})
        row = (await self._session.execute(sql.GET, {"name": name})).one_or_none()
        return None if row is None else _tenant(row)

    async def many(self, names: Collection[str]) -> list[TenantRecord]:
        """Read these tenants."""
        return [_tenant(row) for row in await self._session.execute(sql.MANY, {"names": sorted(names)})]

    async def page(self, after: str, limit: int) -> list[TenantRecord]:
        """List tenants by name."""
        return [_tenant(row) for row in await self._session.execute(sql.PAGE, {"after": after, "limit": limit})]

    async def add(self, specs: Sequence[TenantSpec]) -> set[str]:
        """Insert tenants with environments and apps."""
        rows = as_json([_columns(spec) for spec in specs])
        added = {row.tenant for row in await self._session.execute(sql.ADD, {"rows": rows})}
        kept = [spec for spec in specs if spec.name in added]
        environments = [row for spec in kept for row in _environments(spec)]
        await self._insert(sql.ADD_ENVIRONMENTS, environments)
        await self._insert(sql.ADD_APPS, [row for spec in kept for row in _apps(spec)])
        return added

    async def add_environments(self, spec: TenantSpec, names: Collection[str]) -> None:
        """Insert environments of a tenant that exists."""
        await self._insert(sql.ADD_ENVIRONMENTS, [e for e in _environments(spec) if e["environment"] in names])
        await self.add_apps(spec)

    async def add_apps(self, spec: TenantSpec) -> None:
        """Insert missing app rows."""
        await self._session.execute(sql.ADD_MISSING_APPS, {"rows": as_json(_apps(spec))})

    async def remove_apps(self, tenant: str, apps: Collection[str]) -> set[str]:
        """Delete app rows without revisions."""
        values = {"tenant": tenant, "apps": sorted(apps)}
        await self._session.execute(sql.REMOVE_APPS, values)
        return {row.app for row in await self._session.execute(sql.LEFT_APPS, values)}

    async def taken_hosts(self, hosts: Collection[str]) -> dict[str, str]:
        """Which hosts belong to whom."""
        if not hosts:
            return {}
        await self._session.execute(sql.HOSTS_LOCK)
        rows = await self._session.execute(sql.TAKEN_HOSTS, {"hosts": sorted(hosts)})
        return {row.host: row.tenant for row in rows}

    async def taken_namespaces(self, places: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Which namespaces are somebody's."""
        rows = as_json([{"cluster": c, "namespace": n} for c, n in places])
        return {(row.cluster, row.namespace) for row in await self._session.execute(sql.TAKEN_PLACES, {"rows": rows})}

    async def save(self, spec: TenantSpec) -> None:
        """Write a changed spec."""
        await self._insert(sql.SAVE, [_columns(spec)])
        await self._session.execute(sql.SAVE_HOSTS, {"rows": as_json(_environments(spec))})

    async def set_phase(self, names: Collection[str], phase: TenantPhase, reason: str = "") -> None:
        """Write a phase."""
        values = {"names": sorted(names), "phase": phase.value, "reason": reason}
        found = await self._session.execute(sql.SET_PHASE, values)
        _check_count("tenants", len(names), len(found.all()))

    async def tiers(self) -> dict[str, TierSpec]:
        """All tiers."""
        return {name: TierSpec.model_validate(spec) for name, spec in (await self.config("tiers")).items()}

    async def clusters(self) -> dict[str, ClusterSpec]:
        """All clusters."""
        return {name: ClusterSpec.model_validate(spec) for name, spec in (await self.config("clusters")).items()}

    async def config(self, kind: str) -> dict[str, dict[str, Any]]:
        """All objects of a kind."""
        return {row.name: row.spec for row in await self._session.execute(sql.CONFIG, {"kind": kind})}

    async def apps(self, tenant: str, *, contents: bool = False) -> list[AppRecord]:
        """The apps of a tenant."""
        rows = await self._session.execute(sql.APPS_WITH_CONTENT if contents else sql.APPS, {"tenant": tenant})
        return [AppRecord(**row._mapping) for row in rows]  # noqa: SLF001 -- SQLAlchemy's public name for a row's mapping

    async def set_values(self, tenant: str, environment: str, app: str, values: Mapping[str, Any]) -> int:
        """Replace the environment layer."""
        key = {"tenant": tenant, "environment": environment, "app": app}
        return int((await self._session.execute(sql.SET_VALUES, {**key, "values": as_json(values)})).scalar_one())

    async def releases(self, apps: Collection[str]) -> list[ReleaseChoice]:
        """All releases of these apps."""
        rows = await self._session.execute(sql.RELEASES, {"apps": sorted(apps)})
        return [ReleaseChoice(**row._mapping) for row in rows]  # noqa: SLF001 -- SQLAlchemy's public name for a row's mapping

    async def places(self) -> list[PlaceRow]:
        """Every environment."""
        return [PlaceRow(**row._mapping) for row in await self._session.execute(sql.PLACES)]  # noqa: SLF001 -- SQLAlchemy's public name

    async def at(self, cluster: str, namespace: str) -> str | None:
        """Whose namespace it is."""
        found = (await self._session.execute(sql.AT, {"cluster": cluster, "namespace": namespace})).scalar()
        return None if found is None else str(found)

    async def placed_on(self) -> list[str]:
        """Clusters in use."""
        return list((await self._session.execute(sql.PLACED_ON)).scalars())

    async def given(self, cluster: str, after: tuple[str, str], limit: int) -> Sequence[GivenRow]:
        """Read inventories."""
        values = {"cluster": cluster, "namespace": after[0], "app": after[1], "limit": limit}
        rows = await self._session.execute(sql.GIVEN, values)
        return [
            GivenRow(row.namespace, row.app, [(item["key"]["kind"], item["key"]["name"]) for item in row.inventory])
            for row in rows
        ]

    async def set_drift(self, tenant: str, environment: str, drift: Mapping[str, Any]) -> None:
        """Write drift."""
        values = {"tenant": tenant, "environment": environment, "drift": as_json(drift)}
        (await self._session.execute(sql.SET_DRIFT, values)).one()

    async def seen(self, rows: Sequence[SeenRow]) -> bool:
        """Write what was seen."""
        if not (await self._session.execute(sql.SEEN_LOCK)).scalar_one():
            return False
        await self._session.execute(sql.SEEN, {"rows": as_json([asdict(row) for row in rows])})
        return True

    async def record(self, events: Sequence[TenantEvent]) -> None:
        """Write history of many tenants."""
        rows = [{"tenant": e.tenant, "change": e.change, "data": dict(e.data)} for e in events]
        await self._insert(sql.RECORD, rows)

    async def installation(self) -> uuid.UUID:
        """The identity of this Seawall."""
        now = (await self._session.execute(text("select now()"))).scalar_one()
        values = {"id": new_id(now)}
        found = (await self._session.execute(sql.INSTALLATION, values)).scalar_one_or_none()
        if found is None:  # somebody else named it in this moment: the next statement sees that
            found = (await self._session.execute(sql.INSTALLATION, values)).scalar_one()
        return uuid.UUID(str(found))

    async def _insert(self, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows in one statement that returns one row for each; a missing one is somebody else's row or a bug."""
        if rows:
            written = (await self._session.execute(statement, {"rows": as_json(rows)})).all()
            _check_count("rows", len(rows), len(written))


def _check_count(what: str, sent: int, written: int) -> None:
    if sent != written:
        raise LookupError(f"{sent} {what} were to be written and {written} were; nothing is kept")


def _columns(spec: TenantSpec) -> dict[str, Any]:
    row = spec.model_dump(mode="json", exclude={"name", "environments"}, by_alias=False)
    wire = spec.model_dump(mode="json", include={"exposure", "apps"})
    return {**row, **wire, "tenant": spec.name, "display_name": spec.display_name or spec.name}


def _environments(spec: TenantSpec) -> list[dict[str, Any]]:
    return [
        {
            "tenant": spec.name,
            "environment": name,
            "cluster": environment.cluster,
            "namespace": namespace_name(spec.name, name),
            "hosts": list(environment.hosts),
        }
        for name, environment in spec.environments.present().items()
    ]


def _apps(spec: TenantSpec) -> list[dict[str, Any]]:
    return [
        {"tenant": spec.name, "environment": environment, "app": app}
        for environment in spec.environments.present()
        for app in spec.apps
    ]


def _tenant(row: Row[Any]) -> TenantRecord:
    environments = tuple(_environment(e) for e in row.environments)
    spec = TenantSpec.model_validate(
        {
            "name": row.tenant,
            "display_name": row.display_name,
            "tier": row.tier,
            "region": row.region,
            "time_zone": row.time_zone,
            "labels": row.labels,
            "exposure": row.exposure,
            "apps": row.apps,
            "adopt": row.adopt,
            "environments": {e.environment: {"cluster": e.cluster, "hosts": list(e.hosts)} for e in environments},
        }
    )
    return TenantRecord(
        spec=spec,
        phase=TenantPhase(row.phase),
        phase_reason=row.phase_reason,
        generation=row.generation,
        created_at=row.created_at,
        updated_at=row.updated_at,
        environments=environments,
    )


def _environment(found: Mapping[str, Any]) -> EnvironmentRecord:
    slot_id = found["slot_id"]
    return EnvironmentRecord(
        tenant=found["tenant"],
        environment=found["environment"],
        cluster=found["cluster"],
        namespace=found["namespace"],
        hosts=tuple(found["hosts"]),
        uid=found["uid"],
        epoch=found["epoch"],
        slot_kind=found["slot_kind"],
        slot_id=uuid.UUID(slot_id) if slot_id else None,
        dirty=found["dirty"],
        walls=found["walls"],
        drift=found["drift"],
    )
