"""What a worker and the relay answer machines."""

from __future__ import annotations

import socket

import httpx
import pytest

from controlplane.adapters.machine_server import machine_server
from controlplane.domain.errors import DependencyError
from controlplane.ports.health import Part


async def ask(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


async def test_it_is_alive_ready_and_counts() -> None:
    async def parts() -> list[Part]:
        return [Part(name="postgresql", state="ok"), Part(name="nats", state="away", needed=False)]

    async with machine_server("127.0.0.1:0", parts) as port:
        assert (await ask(port, "/livez")).json() == {"status": "ok"}
        ready = await ask(port, "/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        assert [p["name"] for p in ready.json()["parts"]] == ["postgresql", "nats"]
        metrics = await ask(port, "/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "python_info" in metrics.text


async def test_without_a_part_it_needs_it_is_not_ready_but_alive() -> None:
    async def parts() -> list[Part]:
        return [Part(name="postgresql", state="away", detail="It does not answer.")]

    async with machine_server("127.0.0.1:0", parts) as port:
        assert (await ask(port, "/readyz")).status_code == 503
        assert (await ask(port, "/livez")).status_code == 200


async def test_without_an_address_nothing_listens() -> None:
    async def parts() -> list[Part]:
        return []

    async with machine_server("", parts) as port:
        assert port == 0


async def test_an_address_that_is_taken_is_said() -> None:
    async def parts() -> list[Part]:
        return []

    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(DependencyError) as caught:
            async with machine_server(f"127.0.0.1:{taken.getsockname()[1]}", parts):
                pass
        assert caught.value.code == "listen-failed"
