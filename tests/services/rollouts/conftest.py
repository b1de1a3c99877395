"""The tools of the rollout services over the test's database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controlplane.adapters.cel import Cel
from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.services.rollouts.tools import RolloutTools
from tests.plugins.database import Database


@pytest.fixture
async def tools(database: Database) -> AsyncIterator[RolloutTools]:
    """The services' tools as the API has them."""
    transactions = Transactions(Urls(platform=database.platform, engine=database.engine))
    yield RolloutTools(open=transactions.platform, expressions=Cel())
    await transactions.close()
