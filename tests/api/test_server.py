"""`seawall serve` as a process: it drains on SIGTERM and ends with 0."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import httpx
import psycopg

from tests.api.test_machine import free_port
from tests.contract.fleets import until, until_read
from tests.plugins.database import Database

SERVE = "from controlplane.api.server import run; from controlplane.settings import Settings; run(Settings())"


async def _answers(url: str, process: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:

        async def look() -> bool:
            assert process.returncode is None, "the server ended"
            try:
                return (await client.get(f"{url}/livez")).status_code == 200
            except httpx.TransportError:
                return False

        await until_read(look)


async def test_sigterm_lets_the_request_in_hand_finish_and_ends_with_0(database: Database) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "SEAWALL_DATABASE_URL_PLATFORM": database.platform,
        "SEAWALL_LISTEN": f"127.0.0.1:{port}",
        "SEAWALL_LOG_FORMAT": "json",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    reading = asyncio.create_task(process.stderr.read())
    await _answers(url, process)
    with psycopg.connect(database.owner) as holder:
        holder.execute("lock table api_keys in access exclusive mode")  # the request waits until this is given back
        async with httpx.AsyncClient(trust_env=False) as client:
            headers = {"authorization": "Bearer sw_unknown"}
            asked = asyncio.create_task(client.get(f"{url}/v1/whoami", headers=headers, timeout=20))
            await _waits(database)
            process.send_signal(signal.SIGTERM)
            holder.rollback()
            assert (await asked).status_code == 401
    assert await asyncio.wait_for(process.wait(), 20) == 0
    logged = (await reading).decode()
    assert '"event": "request"' in logged
    assert "sw_unknown" not in logged


async def _waits(database: Database) -> None:
    """Until the server's query waits for the lock."""
    with psycopg.connect(database.owner, autocommit=True) as looker:
        statement = (
            "select 1 from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'seawall-platform'"
        )
        await until(lambda: looker.execute(statement).fetchone())
