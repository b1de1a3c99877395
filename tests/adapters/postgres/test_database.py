"""Transactions: what a caller is told when the pool is empty, or the server takes no writes."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from controlplane.adapters.postgres.database import Database, Urls
from controlplane.domain.errors import DependencyError
from tests.plugins.database import Database as DatabaseUrls


async def test_when_every_connection_is_in_use_the_caller_is_told_to_come_again(database: DatabaseUrls) -> None:
    pools = Database(Urls(platform=database.platform), pool_size=1)
    pools.pool("platform").pool._timeout = 0.2  # type: ignore[attr-defined]  # shorter than production's, for the test's sake
    pools.pool("platform").pool._max_overflow = 0  # type: ignore[attr-defined]  # as above
    async with pools.platform():
        with pytest.raises(DependencyError) as caught:
            async with pools.platform():
                pass
    assert caught.value.code == "database-busy"
    await pools.close()


async def write_to_a_standby(pools: Database) -> None:
    async with pools.engine() as uow:
        await uow.session.execute(text("set transaction read only"))  # as all transactions of a standby are
        await uow.session.execute(text("update budgets set reserved = 0"))


async def test_a_standby_that_is_not_promoted_yet_is_a_part_that_is_away_and_no_bug(database: DatabaseUrls) -> None:
    pools = Database(Urls(engine=database.engine))
    with pytest.raises(DependencyError) as caught:
        await write_to_a_standby(pools)
    assert caught.value.code == "database-unavailable"
    await pools.close()
