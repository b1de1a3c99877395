"""Transactions: what a caller is told when the pool is empty."""

from __future__ import annotations

import pytest

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
