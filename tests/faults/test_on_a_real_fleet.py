"""PostgreSQL and NATS killed, and a worker of an older version replaced, in the middle of rollouts on a real kube-apiserver."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.adapters.embedded.postgres import EmbeddedPostgres, temporary
from controlplane.adapters.kubernetes.cluster import KubernetesCluster
from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.adapters.nats import NatsRole
from controlplane.adapters.postgres import migrate
from tests.plugins.bus import NatsFixture
from tests.plugins.database import Database
from tests.support.processes import Processes, until

from .conftest import Field, clusters_file, driving, field_of, in_waves
from .test_parts_away import on_bus, outbox

pytestmark = pytest.mark.kill


@pytest.fixture
def server() -> EmbeddedPostgres:
    """A durable server of the test's own, so that it may be killed."""
    return temporary(durable=True)


@pytest.fixture
async def own(
    server: EmbeddedPostgres, kubernetes: KubernetesCluster, control_plane: LocalControlPlane, tmp_path: Path
) -> AsyncIterator[Field]:
    """The local control plane over that server."""
    try:
        with server:
            migrate.upgrade(server.url())
            migrate.set_role_passwords(server.url(), None)
            urls = {role: server.url(user=f"sw_{role}") for role in ("platform", "tenant", "engine")}
            access = {"kind": "kubernetes", "kubeconfig": str(control_plane.kubeconfig)}
            database = Database(owner=server.url(), **urls)
            processes = Processes(tmp_path, database, clusters_file(tmp_path, access))
            made = field_of(database, kubernetes, processes, [control_plane.audit_log])
            yield made
            processes.stop()
            await made.transactions.close()
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


def verified(field: Field, rollout: object) -> int:
    found = field.rows.ask("select count(*) from targets where rollout_id = %s and state = 'verified'", rollout)
    return int(found[0][0])


async def test_postgresql_stopped_at_once_and_a_wiped_jetstream_lose_nothing_of_a_running_rollout(
    own: Field, server: EmbeddedPostgres, nats: NatsFixture
) -> None:
    own.rows.config("strategies", "one-by-one", in_waves(1, limit=1))
    own.rows.release("1.0")
    names = await own.tenants(6)
    own.processes.relay(**on_bus(nats, NatsRole.RELAY))
    worker = own.processes.worker("worker", **on_bus(nats, NatsRole.WORK))
    rollout = await own.start("1.0", "one-by-one")
    await until(lambda: verified(own, rollout) >= 1, what="one is verified")
    server.kill()
    server.start()
    await until(lambda: verified(own, rollout) >= 3, what="it goes on after PostgreSQL recovered")
    nats.server.kill()
    nats.server.wipe()
    nats.server.start()
    assert await own.over(rollout) == ["succeeded"]
    assert own.targets(rollout) == dict.fromkeys(sorted(names), "verified")
    await until(lambda: outbox(own) == 0, what="the relay makes its streams again and empties the outbox")
    assert worker.running()
    own.check()


async def test_a_newer_worker_takes_over_in_the_middle_what_an_older_one_began_and_the_older_one_leaves_newer_plans(
    field: Field,
) -> None:
    field.rows.config("strategies", "one-by-one", in_waves(1, limit=1))
    field.rows.release("1.0")
    field.rows.release("2.0")
    await field.tenants(5)
    older = await field.start("1.0", "one-by-one")
    field.rows.run("update rollouts set schema_version = 0 where id = %s", older)
    before = await driving(field, "before", fault="effect:before:9", SEAWALL_PLAN_SCHEMA="0")
    newer = await field.start("2.0", "one-by-one")
    await field.processes.ended(before)
    assert 1 <= verified(field, older) < 5, "the older worker died in the middle of it"
    assert field.state(newer) == "planned", "it is newer than what that worker understands"
    field.processes.worker("after")
    assert await field.over(older, newer) == ["succeeded", "succeeded"]
    drove = {(claim.worker, claim.rollout) for claim in field.processes.claims()}
    assert drove >= {("before", str(older)), ("after", str(older)), ("after", str(newer))}
    assert ("before", str(newer)) not in drove
    field.check()
