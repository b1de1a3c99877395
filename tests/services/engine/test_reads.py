"""What a driver reads of the registry: rows of the tenants that move, not of all that a rollout or an app has."""

from __future__ import annotations

from tests.contract.fleets import until_read

from .conftest import Stage

TENANTS = 150
_READ = """
    select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) from pg_stat_user_tables
    where relname in ('targets', 'revisions', 'environments', 'tenant_apps')
"""
_WRITTEN = "select coalesce(sum(n_tup_upd), 0) from pg_stat_user_tables where relname = 'targets'"


async def test_a_tenant_costs_the_same_few_reads_however_many_others_the_rollout_has(stage: Stage) -> None:
    """Ten at a time, so that reading everything in each of the many transactions would show; tables have no statistics here."""
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
    before, written = (int(stage.rows.ask(what)[0][0]) for what in (_READ, _WRITTEN))
    rollout = await stage.start("1.0", "narrow")
    assert await stage.over(rollout, 120) == "succeeded"
    await stage.transactions.close()  # sessions tell what they read when they end

    async def told() -> int:
        return int(stage.rows.ask(_READ)[0][0]) if int(stage.rows.ask(_WRITTEN)[0][0]) >= written + TENANTS * 3 else 0

    read = (await until_read(told, 30)) - before
    assert read / TENANTS < 60
