"""The fleets under contract, each started once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.fleets import Fleet, simulated_fleet
from tests.contract.kubernetes_fleet import kubernetes_fleet


@pytest.fixture(scope="session", params=["simulated", "kubernetes"])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    if request.param == "simulated":
        async with simulated_fleet() as simulated:
            yield simulated
        return
    async with kubernetes_fleet(request.getfixturevalue("cluster_kubeconfig")) as real:
        yield real
