"""A release whose migration breaks one shop's books: probes count them before and after, and only that shop goes back.

Everything is real but the container runtime: kube-apiserver with walls and fence, a worker process, and one PostgreSQL database per shop.
The Jobs (the release's own migration, the probes) are run by a stand-in kubelet as processes: `psql`, and a client of a real HTTP server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import yaml
from aiohttp import web
from psycopg import sql

from controlplane.adapters.embedded.postgres import EmbeddedPostgres
from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.domain.probes import LEFT_SECONDS
from controlplane.services.onboarding import batch_onboard
from tests.cluster.kube import Kube
from tests.contract.fleets import fresh_name
from tests.plugins.operations import ndjson, spec
from tests.support.charts import DEPLOYMENT, IMAGE, chart
from tests.support.kubelet import BY_KUBELET, Kubelet, kubelet
from tests.support.processes import until

from .conftest import Field, standing_by

pytestmark = pytest.mark.kill

SECURE: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
BOOKS = """
create table stock_quant (location text primary key, quantity int not null);
create table sale_order (id int primary key);
insert into stock_quant values ('shelf', 100);
insert into sale_order select generate_series(1, 7);
"""
MIGRATION = "update stock_quant set quantity = quantity - 1 where location = 'transit'"
"""The release's mistake: what is on its way is booked out twice. Only shops with such stock notice."""
COUNT = "select json_build_object('stock_total', sum(quantity), 'lines', count(*)) from stock_quant"
ASK = (
    "import os, pathlib, urllib.request as u;"
    "pathlib.Path('/dev/termination-log').write_bytes(u.urlopen(os.environ['BOOKS'], timeout=5).read())"
)


def counted(name: str, command: Sequence[str], checks: Sequence[Mapping[str, str]], **secrets: str) -> dict[str, Any]:
    """An invariants gate whose probe is run by the stand-in kubelet, with keys of the shop's Secret in its environment."""
    probe = {
        "image": IMAGE,
        "command": list(command),
        "deadline": "PT20S",
        "annotations": BY_KUBELET,
        "secrets": {env: {"secret": "books", "key": key} for env, key in secrets.items()},
    }
    return {"invariants": {"name": name, "probe": probe, "checks": list(checks), "interval": "PT1S"}}


STOCK = counted(
    "stock",
    ["sh", "-c", f'psql -At -v ON_ERROR_STOP=1 -c "{COUNT}" > /dev/termination-log'],
    [{"result": "stock_total"}],
    PGHOST="PGHOST",
    PGPORT="PGPORT",
    PGUSER="PGUSER",
    PGDATABASE="PGDATABASE",
)
ORDERS = counted("orders", ["python", "-c", ASK], [{"result": "orders", "is": "not-lower"}], BOOKS="BOOKS")


def wave(name: str, cut: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "cut": cut, "soak": {"for": "PT2S", "samples": 1}, "beforeEach": [STOCK, ORDERS]}


COUNTED = {
    "waves": [wave("pilot", {"count": 1}), wave("rest", {"percent": "100%"})],
    "limits": {"inFlight": 3},
    "during": [STOCK, ORDERS],
}


def secured(manifest: str) -> str:
    """The same, as Pod Security `restricted` wants it."""
    line = f"          securityContext: {json.dumps(SECURE)}"
    return manifest.replace("          resources:", f"{line}\n          resources:", 1)


def migration() -> str:
    """The migration as a Job that Helm would run before an upgrade."""
    env = [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": "books", "key": key}}}
        for key in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE")
    ]
    container = {
        "name": "migrate",
        "image": IMAGE,
        "command": ["psql", "-v", "ON_ERROR_STOP=1", "-c", MIGRATION],
        "env": env,
        "securityContext": SECURE,
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "50m", "memory": "32Mi"}},
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "annotations": {"helm.sh/hook": "pre-upgrade"}},
        "spec": {"template": {"metadata": {"annotations": BY_KUBELET}, "spec": pod}},
    }
    return yaml.safe_dump(job)


@dataclass
class Books:
    """A database per shop, and an HTTP server that tells how many orders one has."""

    server: EmbeddedPostgres
    admin: Kube
    port: int

    def open(self, shop: str, *stock: str) -> None:
        """Make a shop's database; `stock` are statements besides."""
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as db:
            db.execute(sql.SQL("create database {}").format(sql.Identifier(shop)))
        for statement in (BOOKS, *stock):
            self.run(shop, statement)

    def run(self, shop: str, statement: str) -> None:
        with psycopg.connect(self.server.url(shop)) as db:
            db.execute(statement.encode())

    def close(self, shop: str) -> None:
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as db:
            db.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(shop)))

    def total(self, shop: str) -> int:
        with psycopg.connect(self.server.url(shop)) as db:
            row = db.execute("select sum(quantity) from stock_quant").fetchone()
        assert row is not None
        return int(row[0])

    def tell(self, shop: str, database: str = "") -> None:
        """Write the shop's Secret, as its owner does; `database` another one than its own."""
        where = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.server.port),
            "PGUSER": "postgres",
            "PGDATABASE": database or shop,
            "BOOKS": f"http://127.0.0.1:{self.port}/{shop}",
        }
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "books"}, "stringData": where}
        path = f"/api/v1/namespaces/{shop}/secrets"
        if not self.admin.create(path, body).is_success:
            assert self.admin.merge(f"{path}/books", {"stringData": where}).is_success


@pytest.fixture
async def books(postgres: EmbeddedPostgres, control_plane: LocalControlPlane) -> AsyncIterator[Books]:
    async def orders(request: web.Request) -> web.Response:
        async with await psycopg.AsyncConnection.connect(postgres.url(request.match_info["shop"])) as db:
            row = await (await db.execute("select count(*) from sale_order")).fetchone()
        return web.json_response({"orders": row[0] if row else None})

    app = web.Application()
    app.router.add_get("/{shop}", orders)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Books(postgres, Kube.from_kubeconfig(control_plane.kubeconfig), runner.addresses[0][1])
    await runner.cleanup()


@pytest.fixture
def shops(books: Books) -> Iterator[list[str]]:
    """A pilot, one whose books the migration breaks, and one that it does not touch; in the order of the plan."""
    names = [fresh_name(f"books{n}") for n in range(3)]
    with ExitStack() as stack:
        for name, stock in zip(names, ([], ["insert into stock_quant values ('transit', 5)"], []), strict=True):
            books.open(name, *stock)
            stack.callback(books.close, name)
        yield names


@pytest.fixture
async def runs_jobs(control_plane: LocalControlPlane) -> AsyncIterator[Kubelet]:
    async with kubelet(Kube.from_kubeconfig(control_plane.kubeconfig)) as made:
        yield made


async def onboarded(field: Field, books: Books, names: Sequence[str]) -> None:
    """Shops behind their walls that run 1.0; 2.0 brings the migration."""
    field.rows.config("apps", "odoo", {})
    field.rows.config("strategies", "counted", COUNTED)
    web_ = {"web.yaml": secured(DEPLOYMENT)}
    field.rows.release("1.0", chart(web_, base=False))
    async with field.transactions.platform() as uow:
        operation = await batch_onboard(
            uow, ndjson(*(spec(name, apps={"odoo": {"channel": "stable"}}) for name in names)), actor="mia"
        )
    await standing_by(field, "worker")

    def over() -> Any:
        return field.rows.ask("select state, problem from operations where id = %s and ended_at is not null", operation)

    assert (await until(over, 120, "onboarded"))[0][0] == "succeeded", field.rows.ask(
        "select problem from operation_items"
    )
    running = field.rows.ask("select tenant, verified_revision from tenant_apps order by tenant")
    assert running == [(name, 1) for name in sorted(names)]
    field.rows.release(
        "2.0",
        chart({**web_, "migrate.yaml": migration()}, base=False, values={"release": "2.0"}),
        database={"change": "reversible"},
    )
    for name in names:
        await asyncio.to_thread(books.tell, name)


async def test_a_broken_invariant_sends_its_tenant_back_alone_and_a_probe_that_can_not_count_holds(
    field: Field, books: Books, shops: list[str], runs_jobs: Kubelet
) -> None:
    pilot, broken, well = shops
    await onboarded(field, books, shops)
    await asyncio.to_thread(books.tell, pilot, "nowhere")
    rollout = await field.start("2.0", "counted")

    def unknown() -> str:
        rows = field.rows.ask(
            "select reason from target_gates where rollout_id = %s and tenant = %s and verdict = 'unknown'",
            rollout,
            pilot,
        )
        return str(rows[0][0]) if rows else ""

    assert "its Job failed" in await until(unknown, what="psql can't connect, so nobody knows")
    assert set(field.targets(rollout).values()) == {"pending"}
    await asyncio.to_thread(books.tell, pilot)
    assert await field.over(rollout) == ["failed"]
    assert field.targets(rollout) == {pilot: "verified", broken: "rolledBack", well: "verified"}
    assert [books.total(name) for name in shops] == [100, 104, 100]
    said = field.rows.ask(
        "select reason, evidence, wave, idx from gates where rollout_id = %s and verdict = 'fail'", rollout
    )
    assert said
    blamed = f"{broken}: stock_total was 105 and is 104, and must be equal"
    assert [row for row in said if not row[0].endswith(blamed)] == []
    assert said[0][1]["targets"][broken]["was"]["stock_total"] == 105.0
    orders = field.rows.ask(
        "select evidence -> 'target' -> 'numbers' from target_gates where rollout_id = %s and tenant = %s and idx = 1",
        rollout,
        well,
    )
    assert orders == [({"orders": 7.0},)]
    left = [books.admin.read(f"/apis/batch/v1/namespaces/{name}/jobs")["items"] for name in shops]
    probes = [job for jobs in left for job in jobs if job["metadata"]["name"].startswith("probe-")]
    # a probe that was under way when its target started is fenced from then on: the cluster removes it
    assert {job["spec"]["ttlSecondsAfterFinished"] for job in probes} <= {LEFT_SECONDS}
    assert field.rows.ask("select version from holds where lifted_at is null") == [("2.0",)]
    migrated = [namespace for namespace, job, code in runs_jobs.ran if job.startswith("migrate-") and code == 0]
    assert sorted(migrated) == sorted(shops)
    assert field.processes.errors() == []
