"""A real nats-server per test, with the permissions of production and a key per role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controlplane.adapters.embedded.nats import EmbeddedNats
from controlplane.adapters.nats import NatsBus, NatsRole, nats_authorization, new_nkey


@dataclass
class NatsFixture:
    """The server and the file with each role's seed."""

    server: EmbeddedNats
    seeds: dict[NatsRole, Path]
    opened: list[NatsBus] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url

    def bus(self, role: NatsRole) -> NatsBus:
        """A connection under a role's rights; closed when the test ends."""
        bus = NatsBus(self.url, role, seed=self.seeds[role])
        self.opened.append(bus)
        return bus


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsFixture]:
    """A running server, permissions and all, over an empty store."""
    seeds: dict[NatsRole, Path] = {}
    public: dict[NatsRole, str] = {}
    for role in NatsRole:
        seed, public[role] = new_nkey()
        seeds[role] = tmp_path / f"{role.value}.nk"
        seeds[role].write_text(seed)
    with EmbeddedNats(tmp_path / "nats", nats_authorization(public)) as server:
        yield NatsFixture(server, seeds)


@pytest.fixture
async def nats(nats_server: NatsFixture) -> AsyncIterator[NatsFixture]:
    """The server with its streams, as the relay makes them."""
    await nats_server.bus(NatsRole.RELAY).ensure()
    yield nats_server
    for bus in nats_server.opened:
        await bus.close()
