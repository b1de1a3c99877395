"""What machines ask, and what surrounds every answer."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import structlog
from fastapi import FastAPI
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controlplane.adapters.embedded.nats import EmbeddedNats
from controlplane.adapters.postgres import migrate
from controlplane.adapters.telemetry import set_up_tracing
from controlplane.api.problems import Problem
from controlplane.bootstrap import Container
from controlplane.settings import Settings
from tests.api.problems import problem
from tests.plugins.api import Api, serving, settings_for
from tests.plugins.database import Database

TRACE = "0af7651916cd43dd8448eb211c80319c"


def part(answer: httpx.Response, name: str) -> str:
    return str({p["name"]: p["state"] for p in answer.json()["parts"]}[name])


async def test_livez_answers_anybody(api: Api) -> None:
    answer = await api.client().get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readyz_knows_its_parts(api: Api) -> None:
    answer = await api.client().get("/readyz")
    assert answer.status_code == 200
    assert [part(answer, name) for name in ("postgresql", "schema", "synchronous-standby")] == [
        "ok",
        "ok",
        "notRequired",
    ]


async def test_a_schema_behind_this_version_is_not_ready_and_a_newer_one_is(api: Api, database: Database) -> None:
    with psycopg.connect(database.owner) as connection:
        (really,) = connection.execute("select version_num from alembic_version").fetchone() or ("",)
        connection.execute("update alembic_version set version_num = '20261123_pre_registry'")
    try:
        answer = await api.client().get("/readyz")
        assert (answer.status_code, part(answer, "schema")) == (503, "wrong")
        with psycopg.connect(database.owner) as connection:
            connection.execute("update alembic_version set version_num = '20991231_post_future'")
        assert (await api.client().get("/readyz")).status_code == 200
    finally:  # emptying a database for the next test leaves its version
        with psycopg.connect(database.owner) as connection:
            connection.execute("update alembic_version set version_num = %s", (really,))


async def test_where_a_synchronous_standby_is_required_its_absence_is_not_ready(database: Database) -> None:
    settings = settings_for(database).model_copy(update={"require_synchronous_standby": True})
    async with serving(Container(settings)) as api:
        answer = await api.client().get("/readyz")
    assert (answer.status_code, part(answer, "synchronous-standby")) == (503, "away")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_a_database_that_is_away_is_a_503_problem_with_retry_after_and_soon() -> None:
    url = f"postgresql://sw_platform@127.0.0.1:{free_port()}/seawall"
    async with serving(Container(Settings(database_url_platform=url))) as api:
        answer = await api.client("sw_key").get("/v1/whoami", timeout=5)
        problem(answer, 503, "database-unavailable")
        assert int(answer.headers["retry-after"]) > 0
        ready = await api.client().get("/readyz", timeout=5)
        assert (ready.status_code, part(ready, "postgresql")) == (503, "away")
        assert (await api.client().get("/livez")).status_code == 200


async def test_a_database_that_accepts_and_never_answers_is_a_503_within_five_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"postgresql://sw_platform@127.0.0.1:{listener.getsockname()[1]}/seawall"
        async with serving(Container(Settings(database_url_platform=url))) as api:
            problem(await api.client("sw_key").get("/v1/whoami", timeout=5), 503, "database-unavailable")


async def test_nats_away_is_shown_but_the_api_stays_ready(database: Database, tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path) as nats:
        settings = settings_for(database).model_copy(update={"nats_url": nats.url})
        async with serving(Container(settings)) as api:
            assert part(await api.client().get("/readyz"), "nats") == "ok"
            nats.kill()
            answer = await api.client().get("/readyz")
            assert (answer.status_code, part(answer, "nats")) == (200, "away")


async def test_a_draining_process_is_not_ready(api: Api) -> None:
    api.container.draining.set()
    assert (await api.client().get("/readyz")).status_code == 503


async def test_metrics_have_route_templates_and_no_names(api: Api) -> None:
    admin = await api.as_("platform-admin")
    await admin.get("/v1/clusters/a-name-of-somebody")
    await admin.get("/v1/a-path-of-somebody")
    text = (await api.client().get("/metrics")).text
    assert re.search(r'seawall_http_requests_total\{method="GET",route="/v1/clusters/\{name\}",status="4xx"\}', text)
    assert 'route="other"' in text
    assert "of-somebody" not in text


async def test_every_answer_has_security_headers_and_a_request_id(api: Api) -> None:
    for path in ("/livez", "/v1/nothing", "/v1/whoami"):
        headers = (await api.client().get(path, headers={"x-request-id": "mine-1"})).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-request-id"] == "mine-1"
        assert "server" not in headers
    strange = await api.client().get("/livez", headers={"x-request-id": "<script>"})
    assert re.fullmatch(r"[0-9a-f-]{36}", strange.headers["x-request-id"])


async def test_the_fleet_is_named_on_every_answer(database: Database) -> None:
    settings = settings_for(database).model_copy(update={"fleet_name": "SIMULATED"})
    async with serving(Container(settings)) as api:
        assert (await api.client().get("/v1/nothing")).headers["seawall-fleet"] == "SIMULATED"
        assert (await api.client().get("/readyz")).json()["fleet"] == "SIMULATED"


async def test_the_caller_s_trace_reaches_problems_and_audit_rows(api: Api, database: Database) -> None:
    admin = await api.as_("platform-admin")
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    assert problem(await admin.get("/v1/clusters/none", headers=headers), 404, "not-found")["traceId"] == TRACE
    await admin.put("/v1/clusters/c", json={}, headers=headers)
    with psycopg.connect(database.owner) as connection:
        row = connection.execute("select trace_id from audit where action = 'clusters.put'").fetchone()
    assert row == (TRACE,)


@pytest.fixture
def lines() -> Iterator[list[dict[str, object]]]:
    """What is logged during the test."""
    with structlog.testing.capture_logs() as captured:
        yield captured  # type: ignore[misc]  # structlog calls its dictionaries EventDict


async def test_the_access_log_says_who_and_what_but_no_secret(api: Api, lines: list[dict[str, object]]) -> None:
    secret = await api.key("auditor")
    await api.client(secret).get("/v1/audit?actor=hidden-query")
    line = next(entry for entry in lines if entry.get("path") == "/v1/audit")
    assert (line["route"], line["status"]) == ("/v1/audit", 200)
    assert str(line["principal"]).startswith("key:")
    assert secret not in json.dumps(lines, default=str)
    assert "hidden-query" not in json.dumps(lines, default=str)


async def test_a_bug_of_ours_is_a_500_problem_without_traceback_and_logged_with_one(
    api: Api, lines: list[dict[str, object]]
) -> None:
    app: FastAPI = api.app

    async def broken() -> None:
        raise RuntimeError("a secret detail")

    app.add_api_route("/v1/broken", broken)
    body = problem(await api.client().get("/v1/broken"), 500, "internal")
    assert "secret detail" not in json.dumps(body)
    assert len(str(body["traceId"])) == 32
    assert any("exc_info" in entry for entry in lines)


async def test_problems_are_what_their_schema_says(api: Api) -> None:
    body = problem(await api.client().get("/v1/whoami"), 401, "unauthenticated")
    assert Problem.model_validate(body).instance == "/v1/whoami"


def test_the_readiness_check_knows_every_migration(database: Database) -> None:
    migrate.upgrade(database.owner)
    with psycopg.connect(database.owner) as connection:
        row = connection.execute("select count(*) from alembic_version").fetchone()
    assert row == (1,)


async def test_a_secret_in_a_hook_s_address_reaches_neither_traces_nor_logs(
    api: Api, lines: list[dict[str, object]]
) -> None:
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    set_up_tracing("seawall-tests").add_span_processor(processor)
    await api.client().post("/v1/hooks/none?code=planted-secret", content=b"{}")
    key = await api.key("auditor")
    await api.client(key).get("/v1/whoami")
    spans = [span.to_json() for span in exporter.get_finished_spans()]
    processor.shutdown()
    assert any("/v1/whoami" in span for span in spans)
    for text in (*spans, json.dumps(lines, default=str)):
        assert "planted-secret" not in text
        assert key not in text
