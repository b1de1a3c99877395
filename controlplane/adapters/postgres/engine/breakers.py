"""Breakers inside a driver's transaction: judged after its rows are written, opened under the budget rows' locks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.adapters.postgres import breakers
from controlplane.adapters.postgres.uow import PostgresUnitOfWork
from controlplane.domain.breaker import Trip, breaker_name, trips, windows_of
from controlplane.domain.exposure import Budget
from controlplane.ports.stores.budgets import BreakerRecord


async def judge_breakers(session: AsyncSession) -> Sequence[Trip]:
    """Count the signs, this transaction's own rows included, and say which breakers they open."""
    spec = (await breakers.read_limits(session)).breaker
    fleet = (await breakers.read_breakers(session))[:1]
    signs = await breakers.read_signs(session, windows_of(spec), fleet[0].closed_at if fleet else None)
    return trips(spec, signs)


async def open_breakers(
    uow: PostgresUnitOfWork, wanted: Sequence[Trip], budgets: Mapping[str, Budget]
) -> Sequence[str]:
    """Open those that are not open yet and whose rows are there; returns their budgets."""
    opened = []
    for trip in wanted:
        if trip.scope in budgets and budgets[trip.scope].breaker != "open":
            before = await breakers.lock_breaker(uow.session, trip.scope)
            closed_at = before.closed_at if before else None
            record = BreakerRecord(trip.scope, "open", trip.code, trip.reason, uow.now, "seawall", closed_at=closed_at)
            await breakers.set_breaker(uow.session, record)
            await uow.record(
                "breaker", breaker_name(trip.scope), "opened", data={"code": trip.code, "reason": trip.reason}
            )
            opened.append(trip.scope)
    return opened


async def note_probe(uow: PostgresUnitOfWork, scopes: Iterable[str], rollout: str, tenant: str) -> None:
    """Remember whom half-open breakers let through."""
    for scope in sorted(scopes):
        record = await breakers.lock_breaker(uow.session, scope)
        if record is not None:
            probing = replace(record, state="probing", since=uow.now, probe_rollout=rollout, probe_tenant=tenant)
            await breakers.set_breaker(uow.session, probing)
