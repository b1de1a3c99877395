"""Many dispatchers, takeovers, ways back, lowered caps, freezes: no cap is ever exceeded. The large form is `bench_ledger`."""

from __future__ import annotations

from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from tests.plugins.database import Database
from tests.support.dispatchers import TIMEOUTS, play, sweep
from tests.support.registry import Fleet

DISPATCHERS, TENANTS, ROUNDS = 8, 60, 4


async def test_an_independent_sweep_over_2000_dispatches_of_8_dispatchers_finds_no_cap_exceeded(
    database: Database,
) -> None:
    urls = Urls(platform=database.platform, engine=database.engine)
    transactions = Transactions(urls, pool_size=DISPATCHERS + 2, timeouts=TIMEOUTS)
    rows = Fleet(database.owner)
    tally = await play(transactions, rows, dispatchers=DISPATCHERS, tenants_each=TENANTS, rounds=ROUNDS, every=0.1)
    await transactions.close()
    violations, kinds = sweep(database.owner)
    assert violations == ()
    assert tally.dispatched >= 2000
    assert tally.takeovers > 0
    assert tally.zombies_stopped == tally.takeovers
    assert tally.cap_changes > 1
    assert tally.ends["rolledBack"] > 0
    assert kinds.keys() >= {
        "fleet inFlight",
        "fleet unverified",
        "fleet exposure",
        "fleet moneyAtRisk",
        "cluster inFlight",
        "cluster rollback",
        "region inFlight",
        "pair inFlight",
        "brand inFlight",
        "rollout inFlight",
        "rollout exposure",
        "rollout moneyAtRisk",
        "rollout cluster inFlight",
    }
