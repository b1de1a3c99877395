"""What every path of the API keeps, asked of each one of its description: it exists, reads carry an ETag, lists page, roles hold."""

from __future__ import annotations

import re
import uuid
from typing import Any

import orjson
import pytest

from controlplane.api.export import openapi_bytes
from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.plugins.operations import Works, ndjson, spec
from tests.support.registry import Fleet

PATHS: dict[str, dict[str, Any]] = orjson.loads(openapi_bytes())["paths"]
PROMISED = """
POST GET /v1/tenants
POST /v1/tenants:batchOnboard
GET PATCH DELETE /v1/tenants/{}
POST /v1/tenants/{}:suspend
POST /v1/tenants/{}:resume
POST /v1/tenants/{}:export
POST /v1/tenants/{}:defer
POST /v1/tenants/{}:rollback
GET /v1/tenants/{}/status
GET /v1/tenants/{}/schedule
GET /v1/tenants/{}/history
GET /v1/tenants/{}/quota
GET PATCH /v1/tenants/{}/environments/{}/apps/{}/values
POST GET /v1/releases
GET /v1/releases/{}/{}
POST /v1/releases/{}/{}:lift
PUT GET /v1/artifacts/{}
POST /v1/rollouts:preview
POST GET /v1/rollouts
GET /v1/rollouts/{}
GET /v1/rollouts/{}/plan
GET /v1/rollouts/{}/waves
GET /v1/rollouts/{}/targets
GET POST /v1/rollouts/{}/approvals
GET /v1/rollouts/{}/events
POST /v1/rollouts/{}:pause
POST /v1/rollouts/{}:resume
POST /v1/rollouts/{}:abort
POST /v1/rollouts/{}:retry
POST /v1/events
POST /v1/hooks/{}
GET /v1/events/{}
POST GET /v1/freezes
DELETE /v1/freezes/{}
GET /v1/changes
GET /v1/holds
GET /v1/audit
GET /v1/operations/{}
GET /v1/dead-letters
POST /v1/dead-letters:redrive
GET /v1/whoami
POST GET /v1/keys
DELETE /v1/keys/{}
GET /livez
GET /readyz
GET /metrics
"""
KINDS = ("apps", "tiers", "clusters", "calendars", "strategies", "triggers", "rules")


def described() -> set[tuple[str, str]]:
    return {(method.upper(), re.sub(r"\{[^}]*\}", "{}", path)) for path, item in PATHS.items() for method in item}


def test_every_promised_path_is_there() -> None:
    promised = {(method, line.split()[-1]) for line in PROMISED.strip().splitlines() for method in line.split()[:-1]}
    promised |= {(method, f"/v1/{kind}/{{}}") for kind in KINDS for method in ("PUT", "GET", "DELETE")}
    assert promised - described() == set()


def lists() -> list[str]:
    """Paths that give a page of something and name nothing. A timeline is no list: it ends now, so it is never the same twice."""
    return [
        path
        for path, item in PATHS.items()
        if path != "/v1/timeline"
        and "{" not in path
        and {"limit", "cursor"} <= {p["name"] for p in item.get("get", {}).get("parameters", ())}
    ]


async def test_every_list_is_a_page_with_an_etag_that_refuses_what_it_does_not_know(api: Api, fleet: Fleet) -> None:
    admin = await api.as_("platform-admin")
    assert len(lists()) >= 18
    for path in lists():
        answer = await admin.get(path, params={"limit": 1})
        body = answer.json()
        assert (answer.status_code, set(body) - {"next"}) == (200, {"items"}), (path, body)
        assert len(body["items"]) <= 1
        assert "next" not in body or body["next"].startswith(f"{api.url}{path}?"), path
        again = await admin.get(path, params={"limit": 1}, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304, path
        assert pointers(problem(await admin.get(f"{path}?colour=red"), 422, "invalid")) == ["query/colour"], path
        problem(await admin.get(f"{path}?limit=501"), 422, "invalid")
        problem(await admin.get(f"{path}?cursor=nope"), 422, "invalid-cursor")


@pytest.mark.parametrize("role", ["auditor", "approver:nobody", "ci"])
async def test_who_may_only_look_changes_nothing_on_any_path(api: Api, fleet: Fleet, role: str) -> None:
    client = await api.as_(role, apps=["other-app"] if role == "ci" else [])
    before = _everything(fleet)
    for path, item in PATHS.items():
        if (role, path) == ("auditor", "/v1/tenants/{tenant}:export"):  # an auditor takes copies
            continue
        for method in set(item) & {"post", "put", "patch", "delete"}:
            answer = await client.request(
                method,
                _address(path),
                json={"reason": "x"},
                headers={"if-match": "*", "idempotency-key": str(uuid.uuid4())},
            )
            assert 400 <= answer.status_code < 500, (method, path, answer.status_code)
    assert _everything(fleet) == before


def _address(path: str) -> str:
    known = {"tenant": "acme-fr", "environment": "production", "app": "odoo", "version": "17.0.4", "name": "standard"}

    def value(match: re.Match[str]) -> str:
        name = match[1]
        digest = f"sha256:{'0' * 64}"
        return known.get(name, digest if name == "digest" else str(uuid.UUID(int=1)) if name.endswith("id") else "x")

    return re.sub(r"\{([^}]+)\}", value, path)


def _everything(fleet: Fleet) -> dict[str, int]:
    """How many rows each table has, and what tenants and configuration say."""
    tables = [row[0] for row in fleet.ask("select tablename from pg_tables where schemaname = 'public' order by 1")]
    counts = {table: fleet.ask(f"select count(*) from {table}")[0][0] for table in tables if table != "api_keys"}
    states = fleet.ask("select md5(string_agg(t::text, '' order by tenant)) from tenants t")[0][0]
    return {**counts, "states": states}


async def test_a_batch_of_a_thousand_is_one_operation_with_a_thousand_results(works: Works, api: Api) -> None:
    admin = await api.as_("platform-admin")
    lines = ndjson(*(spec(f"shop-{n:04}") for n in range(1000)))
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await admin.post("/v1/tenants:batchOnboard", content=lines, headers=headers, timeout=60)
    assert answer.status_code == 202, answer.text
    operation = (await admin.get(answer.headers["operation-location"])).json()
    assert operation["items"] == {"pending": 1000}
    seen: list[int] = []
    url: str | None = f"{operation['itemsUrl']}?limit=500"
    while url:
        found = (await admin.get(url)).json()
        seen += [item["line"] for item in found["items"]]
        url = found.get("next")
    assert seen == list(range(1, 1001))
    assert works.fleet.ask("select count(*) from tenants where phase = 'onboarding'") == [(1000,)]
    many = b"\n".join([b"{}"] * 5001)
    problem(
        await admin.post("/v1/tenants:batchOnboard", content=many, headers=headers, timeout=60), 422, "batch-too-large"
    )
