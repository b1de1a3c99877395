"""Tenants: read as the API shows them."""

from __future__ import annotations

from controlplane.domain.errors import NotFoundError
from controlplane.domain.selectors import Selector
from controlplane.domain.tenant_views import Placement, TenantView
from controlplane.domain.tenants import TenantPhase
from controlplane.ports.stores.tenants import EnvironmentRecord, TenantRecord
from controlplane.ports.uow import UnitOfWork

_SCAN = 500


async def tenant_of(uow: UnitOfWork, name: str, *, lock: bool = False) -> TenantRecord:
    """Read a tenant. Raises NotFoundError."""
    found = await uow.tenants.get(name, lock=lock)
    if found is None:
        raise NotFoundError(f"There is no tenant {name!r} that you may see.")
    return found


async def list_tenants(
    uow: UnitOfWork, after: str, limit: int, *, selector: Selector, phase: TenantPhase | None = None
) -> list[TenantRecord]:
    """Tenants by name whose labels (and tier, region, tenant) match, from after a name, at most `limit`."""
    found: list[TenantRecord] = []
    while len(found) < limit:
        rows = await uow.tenants.page(after, _SCAN)
        found += [r for r in rows if (phase is None or r.phase is phase) and selector.matches(_labels(r))]
        if len(rows) < _SCAN:
            break
        after = rows[-1].name
    return found[:limit]


def _labels(record: TenantRecord) -> dict[str, str]:
    spec = record.spec
    return {**spec.labels, "tenant": spec.name, "tier": spec.tier, "region": spec.region}


def view_of(record: TenantRecord) -> TenantView:
    """A tenant as the API shows it."""
    spec = {name: getattr(record.spec, name) for name in type(record.spec).model_fields}
    return TenantView(
        **spec,
        phase=record.phase,
        phase_reason=record.phase_reason,
        generation=record.generation,
        placements=[_placement(environment) for environment in record.environments],
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def _placement(found: EnvironmentRecord) -> Placement:
    return Placement(
        environment=found.environment,
        cluster=found.cluster,
        namespace=found.namespace,
        uid=found.uid,
        walls_tier=found.walls.get("tier"),
        changing=f"{found.slot_kind}/{found.slot_id}" if found.slot_id else None,
    )
