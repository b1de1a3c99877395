"""A small fleet in the registry."""

from __future__ import annotations

import pytest

from tests.plugins.database import Database
from tests.support.registry import Fleet


@pytest.fixture
def fleet(database: Database) -> Fleet:
    """Four tenants that run odoo/17.0.3, with 17.0.4 registered and a strategy that takes everybody at once."""
    fleet = Fleet(database.owner)
    fleet.basics()
    fleet.release("17.0.3")
    fleet.release("17.0.4")
    fleet.runs(fleet.tenants(["acme-fr", "acme-de", "zed-fr", "zed-de"]), "17.0.3")
    return fleet
