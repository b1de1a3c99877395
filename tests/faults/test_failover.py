"""PostgreSQL comes back on a new timeline: where it lost nothing, and from a backup that is older than what the clusters run."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from controlplane.adapters.embedded.postgres import EmbeddedPostgres, temporary
from controlplane.adapters.embedded.processes import Child
from controlplane.adapters.postgres import migrate
from tests.plugins.database import Database
from tests.support.charts import chart
from tests.support.processes import until

from .conftest import Field, driving, in_waves, simulated_field

pytestmark = pytest.mark.kill

EXTRA = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"


@pytest.fixture
def server() -> EmbeddedPostgres:
    """A durable server of the test's own."""
    return temporary(durable=True)


@pytest.fixture
async def own(server: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[Field]:
    """A simulated fleet over that server."""
    try:
        with server:
            migrate.upgrade(server.url())
            migrate.set_role_passwords(server.url(), None)
            urls = {role: server.url(user=f"sw_{role}") for role in ("platform", "tenant", "engine")}
            async with simulated_field(Database(owner=server.url(), **urls), tmp_path) as field:
                yield field
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


def start_as_promoted_standby(server: EmbeddedPostgres) -> None:
    """Start as a standby of nobody and promote: PostgreSQL begins a new timeline, as after a failover."""
    note = server.data / "standby.signal"
    note.touch()
    shutil.chown(note, server.data.owner(), server.data.group())
    server.start()
    with psycopg.connect(server.url(), autocommit=True) as db:
        db.execute("select pg_promote()")


def copy_data(source: Path, to: Path) -> None:
    """Copy a data folder with its owners."""
    shutil.copytree(source, to, symlinks=True)
    for path in (to, *to.rglob("*")):
        shutil.chown(path, source.owner(), source.group())


async def test_a_postgresql_that_crashed_and_failed_over_finds_every_rollout_where_it_was(
    own: Field, server: EmbeddedPostgres
) -> None:
    own.rows.config("strategies", "waves", in_waves(1, limit=1))
    own.rows.release("1.0")
    await own.tenants(6)
    rollout = await own.start("1.0", "waves")
    worker = await driving(own, "worker")
    await until(lambda: list(own.targets(rollout).values()).count("verified") >= 2, what="two are verified")
    server.kill()
    start_as_promoted_standby(server)
    assert await own.over(rollout) == ["succeeded"]
    assert worker.running()
    assert own.rows.ask("select max(epoch) >= 2::bigint << 40 from environments") == [(True,)]
    assert set(own.targets(rollout).values()) == {"verified"}
    assert own.rows.ask("select environments, differences from timelines where cluster <> ''") == [(6, 0)]
    own.check()


async def test_a_registry_restored_from_a_backup_reads_what_it_lost_from_the_world_and_goes_on_from_there(
    own: Field, server: EmbeddedPostgres
) -> None:
    own.rows.release("1.0")
    names = await own.tenants(3)
    worker = await driving_first(own)
    backup = server.folder / "backup"
    server.stop()
    copy_data(server.data, backup)
    server.start()
    own.rows.release("2.0", artifact=chart({"extra.yaml": EXTRA}))
    assert await own.over(await own.start("2.0")) == ["succeeded"]
    server.kill()
    shutil.rmtree(server.data)
    backup.rename(server.data)
    start_as_promoted_standby(server)
    found = "select tenant, kind, revision from timeline_differences order by tenant"
    await until(lambda: own.rows.ask(found), what="the differences are written")
    assert own.rows.ask(found) == [(name, "revision-unknown", 2) for name in sorted(names)]
    assert own.rows.ask("select distinct revision, verified_revision from tenant_apps") == [(2, 1)]
    told = "select count(*) from history where type = 'dev.seawall.tenant.registryDiffered.v1'"
    assert own.rows.ask(told) == [(3,)]
    own.rows.release("3.0")
    assert await own.over(await own.start("3.0")) == ["succeeded"]
    left = [one for name in names for one in await own.cluster.list_objects(name, [("v1", "ConfigMap")])]
    assert left == [], "what only the lost release had is pruned"
    assert worker.running()
    own.check()


async def driving_first(field: Field) -> Child:
    """A worker that has driven the first release to its end."""
    rollout = await field.start("1.0")
    worker = await driving(field, "worker")
    assert await field.over(rollout) == ["succeeded"]
    return worker
