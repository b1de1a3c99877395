"""Secrets are planted everywhere a person may put one, things go well and badly, and then every place that keeps words is searched."""

from __future__ import annotations

import base64
import functools
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import psycopg
import pytest

from controlplane.adapters.nats import NatsRole
from controlplane.services.keys import KeyWish, digest_of_secret, issue_key
from tests.plugins.bus import NatsFixture
from tests.support.collector import Collector, collecting
from tests.support.processes import tail, until

from .conftest import Field, standing_by
from .test_parts_away import on_bus, outbox

pytestmark = pytest.mark.kill

HOOK = "planted-webhook-secret-7f3a"
PASSWORD = "planted-database-password-91cc"
GRAFANA = "planted-grafana-token-3d1f"
BROKEN = "planted-broken-secret-52de"
SOURCE = "planted-source-secret-c04b"
TYPO = "sw_planted-mistyped-key-0000000000000000000000000"
GUESS = "planted-guessed-code-aa17"
SIGNATURE = "planted0container0signature0e6b2"


@dataclass
class Places:
    """Everything that keeps words, by name."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def dump(self, url: str) -> None:
        """Every table's rows, as COPY writes them."""
        with psycopg.connect(url) as db:
            tables = db.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
            for (table,) in tables:
                with db.cursor() as cursor, cursor.copy(f'copy "{table}" to stdout') as rows:
                    self.kept[f"table {table}"] = b"".join(bytes(row) for row in rows)

    def files(self, name: str, *folders: Path, pattern: str) -> None:
        """What lies in files."""
        for path in (path for folder in folders for path in sorted(folder.rglob(pattern)) if path.is_file()):
            self.kept[f"{name} {path.name}"] = self.kept.get(f"{name} {path.name}", b"") + path.read_bytes()

    def found(self, secrets: dict[str, str]) -> list[str]:
        """Which secret is where, in plain words or as base64."""
        spellings = {
            name: {text.encode(), base64.b64encode(text.encode()).rstrip(b"=")} for name, text in secrets.items()
        }
        return sorted(
            f"{name} in {place}"
            for place, kept in self.kept.items()
            for name, texts in spellings.items()
            if any(text in kept for text in texts)
        )


def with_password(url: str) -> str:
    """The same address with a password in it."""
    return url.replace("@", f":{PASSWORD}@", 1)


async def use(field_: Field, places: Places, url: str, first: str) -> str:
    """Calls that go well, and calls with wrong secrets; every answer is kept. Gives the secret of the key that was issued."""
    answers: list[bytes] = []

    async def keep(response: httpx.Response) -> None:
        if str(response.url).endswith("/v1/keys"):
            return  # the one answer that shows a key
        answers.append(await response.aread() + repr(response.headers.raw).encode())

    hooks = {"response": [keep]}
    headers = {"Authorization": f"Bearer {first}"}
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, event_hooks=hooks) as client:
        for name, env in (("dead", "SEAWALL_SECRET_HOOK"), ("broken", "SEAWALL_SECRET_BROKEN")):
            spec = {"url": "http://127.0.0.1:9/hook", "secrets": [{"env": env}], "types": ["*"], "filter": "true"}
            put = await client.put(f"/v1/webhooks/{name}", json=spec, headers=headers)
            assert put.status_code in (200, 201), put.text
        annotations = {
            "url": "http://127.0.0.1:9/api/annotations",
            "format": "grafana",
            "token": {"env": "SEAWALL_SECRET_GRAFANA"},
        }
        assert (await client.put("/v1/webhooks/grafana", json=annotations, headers=headers)).status_code == 201
        source = {"kind": "azure", "secrets": [{"env": "SEAWALL_SECRET_SOURCE"}]}
        assert (await client.put("/v1/sources/acr", json=source, headers=headers)).status_code in (200, 201)
        assert (await client.get("/v1/whoami", headers={"Authorization": f"Bearer {TYPO}"})).status_code == 401
        assert (await client.post(f"/v1/hooks/acr?code={GUESS}", json=[{}])).status_code == 401
        assert (await client.post(f"/v1/hooks/acr?code={SOURCE}", json=[{"broken": True}])).status_code < 500
        wish = {"name": "ci", "roles": ["auditor"], "expiresIn": "P1D"}
        made = await client.post("/v1/keys", json=wish, headers={**headers, "Idempotency-Key": "make-a-key"})
        assert made.status_code == 201, made.text
        again = await client.post("/v1/keys", json=wish, headers={**headers, "Idempotency-Key": "make-a-key"})
        assert "secret" not in again.json()
        secret = str(made.json()["secret"])
        assert (await client.get("/v1/audit", headers={"Authorization": f"Bearer {secret}"})).status_code == 200
        await ask_in_vain(field_, client, headers)
        body = {"release": "odoo/1.0", "strategy": "all"}
        started = await client.post("/v1/rollouts", json=body, headers={**headers, "Idempotency-Key": "go"})
        assert started.status_code == 202, started.text
        bad = {"release": "odoo/none", "strategy": "all"}
        await client.post("/v1/rollouts", json=bad, headers={**headers, "Idempotency-Key": "go-wrong"})
    assert await field_.over(started.json()["id"]) == ["succeeded"]
    places.kept["answers"] = b"\n".join(answers)
    return secret


async def ask_in_vain(field_: Field, client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Rollouts whose gate asks an endpoint that is away, and one whose secret is broken; called off in the end."""
    for name, env in (("away", "SEAWALL_SECRET_HOOK"), ("unsigned", "SEAWALL_SECRET_BROKEN")):
        spec = {"url": "http://127.0.0.1:9/ask", "secrets": [{"env": env}]}
        assert (await client.put(f"/v1/endpoints/{name}", json=spec, headers=headers)).status_code == 201
        waves = [{"name": "all", "cut": {"percent": "100%"}, "before": [{"webhook": {"use": name}}]}]
        assert (await client.put(f"/v1/strategies/{name}", json={"waves": waves}, headers=headers)).status_code == 201
        body = {"release": "odoo/1.0", "strategy": name}
        started = await client.post("/v1/rollouts", json=body, headers={**headers, "Idempotency-Key": name})
        rollout = started.json()["id"]
        await until(functools.partial(_in_vain, field_, rollout), what="the gate says that it could not ask")
        await client.get(f"/v1/rollouts/{rollout}/gates", headers=headers)
        call_off = {**headers, "Idempotency-Key": f"call-off-{name}"}
        await client.post(f"/v1/rollouts/{rollout}:abort", json={}, headers=call_off)
        assert await field_.over(rollout) == ["aborted"]


def _in_vain(field_: Field, rollout: str) -> bool:
    said = "select 1 from gates where rollout_id = %s and verdict = 'unknown' and reason like 'could not ask%%'"
    return field_.rows.ask(said, rollout) != []


async def test_no_planted_secret_is_found_where_it_does_not_belong(
    playground: Field, nats: NatsFixture, tmp_path: Path
) -> None:
    processes, database = playground.processes, playground.database
    playground.rows.release("1.0")
    await playground.tenants(2)
    places = Places()
    async with collecting() as collector:
        processes.extra |= environment(playground, collector)
        first = await first_key(playground)
        processes.relay(**on_bus(nats, NatsRole.RELAY))
        kept_outside = outside(tmp_path / "outside")
        await standing_by(
            playground, "worker", SEAWALL_LOG_FORMAT="console", **kept_outside, **on_bus(nats, NatsRole.WORK)
        )
        url = await processes.api()
        issued = await use(playground, places, url, first)
        await until(lambda: outbox(playground) == 0, what="the relay empties the outbox")
        tried = "select count(distinct webhook) from deliveries where attempts > 0 and last_error <> ''"
        await until(lambda: playground.rows.ask(tried)[0][0] == 3, what="each webhook was tried")
        await fail_to_start(playground, on_bus(nats, NatsRole.RELAY))
        for child in processes.children.values():
            child.kill(signal.SIGTERM)
        await until(lambda: not any(c.running() for c in processes.children.values()), what="all ended")
        places.kept["traces"] = b"".join(collector.bodies)
    places.dump(database.owner)
    places.files("log", processes.folder, pattern="*.log")
    places.files("break-glass", Path(kept_outside["SEAWALL_BREAKGLASS"]), pattern="*")
    places.files("stream", nats.server.store, pattern="*")
    seeds = {f"seed of {role.value}": path.read_text() for role, path in nats.seeds.items()}
    planted = {
        "hook": HOOK,
        "password": PASSWORD,
        "grafana": GRAFANA,
        "broken": BROKEN,
        "source": SOURCE,
        "typo": TYPO,
        "guess": GUESS,
        "signature": SIGNATURE,
    }
    assert places.found({**planted, **seeds, "key": first, "issued": issued}) == []
    # The search finds what is there: the issued key's hash where it belongs, the rollout's traces, streams and logs.
    assert digest_of_secret(issued).encode() in places.kept["table api_keys"]
    assert b"drive rollout" in places.kept["traces"]
    assert any(b"dev.seawall.rollout" in kept for name, kept in places.kept.items() if name.startswith("stream"))
    assert b"driving" in places.kept["log worker.log"]
    assert b"Task exception was never retrieved" not in places.kept["log worker.log"]
    assert b"can't be signed" in places.kept["log relay.log"]
    assert b"blobs-unavailable" in places.kept["log worker.log"]
    assert b"kubectl apply" in places.kept["break-glass README.txt"]


def outside(folder: Path) -> dict[str, str]:
    """Places for break-glass files: a folder, and a container that is away, with a signature in a file."""
    secrets = folder / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "sas").write_text(f"sv=2026-06-06&sr=c&sp=rwdl&se=2099-01-01T00%3A00%3A00Z&sig={SIGNATURE}")
    return {
        "SEAWALL_BREAKGLASS": str(folder / "kept"),
        "SEAWALL_BREAKGLASS_CONTAINER": "https://127.0.0.1:9/account/breakglass",
        "SEAWALL_BREAKGLASS_SAS": "sas",
        "SEAWALL_SECRETS": str(secrets),
    }


def environment(playground: Field, collector: Collector) -> dict[str, str]:
    """Secrets as a process is given them."""
    urls = {
        f"SEAWALL_DATABASE_URL_{role.upper()}": with_password(getattr(playground.database, role))
        for role in ("platform", "tenant", "engine")
    }
    return {
        **urls,
        "SEAWALL_OTLP_ENDPOINT": collector.url,
        "SEAWALL_SECRET_HOOK": "whsec_" + base64.b64encode(HOOK.encode()).decode(),
        "SEAWALL_SECRET_BROKEN": f"whsec_{BROKEN}XX",  # no base64: nothing of this length is
        "SEAWALL_SECRET_SOURCE": SOURCE,
        "SEAWALL_SECRET_GRAFANA": GRAFANA,
    }


async def first_key(playground: Field) -> str:
    """An administrator's key."""
    wish = KeyWish("test", frozenset({"platform-admin"}), frozenset(), frozenset(), timedelta(days=1))
    async with playground.transactions.platform() as uow:
        return (await issue_key(uow, wish, actor="tests"))[1]


async def fail_to_start(playground: Field, bus: dict[str, str]) -> None:
    """Processes whose database is away, refuses them, or has an address that can't be read; their words land in logs."""
    away = f"postgresql://sw_engine:{PASSWORD}@127.0.0.1:9/seawall"
    odd = f"postgresql://sw_engine:{PASSWORD}@127.0.0.1:port/seawall"
    none = with_password(playground.database.engine).rpartition("/")[0] + "/nowhere"
    ends, tries = [], []
    for number, url in enumerate((away, odd, none)):
        owner = {"SEAWALL_DATABASE_URL": url, "SEAWALL_DATABASE_URL_ENGINE": url}
        ends.append(playground.processes.start(f"migrate-{number}", "migrate", owner))
        tries.append(playground.processes.start(f"worker-{number}", "work", owner))
        tries.append(playground.processes.start(f"relay-{number}", "relay", {**bus, **owner}))
    await until(lambda: not any(child.running() for child in ends), what="no migration begins")
    assert all(child.process.returncode != 0 for child in ends)

    def complained() -> bool:
        return all(not child.running() or "again" in tail(child) for child in tries)

    await until(complained, what="workers and relays say that they can't go on")
