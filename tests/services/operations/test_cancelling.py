"""Calling an operation off: nothing more of it starts, and what it blocks is free again."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from controlplane.domain.errors import ConflictError
from controlplane.services.onboarding import batch_onboard, onboard
from controlplane.services.operations.cancelling import cancel
from controlplane.services.tenant_life import offboard, resume
from tests.contract.fleets import until_read
from tests.plugins.operations import Works, ndjson, spec


async def accepted(works: Works, name: str = "acme-fr") -> uuid.UUID:
    return await works.accept(lambda uow: onboard(uow, spec(name), actor="mia"))


async def call_off(works: Works, operation: uuid.UUID, reason: str = "the cluster is gone") -> str:
    return (await works.accept(lambda uow: cancel(uow, operation, actor="joe", reason=reason))).state


async def waiting(works: Works, operation: uuid.UUID) -> bool:
    return (await works.read(operation)).state == "waiting"


async def test_an_operation_that_waits_for_a_cluster_is_called_off_and_frees_its_tenant(works: Works) -> None:
    works.trouble("unavailable")
    operation = await accepted(works)
    driven = asyncio.create_task(works.finish(operation))
    assert await until_read(lambda: waiting(works, operation))
    await call_off(works, operation)
    found = await driven
    assert (found.state, found.counts) == ("cancelled", {"failed": 1})
    assert found.problem is not None
    assert found.problem["code"] == "operation-cancelled"
    assert "joe: the cluster is gone" in found.problem["detail"]
    assert (await works.phase("acme-fr"))[0] == "onboarding"
    assert works.fleet.ask("select slot_id, slot_kind from environments") == [(None, None)]
    assert works.fleet.ask("select count(*) from steps where state <> 'OBSERVED'") == [(0,)]
    assert works.fleet.ask("select count(*) from commands where applied_at is null") == [(0,)]
    works.front.troubles.clear()
    async with works.transactions.platform() as uow:
        record = await uow.tenants.get("acme-fr")
        assert record is not None
        again = await resume(uow, record, actor="mia")
    assert (await works.finish(again)).state == "succeeded"


async def test_a_parked_operation_without_a_driver_is_due_at_once_and_ends_without_its_cluster(works: Works) -> None:
    operation = await accepted(works)
    works.trouble("unavailable")
    await call_off(works, operation)
    assert [due.subject_id for due in await works.leases.due(("operation",))] == [operation]
    assert (await works.drive(operation)).state == "cancelled"
    assert works.world.read_namespace("acme-fr") is None


async def test_a_successor_frees_the_slot_that_a_dead_driver_held(works: Works) -> None:
    operation = await accepted(works)
    works.fleet.run("update environments set slot_kind = 'operation', slot_id = %s, slot_since = now()", operation)
    await call_off(works, operation)
    assert (await works.drive(operation)).state == "cancelled"
    assert works.fleet.ask("select slot_id from environments") == [(None,)]


async def test_what_was_done_before_the_word_stays_and_counts(works: Works) -> None:
    works.trouble("unavailable", namespace="t2")
    lines = ndjson(spec("t1"), spec("t2"))
    operation = await works.accept(lambda uow: batch_onboard(uow, lines, actor="mia"))
    driven = asyncio.create_task(works.finish(operation))
    assert await until_read(lambda: waiting(works, operation))
    await call_off(works, operation)
    found = await driven
    assert (found.state, found.result) == ("cancelled", {"succeeded": 1, "failed": 1})
    assert (await works.phase("t1"))[0] == "active"


async def test_saying_it_twice_changes_nothing_and_what_is_over_can_not_be_called_off(works: Works) -> None:
    operation = await accepted(works)
    await call_off(works, operation)
    await call_off(works, operation, "again")
    assert works.fleet.ask("select count(*) from commands") == [(1,)]
    assert (await works.drive(operation)).state == "cancelled"
    assert await call_off(works, operation) == "cancelled"
    done = await accepted(works, "other")
    assert (await works.finish(done)).state == "succeeded"
    with pytest.raises(ConflictError, match="nothing to cancel") as refused:
        await call_off(works, done)
    assert refused.value.code == "operation-over"


async def test_an_offboarding_that_was_called_off_can_be_tried_again(works: Works) -> None:
    assert (await works.finish(await accepted(works))).state == "succeeded"
    for ending in ("cancelled", "succeeded"):
        async with works.transactions.platform() as uow:
            record = await uow.tenants.get("acme-fr")
            assert record is not None
            operation = await offboard(uow, record, actor="mia")
        if ending == "cancelled":
            await call_off(works, operation)
        assert (await works.finish(operation)).state == ending
    assert (await works.phase("acme-fr"))[0] == "offboarded"
