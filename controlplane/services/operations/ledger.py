"""External effects of one item, one after the other through the ledger: the shape that scaling and leaving share."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from controlplane.domain.errors import SeawallError
from controlplane.domain.operations import ItemState
from controlplane.ports.clusters import Cluster, Fence
from controlplane.ports.faults import fault_point
from controlplane.ports.leases import LeaseLostError
from controlplane.ports.stores.operations import Item, NewStep, StepOutcome, TakenEnvironment
from controlplane.services.operations.run import Run

SLOT_TAKEN = "Another change holds this environment; this one follows when it is over."


@dataclass(frozen=True)
class Effect:
    """One call to make. `act` gets the cluster and the fence."""

    verb: str
    api_version: str
    kind: str
    name: str
    act: Callable[[Cluster, Fence], Awaitable[object]]


type Plan = Callable[[TakenEnvironment], Awaitable[Sequence[Effect]]]


async def carry_out(run: Run, item: Item, phase: str, plan: Plan) -> bool:
    """Take the slot, write what `plan` says as ISSUED, make the calls, write what came of them, give the slot back.

    True if every call succeeded; otherwise the item waits, has failed, or the operation was called off. The item is not saved
    here when all went well: the caller decides what comes next and saves it.
    """
    place = await _slot(run, item)
    if place is None:
        return False
    step_id = uuid.uuid4()
    effects = list(await plan(place))
    fault_point("operation:before-issue")
    if not await _issue(run, item, place, phase, step_id, effects):
        return False
    fault_point("operation:after-issue")
    outcomes, error = await _act(run, place, step_id, effects)
    if error is not None:
        run.settle(item, error)
    async with run.transaction() as uow:
        await uow.operations.observe(run.operation.id, outcomes)
        await uow.operations.free_slots(run.operation.id, [(item.tenant, item.environment)])
        await uow.operations.save_items(run.operation.id, [item])
    fault_point("operation:after-observe")
    return error is None


async def _slot(run: Run, item: Item) -> TakenEnvironment | None:
    async with run.transaction() as uow:
        if run.called_off:
            return None
        taken = await uow.operations.take_slots(
            run.operation.id, [(item.tenant, item.environment)], dirty_too=run.operation.kind == "offboard"
        )
        if taken:
            run.move(item, ItemState.RUNNING)
        else:
            run.wait(item, "slot", SLOT_TAKEN, now=uow.now)
        await uow.operations.save_items(run.operation.id, [item])
    return taken[0] if taken else None


async def _issue(
    run: Run, item: Item, place: TakenEnvironment, phase: str, step_id: uuid.UUID, effects: Sequence[Effect]
) -> bool:
    """Write the steps as ISSUED; False if the operation was called off meanwhile: then the slot is free again."""
    steps = [
        NewStep(step_id, n, item.tenant, item.environment, phase, e.verb, place.epoch, e.api_version, e.kind, e.name)
        for n, e in enumerate(effects)
    ]
    async with run.transaction() as uow:
        if run.called_off:
            await uow.operations.free_slots(run.operation.id, [(item.tenant, item.environment)])
        else:
            await uow.operations.issue(run.operation.id, steps)
    return not run.called_off


async def _act(
    run: Run, place: TakenEnvironment, step_id: uuid.UUID, effects: Sequence[Effect]
) -> tuple[list[StepOutcome], SeawallError | None]:
    fence = Fence(place.epoch, str(step_id))
    outcomes: list[StepOutcome] = []
    error: SeawallError | None = None
    for n, effect in enumerate(effects):
        if error is not None:
            outcomes.append(StepOutcome(step_id, n, "skipped"))
            continue
        try:
            cluster = await run.cluster(place.cluster)
            await run.call(lambda e=effect, c=cluster: e.act(c, fence))  # type: ignore[misc]
            outcomes.append(StepOutcome(step_id, n, "ok"))
        except LeaseLostError:
            raise
        except SeawallError as found:
            error = found
            outcomes.append(StepOutcome(step_id, n, "failed", {"code": found.code}))
    return outcomes, error
