"""The driver of an operation: load it under the lease, work on its items until all are over, or park it until something is due."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from controlplane.domain.errors import DependencyError
from controlplane.domain.operations import OPERATION_OVER, OperationState, decide_operation, tally
from controlplane.domain.tenants import TenantSpec
from controlplane.ports.leases import HeldLease, LeaseLostError
from controlplane.ports.stores.operations import Item
from controlplane.services.operations.endings import call_off, close_tenants, finish
from controlplane.services.operations.exporting import export
from controlplane.services.operations.installing import install
from controlplane.services.operations.leaving import leave
from controlplane.services.operations.mending import mend
from controlplane.services.operations.observing import observe
from controlplane.services.operations.run import OperationTools, Run, ready
from controlplane.services.operations.scaling import sleep, wake
from controlplane.services.operations.walls import raise_walls

log = structlog.get_logger(__name__)

POLL = 0.4
"""Seconds between two looks at rollouts that an operation waits for, while its driver stays."""
STAY = 30.0
"""Seconds without progress after which a driver parks the operation."""
PARKED = timedelta(seconds=3)
LONG_WAIT = timedelta(seconds=4)
"""An item that can be tried again only after this is waited for without a driver."""
_SHOWN = 20
"""Entries of `waitingFor` on an operation; its items say the rest."""

type Stage = Callable[[Run, Sequence[Item]], Awaitable[None]]

STAGES: Mapping[str, Stage] = {
    "walls": raise_walls,
    "observe": observe,
    "install": install,
    "sleep": sleep,
    "wake": wake,
    "leave": leave,
    "export": export,
    "mend": mend,
}
ONBOARDING = frozenset({"onboard", "batchOnboard"})
FIRST_STAGE = {
    "onboard": "walls",
    "batchOnboard": "walls",
    "update": "walls",
    "suspend": "sleep",
    "resume": "wake",
    "offboard": "leave",
    "export": "export",
    "repair": "mend",
}


async def drive_operation(tools: OperationTools, lease: HeldLease, drain: asyncio.Event) -> None:
    """Drive one operation under a held lease until it is over, parked, or `drain` is set. Never lets go of the lease itself."""
    tools.fleet.on_timeline(lease.timeline)
    run = await _load(tools, lease, drain)
    if run is None:
        return
    keeper = asyncio.create_task(_keep(run))
    try:
        await _work(run)
    except* LeaseLostError:
        log.info("another worker drives this operation now", operation=str(run.operation.id))
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper


async def _load(tools: OperationTools, lease: HeldLease, drain: asyncio.Event) -> Run | None:
    async with tools.transactions.engine() as uow:
        sent = await uow.operations.hold(lease)
        operation = await uow.operations.get(lease.subject_id)
        if operation is None or operation.state in OPERATION_OVER:
            return None
        await uow.operations.close_steps(operation.id)
        items = await uow.operations.items(operation.id)
        tenants = await uow.tenants.many({item.tenant for item in items})
        run = Run(
            tools=tools,
            lease=lease,
            drain=drain,
            operation=operation,
            installation=await uow.tenants.installation(),
            items=items,
            tiers=await uow.tenants.tiers(),
            clusters=await uow.tenants.clusters(),
            specs={t.name: _wanted(operation.spec, t.spec) for t in tenants},
            phases={t.name: (t.phase, t.phase_reason) for t in tenants},
            environments={(e.tenant, e.environment): e for t in tenants for e in t.environments},
        )
        await uow.operations.set_state(operation.id, OperationState.RUNNING, due_in=timedelta(0))
    lease.sent_at = sent
    return run


def _wanted(operation: Mapping[str, Any], current: TenantSpec) -> TenantSpec:
    """What a tenant should be: an update carries the changed spec, which is stored once it is carried out."""
    return TenantSpec.model_validate(operation["spec"]) if "spec" in operation else current


async def _keep(run: Run) -> None:
    """Renew the lease while calls take their time; chunks renew it too. A lost lease shows at the next transaction."""
    while True:
        await asyncio.sleep(run.lease.renew_after)
        with contextlib.suppress(DependencyError, LeaseLostError):
            async with run.transaction():
                pass


async def _work(run: Run) -> None:
    seen: object = None
    moved_at = time.monotonic()
    while True:
        await _listen(run)
        if not run.called_off:
            await _pass(run)
        if _is_called_off(run):
            await call_off(run)
            return
        await close_tenants(run)
        waiting = [item.memory["waiting"] for item in run.open if "waiting" in item.memory]
        state = decide_operation(run.operation.kind, tally(i.state for i in run.items), waiting=bool(waiting))
        if state in OPERATION_OVER:
            await finish(run, state)
            return
        now_at = [(item.state, item.stage, item.memory.get("waiting")) for item in run.items]
        if now_at != seen:
            seen, moved_at = now_at, time.monotonic()
            await _say(run, state, waiting, timedelta(0))
        due = _next_due(run, datetime.now(UTC))
        if run.drain.is_set() or due > LONG_WAIT or time.monotonic() > moved_at + STAY:
            await _say(run, state, waiting, timedelta(0) if run.drain.is_set() else max(due, PARKED))
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.drain.wait(), POLL)


def _is_called_off(run: Run) -> bool:
    return run.called_off  # a pass may have learned of it


async def _listen(run: Run) -> None:
    """Ask whether somebody has called the operation off: it may wait for long without a transaction of its own."""
    async with run.tools.transactions.engine() as uow:
        run.called_off = run.called_off or await uow.operations.cancelled_by(run.operation.id) is not None


async def _pass(run: Run) -> None:
    """Give every item that is ready to its stage, stage by stage, so that those that come from one go on together."""
    for name, stage in STAGES.items():
        now = datetime.now(UTC)
        items = [item for item in ready(run.items, now) if _stage_of(run, item) == name]
        if items and not run.stopping:
            await stage(run, items)


def _stage_of(run: Run, item: Item) -> str:
    if not item.stage:
        observed = run.operation.kind in ONBOARDING and run.specs[item.tenant].adopt == "observe"
        item.stage = "observe" if observed else str(item.spec.get("stage") or FIRST_STAGE[run.operation.kind])
    return item.stage


def _next_due(run: Run, now: datetime) -> timedelta:
    """How long until an item can be tried again; zero if one waits for something that is looked at all the time."""
    times = [item.memory.get("retryAt") for item in run.open]
    if not times or None in times:
        return timedelta(0)
    return max(timedelta(0), min(datetime.fromisoformat(str(at)) for at in times) - now)


async def _say(run: Run, state: OperationState, waiting: Sequence[Mapping[str, Any]], due_in: timedelta) -> None:
    async with run.transaction() as uow:
        await uow.operations.set_state(run.operation.id, state, waiting_for=waiting[:_SHOWN], due_in=due_in)
