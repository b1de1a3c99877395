"""Changing a tenant: what the registry can note at once, what takes an operation, and what is refused."""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from controlplane.domain.errors import ConflictError, FieldError, InvalidError
from controlplane.domain.manifests import Rendered
from controlplane.domain.quota import fit, peak_resources
from controlplane.domain.resources import Resources, add
from controlplane.domain.rollouts import check_transition
from controlplane.domain.tenants import PHASE_TRANSITIONS, TenantPhase, TenantSpec
from controlplane.domain.tiers import TierSpec
from controlplane.domain.values import merge_patch
from controlplane.domain.wire import field_errors
from controlplane.ports.stores.operations import NewItem, NewOperation
from controlplane.ports.stores.tenants import AppRecord, TenantEvent, TenantRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services.onboarding import check_spec, registry_for

_OBSERVED = TenantPhase.OBSERVED
_GONE = frozenset({TenantPhase.OFFBOARDING, TenantPhase.OFFBOARDED})


@dataclass(frozen=True)
class Changes:
    """What differs between two specs and needs more than a new row."""

    tier: bool
    environments: frozenset[str]
    apps: frozenset[str]
    dropped_apps: frozenset[str]

    @property
    def takes_operation(self) -> bool:
        """Whether something in a cluster must change."""
        return bool(self.tier or self.environments or self.apps)


def patched(current: TenantSpec, patch: Any) -> TenantSpec:
    """Apply a JSON merge patch (RFC 7396) to a tenant's spec. Raises InvalidError with a pointer for each thing wrong."""
    if not isinstance(patch, dict):
        raise InvalidError("A merge patch of a tenant is a JSON object.", errors=[FieldError("", "not an object")])
    merged = merge_patch(current.model_dump(mode="json"), patch)
    try:
        return TenantSpec.model_validate(merged, by_alias=True, by_name=False)
    except ValidationError as error:
        found = field_errors(error)
        raise InvalidError(
            f"With this change it would be no tenant: {found[0].pointer or '/'}: {found[0].detail}.", errors=found
        ) from error


def changes_between(old: TenantSpec, new: TenantSpec) -> Changes:
    """Compare two specs. Raises InvalidError `name-immutable`, `cluster-immutable`, `environment-removal`."""
    if new.name != old.name:
        raise _immutable("name-immutable", "/name", "A tenant keeps its name; onboard another tenant.")
    before, after = old.environments.present(), new.environments.present()
    for name, environment in before.items():
        if name not in after:
            detail = (
                f"Environment {name} can't be taken away from a tenant that stays. Offboard the tenant, or leave it."
            )
            raise _immutable("environment-removal", f"/environments/{name}", detail)
        if after[name].cluster != environment.cluster:
            detail = (
                f"Environment {name} stays on cluster {environment.cluster}; moving it is not a change of the registry."
            )
            raise _immutable("cluster-immutable", f"/environments/{name}/cluster", detail)
    return Changes(
        tier=new.tier != old.tier,
        environments=frozenset(after.keys() - before.keys()),
        apps=frozenset(new.apps.keys() - old.apps.keys()),
        dropped_apps=frozenset(old.apps.keys() - new.apps.keys()),
    )


def _immutable(code: str, pointer: str, detail: str) -> InvalidError:
    return InvalidError(detail, code=code, errors=[FieldError(pointer, "can't be changed")])


async def change(uow: UnitOfWork, record: TenantRecord, new: TenantSpec, *, actor: str) -> uuid.UUID | None:
    """Write a changed spec; returns the operation if a cluster must follow. The caller has locked the tenant's row.

    Raises ConflictError `tenant-offboarded`, `change-in-progress`, `app-installed`; InvalidError `quota-below-peak` (with the
    numbers) and what `check_spec` and `changes_between` raise.
    """
    old = record.spec
    if new == old:
        return None
    found = changes_between(old, new)
    if record.phase in _GONE:
        raise ConflictError(
            f"Tenant {old.name} is {record.phase}; nothing of it can be changed.", code="tenant-offboarded"
        )
    registry = await registry_for(uow, [new])
    check_spec(new, registry)
    await _drop_apps(uow, old.name, found.dropped_apps)
    raised = record.phase in (TenantPhase.ACTIVE, TenantPhase.SUSPENDED)
    adopts = record.phase is _OBSERVED and new.adopt != "observe"
    if found.takes_operation or adopts:
        await refuse_if_busy(uow, record)
    if found.tier and raised:
        check_quota(new.tier, registry.tiers[new.tier], await uow.tenants.apps(old.name, contents=True))
    # The new tier is noted once the walls have it; everything else is what is wanted from now on.
    await uow.tenants.save(new.model_copy(update={"tier": old.tier}) if raised else new)
    await uow.tenants.add_environments(new, found.environments)
    fields = [name for name in type(new).model_fields if getattr(new, name) != getattr(old, name)]
    await uow.tenants.record([TenantEvent(old.name, "changeAccepted", {"fields": fields})])
    await uow.audit(actor, "tenants.change", f"tenant/{old.name}", tenant=old.name, detail={"fields": fields})
    if adopts:
        return await _adopt(uow, new, actor)
    return await _accept_update(uow, new, found, actor) if found.takes_operation and raised else None


async def _adopt(uow: UnitOfWork, new: TenantSpec, actor: str) -> uuid.UUID:
    """Onboard a tenant whose namespaces were only observed so far."""
    await uow.tenants.set_phase([new.name], check_transition(PHASE_TRANSITIONS, _OBSERVED, TenantPhase.ONBOARDING))
    items = [NewItem(new.name, environment) for environment in new.environments.present()]
    operation = NewOperation(uow.new_id(), "onboard", actor, tenant=new.name, items=items)
    await uow.operations.add(operation)
    await uow.wake("operation", str(operation.id), tenant=new.name)
    return operation.id


async def _drop_apps(uow: UnitOfWork, tenant: str, apps: frozenset[str]) -> None:
    stay = await uow.tenants.remove_apps(tenant, apps) if apps else set()
    if stay:
        detail = (
            f"{', '.join(sorted(stay))} is installed in tenant {tenant}. Uninstalling is not offered yet; keep the app."
        )
        raise ConflictError(detail, code="app-installed")


async def refuse_if_busy(uow: UnitOfWork, record: TenantRecord) -> None:
    """Refuse while another operation, or the holder of a slot, changes the tenant (`change-in-progress`)."""
    holders = [f"{e.slot_kind} {e.slot_id}" for e in record.environments if e.slot_id]
    other = await uow.operations.open_of(record.name)
    if other is not None:
        holders.append(f"operation {other.id} ({other.kind})")
    if holders:
        detail = f"Tenant {record.name} is being changed by {holders[0]}. Try again when that is over."
        raise ConflictError(detail, code="change-in-progress", retry_after=5)


def check_quota(name: str, tier: TierSpec, apps: list[AppRecord]) -> None:
    """Refuse a tier whose quota is below what an environment's current revisions need at their peak (`quota-below-peak`)."""
    for environment in sorted({app.environment for app in apps}):
        peak: Resources = add(
            *(
                peak_resources(rendered_of(app.content), defaults=tier.limit_defaults())
                for app in apps
                if app.environment == environment and app.content is not None
            )
        )
        fits = fit(peak, tier.resources(), {})
        if not fits:
            raise InvalidError(
                f"Tier {name} is too small for what {environment} runs: {fits.reason}. "
                "Choose a larger tier, or bring a smaller revision first.",
                code="quota-below-peak",
                errors=[FieldError("/tier", fits.reason)],
            )


def rendered_of(body: bytes) -> Rendered:
    """Read a stored content body."""
    return Rendered.model_validate(orjson.loads(zlib.decompress(body)))


async def _accept_update(uow: UnitOfWork, new: TenantSpec, found: Changes, actor: str) -> uuid.UUID:
    """One item per environment that changes: new ones get walls and apps, others their new walls and new apps."""
    creator = await uow.operations.creator_of(new.name)
    items = []
    for name in new.environments.present():
        spec: dict[str, Any] = {"creator": str(creator)} if creator else {}
        if name not in found.environments:
            spec |= {"apps": sorted(found.apps), "wallsOnly": not found.apps}
            if not found.tier:
                spec["stage"] = "install"
            if not (found.tier or found.apps):
                continue
        items.append(NewItem(new.name, name, spec))
    spec_now = {"spec": new.model_dump(mode="json")}
    operation = NewOperation(uow.new_id(), "update", actor, tenant=new.name, spec=spec_now, items=items)
    await uow.operations.add(operation)
    await uow.wake("operation", str(operation.id), tenant=new.name)
    return operation.id
