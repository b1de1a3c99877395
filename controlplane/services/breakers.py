"""Looking after the breakers: what time, a probe's fate and people do to them. What opens them is the drivers' own doing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from controlplane.domain.breaker import (
    FLEET_BREAKER,
    Signs,
    after_probe,
    after_quiet,
    breaker_name,
    breaker_scope,
    windows_of,
)
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.exposure import FLEET_IN_FLIGHT, BreakerState
from controlplane.domain.fleet_limits import BreakerSpec
from controlplane.domain.quantities import format_duration
from controlplane.domain.rollouts import TargetState
from controlplane.ports.stores.budgets import BreakerRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services.limits import fleet_limits

_CHANGES: Mapping[BreakerState, str] = {"": "closed", "open": "opened", "halfOpen": "halfOpened"}


@dataclass(frozen=True)
class Breakers:
    """All that can be said about breakers now: the fleet's first, the rules in force, and what is counted."""

    records: list[BreakerRecord]
    spec: BreakerSpec
    signs: Signs


async def read_breakers(uow: UnitOfWork) -> Breakers:
    """The breakers with what they are judged by."""
    spec = (await fleet_limits(uow)).breaker
    records = await uow.budgets.breakers()
    if not records or records[0].scope != FLEET_IN_FLIGHT:
        records = [BreakerRecord(FLEET_IN_FLIGHT), *records]
    return Breakers(records, spec, await uow.budgets.signs(windows_of(spec), records[0].closed_at))


async def reset_breaker(
    uow: UnitOfWork, name: str, *, to: Literal["halfOpen", "closed"], reason: str, actor: str
) -> BreakerRecord:
    """A person lets one target through (`halfOpen`) or everything (`closed`). Audited, with the reason.

    Raises NotFoundError for a breaker that isn't there, ConflictError `breaker-closed` if there is nothing to reset.
    """
    record = await uow.budgets.lock_breaker(breaker_scope(name))
    if record is None:
        raise NotFoundError(
            f"There is no breaker {name!r}. `seawall breaker show` lists them; the fleet's is {FLEET_BREAKER}."
        )
    if not record.state:
        raise ConflictError(f"The breaker {name} is closed; there is nothing to reset.", code="breaker-closed")
    changed = await _change(uow, record, "" if to == "closed" else "halfOpen", reason, actor)
    detail = {"to": to, "reason": reason, "openedFor": record.reason}
    await uow.audit(actor, "breakers.reset", f"breakers/{name}", detail=detail)
    return changed


async def keep_breakers(uow: UnitOfWork) -> Mapping[str, int]:
    """Let time and probes act on the breakers that are not closed; returns how many are in each state. Called once a second."""
    found = {record.scope for record in await uow.budgets.breakers() if record.state}
    if not found:
        return {}
    spec = (await fleet_limits(uow)).breaker
    # All rows first, in the order of drivers; a change of any also writes the fleet's.
    locked = [await uow.budgets.lock_breaker(scope) for scope in sorted({*found, FLEET_IN_FLIGHT})]
    states: Counter[str] = Counter()
    for record in locked:
        if record is not None:
            states[(await _keep(uow, record, spec)).state] += 1
    return {state: number for state, number in states.items() if state}


async def _keep(uow: UnitOfWork, record: BreakerRecord, spec: BreakerSpec) -> BreakerRecord:
    if record.since is not None and after_quiet(spec, record.state, record.since, uow.now):
        span = format_duration(spec.quiet) if spec.quiet else ""
        return await _change(uow, record, "halfOpen", f"quiet for {span}; one target is let through", "seawall")
    if record.state != "probing":
        return record
    state = await uow.budgets.target_state(record.probe_rollout, record.probe_tenant)
    to = after_probe(TargetState(state) if state else None)
    who = f"the probe {record.probe_tenant} (rollout {record.probe_rollout})"
    match to:
        case None:
            return record
        case "":
            return await _change(uow, record, "", f"{who} was verified", "seawall")
        case "open":
            return await _change(
                uow, record, "open", f"{who} failed; before: {record.reason}", "seawall", "probe-failed"
            )
        case _:
            return await _change(uow, record, "halfOpen", f"{who} was not tried; the next one is", "seawall")


async def _change(
    uow: UnitOfWork, record: BreakerRecord, state: BreakerState, reason: str, actor: str, code: str = ""
) -> BreakerRecord:
    """Change a locked breaker, and tell of it."""
    name = breaker_name(record.scope)
    if state == "":
        changed = BreakerRecord(record.scope, closed_at=uow.now)
    else:
        why = reason if state == "open" else record.reason
        changed = replace(
            record,
            state=state,
            code=code or record.code,
            reason=why,
            since=uow.now,
            by=actor,
            probe_rollout="",
            probe_tenant="",
        )
    await uow.budgets.set_breaker(changed)
    await uow.record("breaker", name, _CHANGES[state], data={"code": changed.code, "reason": reason, "by": actor})
    return changed
