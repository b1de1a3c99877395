"""Azurite for the test session: real blobs over TLS. See `tests.support.azurite`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import azurite as azure
from tests.support.azurite import Azurite


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One server; each test makes a container of its own."""
    running = azure.start(tmp_path_factory.mktemp("azurite"))
    yield running
    running.child.stop()
