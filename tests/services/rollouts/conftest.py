"""A small fleet and the tools of the rollout services, over one database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.services.rollouts.tools import RolloutTools
from tests.plugins.database import Database
from tests.support.registry import Fleet


@pytest.fixture
def fleet(database: Database) -> Fleet:
    """Four tenants that run odoo/17.0.3, with 17.0.4 registered."""
    fleet = Fleet(database.owner)
    fleet.basics()
    fleet.release("17.0.3")
    fleet.release("17.0.4")
    fleet.runs(fleet.tenants(["acme-fr", "acme-de", "zed-fr", "zed-de"]), "17.0.3")
    return fleet


@pytest.fixture
async def tools(database: Database) -> AsyncIterator[RolloutTools]:
    """The services' tools as the API has them."""
    transactions = Transactions(Urls(platform=database.platform, engine=database.engine))
    yield RolloutTools(open=transactions.platform)
    await transactions.close()
