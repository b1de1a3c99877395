"""What the database itself refuses about rollouts, whatever the code above it says."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.ports.stores.rollout_rows import RowCountError
from controlplane.services.rollouts.previews import preview
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.plugins.database import Database
from tests.support.registry import Fleet

ALL = Ask(RolloutRequest(release="odoo/17.0.4", strategy="all"))


@pytest.fixture
async def rollout(database: Database, fleet: Fleet) -> uuid.UUID:
    transactions = Transactions(Urls(platform=database.platform))
    tools = RolloutTools(open=transactions.platform)
    await preview(tools, ALL, "mia")
    started = await plan_and_start(tools, ALL, actor="mia", origin={"kind": "person"})
    await transactions.close()
    return started.id


def as_tenant(database: Database, statement: str, tenant: str = "acme-fr") -> list[tuple[object, ...]]:
    with psycopg.connect(database.tenant) as db:
        db.execute("select set_config('seawall.tenant', %s, true)", (tenant,))
        return db.execute(statement.encode()).fetchall()


async def test_a_tenant_sees_its_own_target_and_the_rollout_but_no_other(
    database: Database, rollout: uuid.UUID
) -> None:
    assert as_tenant(database, "select tenant from targets") == [("acme-fr",)]
    assert as_tenant(database, "select id, release_version, state from rollouts") == [(rollout, "17.0.4", "planned")]
    assert as_tenant(database, "select id from rollouts", "nobody") == []


@pytest.mark.parametrize(
    "statement",
    [
        "select plan from rollouts",
        "select selector from rollouts",
        "select * from previews",
        "select * from commands",
        "select * from waves",
        "select * from budgets",
        "select * from contents",
        "update targets set state = 'verified'",
        "insert into commands values ('rollout', gen_random_uuid(), 1, 'abort', '{}', 'x')",
    ],
)
async def test_what_names_other_tenants_or_steers_a_rollout_is_closed_to_tenants(
    database: Database, rollout: uuid.UUID, statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_tenant(database, statement)


async def test_a_write_that_misses_its_row_gives_the_whole_transaction_up(database: Database, fleet: Fleet) -> None:
    transactions = Transactions(Urls(platform=database.platform))

    async def begin_nothing() -> None:
        async with transactions.platform() as uow:
            await uow.audit("mia", "test", "rollouts/none")
            await uow.rollouts.begin(uuid.uuid4(), uow.now)

    with pytest.raises(RowCountError):
        await begin_nothing()
    await transactions.close()
    assert fleet.ask("select count(*) from audit") == [(0,)]
