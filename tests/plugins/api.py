"""The API over a real PostgreSQL, served by a real uvicorn on loopback, with a key for each role.

async def test_x(api: Api) -> None:
    admin = await api.as_("platform-admin")
    answer = await admin.post("/v1/keys", json={...})      # an Idempotency-Key is added unless the test gives one
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from controlplane.adapters.identity.local_issuer import LocalIssuer
from controlplane.adapters.telemetry import set_up_tracing
from controlplane.api.app import create_app
from controlplane.api.server import server_config
from controlplane.bootstrap import Container
from controlplane.services.keys import KeyWish, issue_key
from controlplane.settings import Settings

if TYPE_CHECKING:
    from tests.plugins.database import Database  # pytest must load the plugin itself


@dataclass
class Api:
    """A running API. `as_` gives a client with a new key of that role."""

    url: str
    container: Container
    app: FastAPI
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    async def key(
        self, *roles: str, tenants: Sequence[str] = (), apps: Sequence[str] = (), life: timedelta = timedelta(days=1)
    ) -> str:
        """Issue a key; returns its secret."""
        wish = KeyWish("test", frozenset(roles), frozenset(tenants), frozenset(apps), life)
        async with self.container.database.platform() as uow:
            return (await issue_key(uow, wish, actor="tests"))[1]

    async def as_(self, *roles: str, tenants: Sequence[str] = (), apps: Sequence[str] = ()) -> httpx.AsyncClient:
        """Give a client with a key of these roles."""
        return self.client(await self.key(*roles, tenants=tenants, apps=apps))

    def client(self, credential: str = "", *, idempotent: bool = True) -> httpx.AsyncClient:
        """Give a client with a credential, or none. `idempotent`: add an Idempotency-Key to each POST that has none."""

        async def add_key(request: httpx.Request) -> None:
            if request.method == "POST" and "idempotency-key" not in request.headers:
                request.headers["idempotency-key"] = str(uuid.uuid4())

        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        hooks = {"request": [add_key]} if idempotent else {}
        made = httpx.AsyncClient(base_url=self.url, headers=headers, event_hooks=hooks, timeout=20, trust_env=False)
        self.clients.append(made)
        return made


class Quiet(uvicorn.Server):
    """uvicorn without its signal handlers, since the test run keeps its own, and without its tenths of a second once it is to end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ends = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def end(self) -> None:
        """Let it end."""
        self.should_exit = True
        self._ends.set()

    async def main_loop(self) -> None:
        """As uvicorn's, which looks ten times a second whether to end."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ends.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which waits a tenth of a second for connections and answers that may not be there."""
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + 0.05
        while self.server_state.connections and time.monotonic() < deadline:  # noqa: ASYNC110 -- uvicorn has no event for it
            await asyncio.sleep(0.001)  # clients have closed theirs; the loop has yet to tell
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for one in sockets or []:
            one.close()
        await self.lifespan.shutdown()


def settings_for(database: Database) -> Settings:
    """Settings of a process over the test's database."""
    urls = {f"database_url_{role}": getattr(database, role) for role in ("platform", "tenant", "engine")}
    return Settings(**urls)


@contextlib.asynccontextmanager
async def serving(container: Container) -> AsyncIterator[Api]:
    """Serve the app on a free port until the context ends."""
    set_up_tracing("seawall-tests")
    app = create_app(container)
    listener = socket.create_server(("127.0.0.1", 0))
    # As on the sockets uvicorn opens itself; without it each answer waits 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = Quiet(server_config(app, "127.0.0.1", 0, drain_seconds=2))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
        if task.done():
            task.result()
    api = Api(f"http://127.0.0.1:{listener.getsockname()[1]}", container, app)
    try:
        yield api
    finally:
        for client in api.clients:
            await client.aclose()
        server.end()
        await task


@pytest.fixture
async def api(database: Database) -> AsyncIterator[Api]:
    """A served API over an empty database."""
    async with serving(Container(settings_for(database))) as running:
        yield running


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[LocalIssuer]:
    """An issuer of tokens on this machine, with keys of its own."""
    running = LocalIssuer(tmp_path / "issuer")
    await running.start()
    yield running
    await running.stop()
