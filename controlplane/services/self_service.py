"""What a tenant owner may read and do alone, within the allowance of the tenant's tier."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from controlplane.domain.errors import ConflictError, FieldError, InvalidError, NotFoundError
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.domain.self_service import Deferred, DeferRequest, RollbackRequest, schedule_of
from controlplane.domain.tiers import SelfService
from controlplane.ports.uow import UnitOfWork
from controlplane.services.rollouts.builtin import TENANT_ROLLBACK

DAY = timedelta(days=1)


async def row_of(uow: UnitOfWork, tenant: str) -> dict[str, Any]:
    """Read the one row of the status. Raises NotFoundError."""
    row = await uow.self_service.status(tenant)
    if row is None:
        raise NotFoundError(f"There is no tenant {tenant!r} that you may see.")
    return row


async def allowance_of(uow: UnitOfWork, tenant: str) -> SelfService:
    """What the tenant's tier allows its owner; needs a fleet role's transaction (tiers are nobody's tenant's). Raises NotFoundError."""
    record = await uow.tenants.get(tenant)
    if record is None:
        raise NotFoundError(f"There is no tenant {tenant!r} that you may see.")
    tier = (await uow.tenants.tiers()).get(record.spec.tier)
    return tier.self_service if tier else SelfService()


async def defer(uow: UnitOfWork, tenant: str, body: DeferRequest, allowance: SelfService, *, actor: str) -> Deferred:
    """Put off what is planned for an environment.

    Raises InvalidError `in-the-past`, `beyond-allowance` (with the latest time allowed); ConflictError `nothing-to-defer`.
    """
    if body.until <= uow.now:
        raise InvalidError("That time is over; name a later one.", code="in-the-past", errors=[_until("is over")])
    planned = [
        item
        for item in schedule_of(await row_of(uow, tenant), allowance.defer).items
        if item.environment == body.environment and body.app in (None, item.release.partition("/")[0])
    ]
    if not planned:
        detail = f"Nothing is planned for {body.environment} of {tenant}, so there is nothing to put off."
        raise ConflictError(detail, code="nothing-to-defer")
    latest = min(item.defer_until_max for item in planned)
    if body.until > latest:
        detail = (
            f"Your tier lets you put this off until {latest:%Y-%m-%dT%H:%M:%SZ} at most. Ask the operators for more."
        )
        raise InvalidError(detail, code="beyond-allowance", errors=[_until(f"at most {latest.isoformat()}")])
    apps = {item.release.partition("/")[0] for item in planned}
    noted = await uow.self_service.defer(tenant, body.environment, apps, body.until)
    detail_of = {"environment": body.environment, "apps": list(noted), "until": body.until, "reason": body.reason}
    await uow.audit(actor, "tenants.defer", f"tenant/{tenant}", tenant=tenant, detail=detail_of)
    return Deferred(tenant=tenant, environment=body.environment, apps=list(noted), until=body.until)


def _until(detail: str) -> FieldError:
    return FieldError("/until", detail)


def rollback_ask(tenant: str, body: RollbackRequest) -> Ask:
    """The rollout that takes one tenant's app back to its newest verified revision before the current one."""
    request = RolloutRequest(
        kind="rollback",
        app=body.app,
        environment=body.environment,
        strategy=TENANT_ROLLBACK.name,
        to="lastVerified",
        reason=body.reason or "Requested by the tenant's owner",
    )
    return Ask(request, tenants=frozenset({tenant}), built_in=TENANT_ROLLBACK)


async def check_rollback_allowance(uow: UnitOfWork, tenant: str) -> None:
    """Refuse more rollbacks in a day than the tier allows (ConflictError `rollback-allowance-used`); holds the tenant's row."""
    await uow.tenants.get(tenant, lock=True)
    allowed = (await allowance_of(uow, tenant)).rollbacks_per_day
    used = await uow.self_service.rollbacks_since(tenant, uow.now - DAY)
    if used >= allowed:
        detail = f"{used} of {allowed} rollbacks in 24 hours are used. Ask the operators, or wait."
        raise ConflictError(detail, code="rollback-allowance-used")
