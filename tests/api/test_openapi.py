"""The committed description is what the code serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from controlplane.api.export import openapi_bytes
from controlplane.domain.identity import FLEET_ROLES, PERMISSIONS
from tests.plugins.api import Api

COMMITTED = Path(__file__).parents[2] / "openapi" / "openapi.json"
OPEN = {"livez", "readyz", "metrics"}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    result: dict[str, Any] = orjson.loads(openapi_bytes())
    return result


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, op) for path, item in described["paths"].items() for method, op in item.items()]


def test_the_committed_description_is_current() -> None:
    assert COMMITTED.read_bytes() == openapi_bytes(), "run `make openapi` and commit the result"


def test_it_is_valid_openapi_3_1(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(described).validate()


def test_each_operation_has_an_id_a_summary_its_errors_and_security(described: dict[str, Any]) -> None:
    ids = [op["operationId"] for _, _, op in operations(described)]
    assert len(ids) == len(set(ids))
    for path, _, op in operations(described):
        assert op["summary"], path
        assert "application/problem+json" in op["responses"]["4XX"]["content"], path
        signed = path.startswith("/v1/hooks/") or path == "/v1/gates/{ask_id}:answer"
        assert bool(op.get("security")) != (op["operationId"] in OPEN or signed), path


def test_each_post_asks_for_an_idempotency_key(described: dict[str, Any]) -> None:
    without = {
        "/v1/rollouts:preview",
        "/v1/rollouts:simulate",
        "/v1/rules:test",
        "/v1/events",
        "/v1/hooks/{source}",
        "/v1/gates/{ask_id}:answer",
    }  # reads; deduplicated by their own ids
    for path, method, op in operations(described):
        if method == "post" and path not in without:
            asked = {p["name"] for p in op.get("parameters", []) if p["required"]}
            assert "Idempotency-Key" in asked, path


NEVER_CHANGES = {
    "/v1/artifacts/{digest}",  # what a digest names
    "/v1/tenants/{tenant}/environments/{environment}/backups/{backup_id}",  # a backup, but for being checked later
    "/v1/tenants/{tenant}/environments/{environment}/restore-drills/{drill_id}",  # a drill
}


def test_each_put_and_patch_of_what_can_change_takes_if_match(described: dict[str, Any]) -> None:
    for path, method, op in operations(described):
        if method in ("put", "patch") and path not in NEVER_CHANGES:
            assert "If-Match" in {p["name"] for p in op.get("parameters", [])}, path


def test_no_request_body_takes_unknown_fields(described: dict[str, Any]) -> None:
    for path, _, op in operations(described):
        body = op.get("requestBody", {}).get("content", {}).get("application/json")
        if body and "$ref" in body["schema"]:
            name = body["schema"]["$ref"].rpartition("/")[2]
            assert described["components"]["schemas"][name].get("additionalProperties") is False, path


async def test_it_is_served_to_anybody(api: Api) -> None:
    answer = await api.client().get("/v1/openapi.json")
    assert answer.content == openapi_bytes()
    assert answer.headers["etag"]


def test_every_permission_names_known_roles() -> None:
    known = FLEET_ROLES | {"tenant-owner", "ci"}
    assert all(roles <= known and roles for roles in PERMISSIONS.values())
