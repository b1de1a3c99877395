"""First paint of the web console over 10,000 tenants: from the request to the last byte of the page, on a real, durable PostgreSQL."""

from __future__ import annotations

import statistics
import time

import httpx
import psycopg

from controlplane.bootstrap import Container
from tests.bench.bench_reads import DEPLOY, SIZE, filled
from tests.bench.rows import Row
from tests.plugins.api import serving, settings_for
from tests.plugins.database import Database

READS = 50
TARGET_MS = 1000.0
CONDITIONS = (
    f"{SIZE} tenants, a rollout of all of them under way, 20,000 changes in history, one API process, one browser"
)

_BUSY = """
    update rollouts set state = 'running', started_at = now();
    update targets set state = (array['verified','soak','pending','stuck'])[1 + position % 4], reason = 'web 0/2 ready';
    update environments set health = (array['healthy','healthy','progressing','unhealthy'])[1 + (hashtext(tenant) & 3)];
    insert into history (subject_kind, subject_id, seq, type, tenant, data, at)
        select 'rollout', (select id from rollouts limit 1), 100000 + n, 'dev.seawall.rollout.target-verified.v1', 't-' || n % 10000,
               '{"state": "verified", "wave": "all"}', now() - n * interval '0.3 seconds' from generate_series(1, 20000) n;
    vacuum analyze
"""


async def measure() -> list[Row]:
    """Measure the three pages."""
    async with filled() as database:
        return await _measure(database)


async def _measure(database: Database) -> list[Row]:
    async with serving(Container(settings_for(database))) as api:
        manager = await api.as_("release-manager")
        manager.timeout = httpx.Timeout(120)
        started = await manager.post("/v1/rollouts", json=DEPLOY)
        started.raise_for_status()
        with psycopg.connect(database.owner, autocommit=True) as db:
            for statement in _BUSY.split(";"):
                db.execute(statement.encode())
        browser = api.client(idempotent=False)
        login = await browser.post("/console/login", data={"key": await api.key("operator")})
        assert login.status_code == 303
        pages = {
            "fleet": "/console",
            "rollout of 10,000": f"/console/rollouts/{started.json()['id']}",
            "tenant": f"/console/tenants/t-{SIZE // 2}",
        }
        return [await _page(browser, name, path) for name, path in pages.items()]


async def _page(browser: httpx.AsyncClient, name: str, path: str) -> Row:
    taken, size = [], 0
    for _ in range(READS):
        begun = time.perf_counter()
        answer = await browser.get(path)
        taken.append((time.perf_counter() - begun) * 1e3)
        assert answer.status_code == 200, answer.text
        size = len(answer.content)
    value = taken[0]
    spread = f"median {statistics.median(taken):.0f}, highest {max(taken):.0f} ({READS} runs)"
    what = f"{CONDITIONS}; the first page after the start; {size / 1024:.0f} KiB of HTML"
    return Row(
        f"console first paint, {name}", round(value, 1), "ms", spread, f"<= {TARGET_MS:g} ms", value <= TARGET_MS, what
    )
