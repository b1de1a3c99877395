"""No cap exceeded: 64 dispatchers at once and 100,000 dispatches on real PostgreSQL (fsync on), then an independent sweep.

Takeovers (a process dies inside or between two transactions), ways back, caps lowered below what is out, freezes.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from controlplane.adapters.embedded.postgres import EmbeddedPostgres
from controlplane.adapters.postgres import migrate
from controlplane.adapters.postgres.database import Database, Urls
from tests.bench.rows import Row
from tests.support.dispatchers import TIMEOUTS, Tally, play, sweep
from tests.support.registry import Fleet

DISPATCHERS, TENANTS, ROUNDS = 64, 300, 5
"""96,000 ways forward; from the second round on about an eighth goes back besides, which makes more than 100,000 dispatches."""
ROOM = 6
"""Times the limits that a rollout of the test suite has: about twenty targets a transaction."""
SCALE = 32
"""Times the fleet's caps of the test suite: low ones hold everybody up, high ones hardly anybody."""
PATIENCE = 2.0
"""Seconds after which who started nobody asks again: 64 dispatchers in one process would spend it on asking otherwise."""


async def measure() -> list[Row]:
    """Play, sweep, and say what was found."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-bench-"))
    try:
        with EmbeddedPostgres(folder) as postgres:
            migrate.upgrade(postgres.url())
            migrate.set_role_passwords(postgres.url(), None)
            urls = Urls(platform=postgres.url(user="sw_platform"), engine=postgres.url(user="sw_engine"))
            database = Database(urls, pool_size=DISPATCHERS + 4, timeouts=TIMEOUTS)
            began = time.monotonic()
            tally = await play(
                database,
                Fleet(postgres.url()),
                dispatchers=DISPATCHERS,
                tenants_each=TENANTS,
                rounds=ROUNDS,
                every=1.0,
                patience=PATIENCE,
                room=ROOM,
                scale=SCALE,
            )
            seconds = time.monotonic() - began
            await database.close()
            violations, kinds = sweep(postgres.url())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for violation in violations[:20]:
        print(violation)  # noqa: T201 -- the figure alone would not say which
    return _rows(tally, len(violations), sum(kinds.values()), len(kinds), seconds)


def _rows(tally: Tally, violations: int, takes: int, kinds: int, seconds: float) -> list[Row]:
    what = (
        f"{DISPATCHERS} dispatchers, {tally.dispatched} dispatches, {tally.takeovers} takeovers "
        f"({tally.zombies_stopped} late commits refused), {tally.ends['rolledBack']} rolled back, "
        f"{tally.cap_changes} changes of all caps, {tally.freezes} freezes; {takes} takes over {kinds} kinds of budget swept"
    )
    enough = tally.dispatched >= 100_000 and tally.zombies_stopped == tally.takeovers
    return [
        Row("caps exceeded", violations, "times", "1 run", "<= 0 times", violations == 0 and enough, what),
        Row("dispatches under contention", round(tally.dispatched / seconds, 1), "/s", "1 run", "", None, what),
    ]
