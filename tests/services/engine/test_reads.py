"""What a driver reads of the registry: rows of the tenants that move, not of all that a rollout or an app has."""

from __future__ import annotations

import asyncio

from .conftest import Stage

TENANTS = 150
_READ = """
    select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables
    where relname in ('targets', 'revisions', 'environments', 'tenant_apps')
"""
_END = """
    select pg_terminate_backend(pid, 10000) from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""


async def rows_read(stage: Stage) -> int:
    """Rows of four tables that were read so far. Sessions tell when they end, so all of them do."""
    await stage.transactions.close()
    assert all(ended for (ended,) in stage.rows.ask(_END))
    return int(stage.rows.ask(_READ)[0][0])


async def test_a_tenant_costs_the_same_few_reads_however_many_others_the_rollout_has(stage: Stage) -> None:
    """Ten at a time, so that reading everything in each of the many transactions would show."""
    await stage.runners[0].drain()
    stage.rows.config(
        "strategies",
        "narrow",
        {
            "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}],
            "limits": {"inFlight": 10},
        },
    )
    await stage.tenants([f"t{number:03}" for number in range(TENANTS)])
    stage.rows.release("1.0")
    rollout = await stage.start("1.0", "narrow")
    stage.rows.run(
        "analyze"
    )  # or else a run of all tests leaves statistics of empty tables, by which any index is as good as another
    before = await rows_read(stage)
    sweep = asyncio.create_task(stage.worker("two").sweep_forever())
    assert await stage.over(rollout, 120) == "succeeded"
    await stage.runners[-1].drain()
    await sweep
    assert (await rows_read(stage) - before) / TENANTS < 60
