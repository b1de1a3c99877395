"""What `serve`, `work`, `relay` and `migrate` say when they can't start: each fault by its variable, no value, no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from controlplane.adapters.postgres.migrate import _LOCK
from controlplane.cli.failures import UsageError
from controlplane.cli.processes import settings_with
from tests.cli.conftest import Cli
from tests.plugins.database import Database
from tests.support.processes import until

NOWHERE = "postgresql://owner:hunter2@127.0.0.1:9/seawall"


@pytest.mark.parametrize(
    ("needed", "environ", "says"),
    [
        (["database_url_platform"], {}, "needs SEAWALL_DATABASE_URL_PLATFORM in"),
        (["database_url_engine", "nats_url"], {}, "needs SEAWALL_DATABASE_URL_ENGINE and SEAWALL_NATS_URL in"),
        ([], {"LEASE_SECONDS": "soon"}, "SEAWALL_LEASE_SECONDS input should be a valid number"),
        ([], {"LISTEN": "everywhere"}, "SEAWALL_LISTEN must be host:port"),
        ([], {"METRICS_LISTEN": "127.0.0.1:99999"}, "SEAWALL_METRICS_LISTEN must be host:port"),
        ([], {"DATABASE_URL": "hunter2"}, "SEAWALL_DATABASE_URL must be an address such as postgresql://"),
        ([], {"AUDIT_RETENTION": "P400D"}, "SEAWALL_AUDIT_RETENTION needs SEAWALL_AUDIT_ANCHORS"),
    ],
)
def test_what_is_missing_or_wrong_in_the_environment_is_named(
    needed: list[str], environ: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("SEAWALL_")]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(f"SEAWALL_{name}", value)
    with pytest.raises(UsageError) as refused:
        settings_with(*needed)
    assert says in refused.value.message
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("command", ["serve", "work", "relay", "migrate"])
async def test_a_process_that_misses_something_ends_with_2_and_no_traceback(cli: Cli, command: str) -> None:
    result = await cli(command)
    assert (result.code, result.out) == (2, "")
    assert "This process needs SEAWALL_DATABASE_URL" in result.err
    assert "Traceback" not in result.err


async def test_a_database_that_is_not_there_ends_a_migration_with_1(cli: Cli) -> None:
    result = await cli("migrate", SEAWALL_DATABASE_URL=NOWHERE)
    assert result.code == 1
    assert "PostgreSQL can't be reached" in result.err
    assert "code database-unavailable" in result.err
    assert "Traceback" not in result.err
    assert "hunter2" not in result.err


async def test_a_worker_for_a_cluster_that_is_not_in_the_file_is_refused_with_those_that_are(
    cli: Cli, tmp_path: Path
) -> None:
    clusters = tmp_path / "clusters.yaml"
    clusters.write_text("aks-1: {kind: simulated, address: 'unix:/nowhere'}\n")
    environ = {"SEAWALL_CLUSTERS": str(clusters), "SEAWALL_DATABASE_URL_ENGINE": NOWHERE}
    result = await cli("work", "--clusters", "aks-1, aks-l", **environ)
    assert result.code == 1
    assert "no cluster aks-l; it names: aks-1" in result.err


async def test_of_two_migrations_at_once_the_second_waits_for_the_first(cli: Cli, database: Database) -> None:
    import asyncio

    def waits() -> bool:
        query = "select exists (select 1 from pg_stat_activity where query like '%pg_advisory_lock%' and wait_event_type = 'Lock')"
        with psycopg.connect(database.owner) as looking:
            return bool(looking.execute(query).fetchone() == (True,))

    with psycopg.connect(database.owner, autocommit=True) as first:
        first.execute("select pg_advisory_lock(%s)", (_LOCK,))
        second = asyncio.create_task(cli("migrate", SEAWALL_DATABASE_URL=database.owner))
        await until(waits, what="the second migration waits")
        assert not second.done()
        first.execute("select pg_advisory_unlock(%s)", (_LOCK,))
        result = await second
    assert (result.code, result.err) == (0, "The database has this version's schema.\n")
