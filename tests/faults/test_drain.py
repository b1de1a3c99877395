"""SIGTERM on real processes: what is in hand is finished, and nobody waits for what the process held."""

from __future__ import annotations

import signal
import time

import httpx
import pytest

from controlplane.adapters.embedded.processes import Child, free_port
from controlplane.adapters.nats import NatsRole
from tests.plugins.bus import NatsFixture
from tests.support.processes import tail, until

from .conftest import Field, standing_by
from .test_parts_away import on_bus, outbox

pytestmark = pytest.mark.kill

LONG_LEASE = {"SEAWALL_LEASE_SECONDS": "120"}
"""Nobody can mean to wait for it in these tests."""


async def leaves(child: Child, within: float = 20.0) -> float:
    """Send SIGTERM, wait for the end; gives the seconds it took. It ends well, with nothing to complain about."""
    began = time.monotonic()
    child.kill(signal.SIGTERM)
    await until(lambda: not child.running(), within, f"{child.name} ends\n{tail(child)}")
    assert child.process.returncode == 0, tail(child)
    return time.monotonic() - began


async def test_a_worker_that_drains_gives_its_rollout_to_another_at_once(playground: Field) -> None:
    waves = [{"name": f"wave-{n}", "cut": {"count": 1}, "soak": {"for": "PT2S", "samples": 1}} for n in range(3)]
    last = {"name": "rest", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}
    playground.rows.config("strategies", "slow", {"waves": [*waves, last], "limits": {"inFlight": 1}})
    playground.rows.release("1.0")
    await playground.tenants(6)
    for name in ("one", "two"):
        await standing_by(playground, name, **LONG_LEASE)
    rollout = await playground.start("1.0", "slow")
    (claim,) = await until(playground.processes.claims, what="a worker drives")
    await until(lambda: {"apply", "verify", "soak"} & set(playground.targets(rollout).values()), what="it is in hand")
    began = time.monotonic()
    seconds = await leaves(playground.processes.children[claim.worker])
    await until(lambda: len(playground.processes.claims()) == 2, what="another worker drives")
    handed_over = time.monotonic() - began
    assert playground.state(rollout) == "running", "it was handed over while it ran"
    assert playground.processes.claims()[1].worker != claim.worker
    assert handed_over < 20, f"left after {seconds:.1f} s, driven again after {handed_over:.1f} s, of a lease of 120 s"
    assert await playground.over(rollout) == ["succeeded"]
    assert len(playground.processes.claims()) == 2
    assert playground.rows.ask("select count(*) from workers") == [(1,)], "who left is no longer listed"
    print(f"left after {seconds:.2f} s, driven again after {handed_over:.2f} s")  # noqa: T201 -- the figure, shown with -s
    playground.check()


async def test_a_worker_that_drains_says_so_until_it_ends(playground: Field) -> None:
    port = free_port()
    worker = await driving_idle(playground, port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        assert (await client.get("/livez")).status_code == 200
        assert "seawall_tick_seconds" in (await client.get("/metrics")).text
    await leaves(worker)


async def driving_idle(playground: Field, port: int) -> Child:
    """A worker with nothing to do that answers machines."""
    worker = await standing_by(playground, "idle", SEAWALL_METRICS_LISTEN=f"127.0.0.1:{port}")

    def listens() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    await until(listens, what="the worker answers machines")
    return worker


async def test_a_relay_and_an_api_that_drain_leave_nothing_behind(playground: Field, nats: NatsFixture) -> None:
    playground.rows.release("1.0")
    await playground.tenants(1)
    relay = playground.processes.relay(**on_bus(nats, NatsRole.RELAY))
    await playground.processes.api()
    await playground.start("1.0")
    await until(lambda: outbox(playground) == 0, what="the relay empties the outbox")
    await leaves(relay)
    await leaves(playground.processes.children["api"])
    assert playground.rows.ask("select count(*) from outbox where claimed_until > now()") == [(0,)]
    assert playground.processes.errors() == []
