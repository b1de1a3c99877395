"""Preview, start and reads of a rollout of 10,000 tenants, over HTTP on a real, durable PostgreSQL."""

from __future__ import annotations

import shutil
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import psycopg

from controlplane.adapters.embedded.postgres import temporary
from controlplane.adapters.postgres import migrate
from controlplane.adapters.postgres.engine.store import PostgresEngineStore
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.bootstrap import Container
from tests.bench.rows import Row, row
from tests.plugins.api import serving, settings_for
from tests.plugins.database import Database
from tests.support.registry import Fleet

SIZE = 10_000
READS = 400
DEPLOY = {"release": "odoo/17.0.4", "strategy": "all"}
CONDITIONS = f"{SIZE} targets, one API process and PostgreSQL on the same machine, one client"

_INSTALL = """
    insert into contents (tenant, hash, body) select tenant, 'sha256:' || md5(tenant), '\\x789cabae0500017500f9' from tenants;
    insert into revisions (tenant, environment, app, revision, release_version, content_hash, values_hash, base_revision, state)
    select tenant, 'production', 'odoo', 1, '17.0.3', 'sha256:' || md5(tenant), 'v', 0, 'verified' from tenants;
    update tenant_apps set revision = 1, verified_revision = 1, last_number = 1;
    analyze
"""
_HALFWAY = """
    update rollouts set state = 'running', started_at = now();
    update targets set state = (array['verified','soak','pending'])[1 + position % 3];
    update targets set code = 'busy', reason = 'another change' where state = 'pending' and position % 5 = 0;
    update targets set memory = jsonb_set(memory, '{driver}', '{"samples": 3}') where position % 2 = 0;
    insert into history (subject_kind, subject_id, seq, type, tenant, data, at)
    select 'rollout', cast(t.rollout_id as text), 100 + 3 * (row_number() over ()) + n,
           'dev.seawall.rollout.' || (array['target-started','target-failed','target-rolled-back'])[n + 1] || '.v1', t.tenant,
           '{"code": "unhealthy", "reason": "odoo-web not ready"}', now() - make_interval(secs => random() * 20000)
    from targets t cross join generate_series(0, 2) n;
    vacuum analyze targets;
    vacuum analyze history
"""


async def measure() -> list[Row]:
    """Measure each read many times; preview and start a few."""
    async with filled() as database:
        return await _measure(database)


@asynccontextmanager
async def filled() -> AsyncIterator[Database]:
    """A durable PostgreSQL with 10,000 tenants that run odoo/17.0.3, and 17.0.4 registered."""
    server = temporary(durable=True)
    try:
        with server:
            migrate.upgrade(server.url())
            migrate.set_role_passwords(server.url(), None)
            urls = {role: server.url("seawall", f"sw_{role}") for role in ("platform", "tenant", "engine")}
            database = Database(owner=server.url(), **urls)
            _fill(database)
            yield database
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


async def _measure(database: Database) -> list[Row]:
    async with serving(Container(settings_for(database))) as api:
        client = await api.as_("release-manager")
        client.timeout = httpx.Timeout(120)
        previews = await _times(lambda: client.post("/v1/rollouts:preview", json=DEPLOY), 3)
        begun = time.perf_counter()
        started = await client.post("/v1/rollouts", json=DEPLOY)
        starts = [time.perf_counter() - begun]
        started.raise_for_status()
        _run(database.owner, _HALFWAY)
        await _take_up(api.container, uuid.UUID(started.json()["id"]))
        url = f"/v1/rollouts/{started.json()['id']}"
        status = await _times(lambda: client.get(url), READS)
        page = await _times(lambda: client.get(f"{url}/targets?limit=100"), READS)
        one = await _times(lambda: client.get(f"{url}/targets?tenant=t-{SIZE // 2}"), READS)
        owner = await api.as_("tenant-owner", tenants=[f"t-{SIZE // 2}"])
        owned = await _times(lambda: owner.get(f"/v1/tenants/t-{SIZE // 2}/status"), READS)
        of_fleet = await _times(lambda: client.get("/v1/timeline?since=PT6H&limit=100"), 100)
        of_tenant = await _times(lambda: client.get(f"/v1/timeline?since=PT6H&tenant=t-{SIZE // 2}"), 100)
        listed = await _times(lambda: client.get("/v1/rollouts"), READS)
    return [
        row("preview 10,000 targets", previews, scale=1e3, unit="ms", at_most=None, conditions=CONDITIONS),
        row("start 10,000 targets", starts, scale=1e3, unit="ms", at_most=None, conditions=CONDITIONS),
        _p99("status read, p99", status, 10.0),
        row("status read", status, scale=1e3, unit="ms", at_most=None, conditions=CONDITIONS),
        _p99("page of 100 targets, p99", page, None),
        _p99("one tenant's target, p99", one, None),
        _p99("a tenant owner's status read, p99", owned, 10.0),
        _p99("list of rollouts, p99", listed, None),
        _p99("page of 100 of the fleet's timeline (30,000 changes in 6 h, no metric source), p99", of_fleet, None),
        _p99("a tenant's timeline (30,000 changes in 6 h, no metric source), p99", of_tenant, None),
    ]


def _fill(database: Database) -> None:
    fleet = Fleet(database.owner)
    fleet.basics()
    fleet.release("17.0.3")
    fleet.release("17.0.4")
    fleet.tenants([f"t-{n}" for n in range(SIZE)])
    _run(database.owner, _INSTALL)


async def _take_up(container: Container, rollout: uuid.UUID) -> None:
    """As a driver does at first: from then on it keeps the counts that reads show."""
    lease = await PostgresLeases(container.database).take("rollout", rollout, "bench")
    assert lease is not None
    await PostgresEngineStore(container.database).load(lease)


def _run(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        for statement in statements.split(";"):
            db.execute(statement.encode())


async def _times(call: Callable[[], Awaitable[httpx.Response]], runs: int) -> list[float]:
    for _ in range(min(runs, 20)):
        (await call()).raise_for_status()
    taken = []
    for _ in range(runs):
        begun = time.perf_counter()
        (await call()).raise_for_status()
        taken.append(time.perf_counter() - begun)
    return taken


def _p99(name: str, taken: list[float], at_most: float | None) -> Row:
    value = statistics.quantiles(taken, n=100)[98] * 1e3
    spread = f"median {statistics.median(taken) * 1e3:.3g}, highest {max(taken) * 1e3:.3g} ({len(taken)} runs)"
    target = "" if at_most is None else f"<= {at_most:g} ms"
    return Row(name, round(value, 3), "ms", spread, target, None if at_most is None else value <= at_most, CONDITIONS)
