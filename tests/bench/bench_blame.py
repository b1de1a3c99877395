"""What a vote on blame costs the driver that asks for it: 100 ill tenants of 1,000, 30 rollouts of all of them within 72 hours."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime

import psycopg

from controlplane.adapters.icalendars import ICalendars
from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.bootstrap import Container
from controlplane.services.jury import Jury
from tests.bench.bench_reads import DEPLOY, filled
from tests.bench.rows import Row, row
from tests.plugins.api import serving, settings_for
from tests.plugins.database import Database

ROLLOUTS, TENANTS, ILL, READS = 30, 1000, 100, 20
TARGET_MS = 1000.0
CONDITIONS = (
    f"{ROLLOUTS} rollouts of {TENANTS} tenants within 72 hours, {6 * ROLLOUTS * TENANTS:,} lines of history, {ILL} tenants ill,"
    " real PostgreSQL"
)

_PAST = """
    insert into rollouts select (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid()::text))).*
        from rollouts r, generate_series(2, {rollouts});
    insert into history (subject_kind, subject_id, seq, type, tenant, data, at)
        select 'rollout', r.id::text, n * 6 + k, 'dev.seawall.rollout.' || (array['target-started','target-verified','gate-failed',
               'wave-started','wave-passed','target-caught-up'])[k + 1] || '.v1', 't-' || n, '{{}}',
               now() - r.place * interval '2 hours' - interval '1 minute'
        from (select id, row_number() over (order by id) as place from rollouts) r, generate_series(1, {tenants}) n, generate_series(0, 5) k;
    vacuum analyze
"""


async def measure() -> list[Row]:
    """Measure the time from the question to the answer."""
    async with filled() as database:
        return await _measure(database)


async def _measure(database: Database) -> list[Row]:
    async with serving(Container(settings_for(database))) as api:
        manager = await api.as_("release-manager")
        started = await manager.post("/v1/rollouts", json=DEPLOY, timeout=120)
        started.raise_for_status()
    with psycopg.connect(database.owner, autocommit=True) as db:
        for statement in _PAST.format(rollouts=ROLLOUTS, tenants=TENANTS).split(";"):
            db.execute(statement.encode())
        asker = db.execute("select id from rollouts order by id limit 1").fetchone()
    assert asker is not None
    transactions = Transactions(Urls(engine=database.engine))
    jury, taken = Jury(transactions, ICalendars()), []
    for _ in range(READS):
        begun = time.perf_counter()
        ill = dict.fromkeys((f"t-{n}" for n in range(1, ILL + 1)), datetime.now(UTC))
        await jury.weigh(uuid.UUID(str(asker[0])), ill)
        taken.append(time.perf_counter() - begun)
    await transactions.close()
    return [row("a vote on blame", taken, scale=1e3, unit="ms", at_most=TARGET_MS, conditions=CONDITIONS)]
