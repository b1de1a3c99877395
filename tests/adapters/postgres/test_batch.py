"""Statements that travel together: in order, counted, and with the errors that statements one by one have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError

from controlplane.adapters.postgres.batch import Batch, RowCountError
from controlplane.adapters.postgres.database import Database, Urls
from controlplane.domain.errors import DependencyError
from tests.plugins.database import Database as DatabaseUrls

_MAKE = text("insert into budgets (scope, cap, reserved) select unnest(cast(:scopes as text[])), :cap, 0")
_RAISE = text("update budgets set cap = cap + 1 where scope = any(cast(:scopes as text[]))")
_READ = text("select scope, cap from budgets where scope like 'batch/%' and cap > :least order by scope")
_END_ITSELF = text("select pg_terminate_backend(pg_backend_pid()), :nothing")


@pytest.fixture
async def pools(database: DatabaseUrls) -> AsyncIterator[Database]:
    opened = Database(Urls(platform=database.platform))
    yield opened
    await opened.close()


async def seen(pools: Database) -> list[tuple[str, int]]:
    async with pools.platform() as uow:
        return [(row.scope, int(row.cap)) for row in await Batch(uow.session).rows(_READ, {"least": 0})]


async def test_statements_are_carried_out_in_order_and_rows_come_back_to_whoever_asked(pools: Database) -> None:
    first: list[Any] = []
    async with pools.platform() as uow:
        batch = Batch(uow.session)
        batch.exactly(_MAKE, {"scopes": ["batch/a", "batch/b"], "cap": 1}, 2, "budgets")
        assert not batch.owes_rows()
        batch.add(_READ, {"least": 0}, first.extend)
        assert batch.owes_rows()
        batch.exactly(_RAISE, {"scopes": ["batch/b"]}, 1, "budgets")
        second = await batch.rows(_READ, {"least": 1})
        await batch.flush()  # nothing is left to send
    assert [(row.scope, row.cap) for row in first] == [("batch/a", 1), ("batch/b", 1)]
    assert [(row.scope, row.cap) for row in second] == [("batch/b", 2)]
    assert await seen(pools) == [("batch/a", 1), ("batch/b", 2)]


async def write(pools: Database, scopes: list[str], cap: object, raised: list[str], end: bool = False) -> None:
    """Make budgets and raise caps, two rounds of them, in one transaction; at its `end` the session ends itself."""
    async with pools.platform() as uow:
        batch = Batch(uow.session)
        batch.exactly(_MAKE, {"scopes": scopes, "cap": cap}, len(scopes), "budgets")
        batch.exactly(_RAISE, {"scopes": raised}, len(raised), "caps")
        batch.exactly(_RAISE, {"scopes": scopes}, len(scopes), "budgets")
        if end:
            batch.add(_END_ITSELF, {"nothing": 0})
        await batch.flush()


async def test_one_row_too_few_takes_everything_back(pools: Database) -> None:
    with pytest.raises(RowCountError, match=r"^caps: 1 rows written of 2 sent$"):
        await write(pools, ["batch/a"], 1, ["batch/a", "batch/hidden"])
    assert await seen(pools) == []


@pytest.mark.parametrize(
    ("scopes", "cap", "error"), [(["batch/a", "batch/a"], 1, IntegrityError), (["batch/a"], "no number", DataError)]
)
async def test_a_refused_row_is_the_same_error_as_in_a_statement_of_its_own_without_its_values(
    pools: Database, scopes: list[str], cap: object, error: type[Exception]
) -> None:
    with pytest.raises(error) as refused:
        await write(pools, scopes, cap, scopes)
    assert "parameters" not in str(refused.value)
    assert await seen(pools) == []


async def test_a_connection_that_ends_midway_is_a_part_that_is_away_and_the_next_transaction_has_a_new_one(
    pools: Database,
) -> None:
    with pytest.raises(DependencyError) as away:
        await write(pools, ["batch/a"], 1, [], end=True)
    assert away.value.code == "database-unavailable"
    assert await seen(pools) == []
