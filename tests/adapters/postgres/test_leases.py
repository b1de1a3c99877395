"""Leases on a real PostgreSQL: one holder, epochs that rise, commands nobody misses."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.adapters.postgres.guard import Guard
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.adapters.postgres.workers import tell_worker
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.ports.leases import LeaseLostError
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.contract.fleets import until_read
from tests.plugins.database import Database
from tests.support.registry import Fleet


@pytest.fixture
async def transactions(database: Database) -> AsyncIterator[Transactions]:
    made = Transactions(Urls(platform=database.platform, engine=database.engine))
    yield made
    await made.close()


@pytest.fixture
async def rollout(database: Database, transactions: Transactions) -> uuid.UUID:
    fleet = Fleet(database.owner)
    fleet.basics()
    fleet.release("1.0")
    fleet.tenants(["a"])
    ask = Ask(RolloutRequest.model_validate({"release": "odoo/1.0", "strategy": "all"}))
    tools = RolloutTools(open=transactions.platform)
    return (await plan_and_start(tools, ask, actor="mia", origin={"kind": "person"})).id


async def test_a_lease_has_one_holder_until_it_is_released(transactions: Transactions, rollout: uuid.UUID) -> None:
    leases = PostgresLeases(transactions)
    held = await leases.take("rollout", rollout, "one")
    assert held is not None
    assert await leases.take("rollout", rollout, "two") is None
    assert await leases.due(("rollout",)) == []
    await leases.release(held)
    assert [due.subject_id for due in await leases.due(("rollout",))] == [rollout]
    second = await leases.take("rollout", rollout, "two")
    assert second is not None
    assert second.epoch == held.epoch + 1
    with pytest.raises(LeaseLostError):
        await leases.renew(held)


async def test_a_lease_that_ran_out_is_taken_over_and_its_old_holder_is_told(
    database: Database, transactions: Transactions, rollout: uuid.UUID
) -> None:
    leases = PostgresLeases(transactions)
    held = await leases.take("rollout", rollout, "one")
    assert held is not None
    Fleet(database.owner).run("update leases set expires_at = now() - interval '1 second'")
    with pytest.raises(LeaseLostError):
        await leases.renew(held)
    assert await leases.take("rollout", rollout, "two") is not None


async def test_a_command_that_no_driver_took_into_account_is_found_by_the_next(
    transactions: Transactions, rollout: uuid.UUID
) -> None:
    async with transactions.platform() as uow:
        await uow.rollouts.command(rollout, "pause", {}, "mia")
    held = await PostgresLeases(transactions).take("rollout", rollout, "one")
    assert held is not None
    assert held.command_seq == 0


async def test_an_older_worker_leaves_newer_plans_to_newer_workers(
    transactions: Transactions, rollout: uuid.UUID
) -> None:
    older = PostgresLeases(transactions, schema_version=0)
    assert await older.due(("rollout",)) == []
    assert await older.take("rollout", rollout, "old") is None
    assert await PostgresLeases(transactions).take("rollout", rollout, "new") is not None


async def test_a_worker_takes_only_rollouts_whose_clusters_it_all_serves(
    transactions: Transactions, rollout: uuid.UUID
) -> None:
    elsewhere = PostgresLeases(transactions, clusters=frozenset({"aks-2"}))
    assert await elsewhere.due(("rollout",)) == []
    assert await elsewhere.take("rollout", rollout, "far") is None
    assert (
        await PostgresLeases(transactions, clusters=frozenset({"aks-1", "aks-2"})).take("rollout", rollout, "near")
        is not None
    )


@pytest.mark.parametrize("seconds", [4.0, 12.0, 60.0])
async def test_a_lease_lasts_as_long_as_its_holder_was_told_also_after_a_renewal(
    database: Database, transactions: Transactions, rollout: uuid.UUID, seconds: float
) -> None:
    leases = PostgresLeases(transactions, ttl=seconds)
    held = await leases.take("rollout", rollout, "one")
    assert held is not None
    await leases.renew(held)
    left = "select extract(epoch from expires_at - now()) from leases where holder = 'one'"
    assert seconds - 1 < float(Fleet(database.owner).ask(left)[0][0]) <= seconds
    assert held.renew_after == seconds / 4
    assert held.may_issue(held.sent_at + seconds * 0.74)
    assert not held.may_issue(held.sent_at + seconds * 0.75), "the last quarter is for calls on their way"


async def test_the_sweeper_is_told_when_the_next_lease_runs_out_and_never_of_one_that_has(
    database: Database, transactions: Transactions, rollout: uuid.UUID
) -> None:
    leases = PostgresLeases(transactions)
    assert await leases.soonest_expiry() is None
    assert await leases.take("rollout", rollout, "one") is not None
    soonest = await leases.soonest_expiry()
    assert soonest is not None
    assert 5 < soonest <= 12
    Fleet(database.owner).run("update leases set expires_at = now() - interval '1 second'")
    assert await leases.soonest_expiry() is None


async def test_leases_of_a_holder_whose_session_ended_can_be_ended_at_once_and_those_of_others_not(
    database: Database, transactions: Transactions, rollout: uuid.UUID
) -> None:
    leases = PostgresLeases(transactions, ttl=3600)
    guard = Guard(database.engine, "one")
    holding = asyncio.create_task(guard.hold_forever())
    held = await leases.take("rollout", rollout, "one")
    assert held is not None
    await asyncio.wait_for(guard.changed.wait(), 10)
    await tell_worker(transactions, "one", "1", 1, [], guarded=True)
    await _up_for_a_while(database)
    assert await leases.gone("two") == []
    assert await leases.let_run_out("one") == 0
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)

    async def gone() -> bool:
        return await leases.gone("two") == ["one"]

    await until_read(gone)
    assert await leases.gone("one") == [], "nobody judges himself"
    assert await leases.let_run_out("one") == 1
    assert await leases.take("rollout", rollout, "two") is not None
    with pytest.raises(LeaseLostError):
        await leases.renew(held)


async def test_a_holder_that_never_held_its_lock_keeps_its_leases_for_their_time(
    database: Database, transactions: Transactions, rollout: uuid.UUID
) -> None:
    leases = PostgresLeases(transactions)
    assert await leases.take("rollout", rollout, "one") is not None
    await tell_worker(transactions, "one", "1", 1, [])
    await _up_for_a_while(database)
    assert await leases.gone("two") == []
    assert await leases.let_run_out("one") == 0


async def _up_for_a_while(database: Database) -> None:
    """Soon after PostgreSQL's start nobody counts as gone: everybody is connecting again."""

    async def up() -> bool:
        row = Fleet(database.owner).ask("select pg_postmaster_start_time() < clock_timestamp() - interval '10 seconds'")
        return row == [(True,)]

    await until_read(up)
