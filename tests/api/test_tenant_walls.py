"""With a tenant owner's key of A, nothing of B: on no path, and in no table even when a statement forgets its filter."""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from psycopg.rows import dict_row

from controlplane.api.export import openapi_bytes
from tests.plugins.api import Api
from tests.plugins.database import Database

MARK = "only-of-"
ROLLOUT = {"a": uuid.UUID(int=0xA1), "b": uuid.UUID(int=0xB1)}
OPERATION = {"a": uuid.UUID(int=0xA2), "b": uuid.UUID(int=0xB2)}
PATHS: dict[str, dict[str, Any]] = orjson.loads(openapi_bytes())["paths"]
UNPROTECTED = ("/livez", "/readyz", "/metrics")


def fill(database: Database, tenant: str) -> None:
    """Give a tenant a row in every table that belongs to tenants, each with its mark."""
    mark = MARK + tenant
    rollout, operation = ROLLOUT[tenant], OPERATION[tenant]
    rows: list[tuple[str, dict[str, Any]]] = [
        (
            "tenants",
            {
                "tenant": tenant,
                "display_name": mark,
                "tier": mark,
                "region": mark,
                "time_zone": "UTC",
                "phase": "active",
            },
        ),
        ("environments", {"tenant": tenant, "environment": "production", "cluster": mark, "namespace": mark}),
        ("tenant_apps", {"tenant": tenant, "environment": "production", "app": "odoo", "values": {"x": mark}}),
        ("contents", {"tenant": tenant, "hash": mark, "body": mark.encode()}),
        (
            "revisions",
            {
                "tenant": tenant,
                "environment": "production",
                "app": "odoo",
                "revision": 1,
                "release_version": mark,
                "content_hash": mark,
                "values_hash": mark,
                "base_revision": 0,
                "state": "verified",
            },
        ),
        (
            "rollouts",
            {
                "id": rollout,
                "kind": "deploy",
                "app": "odoo",
                "release_version": mark,
                "environment": "production",
                "selector": mark,
                "strategy": mark,
                "strategy_version": 1,
                "state": "succeeded",
                "plan_hash": mark,
                "reason": mark,
                "requested_by": mark,
                "plan": {"x": mark},
            },
        ),
        ("waves", {"rollout_id": rollout, "wave": 0, "name": mark, "state": "done"}),
        (
            "targets",
            {
                "rollout_id": rollout,
                "tenant": tenant,
                "environment": "production",
                "wave": 0,
                "position": 0,
                "state": "verified",
                "reason": mark,
                "base_revision": 0,
            },
        ),
        (
            "steps",
            {
                "step_id": rollout,
                "ordinal": 0,
                "subject_kind": "rollout",
                "subject_id": rollout,
                "tenant": tenant,
                "environment": "production",
                "phase": mark,
                "verb": "apply",
                "state": "PLANNED",
                "fence": "cluster",
            },
        ),
        ("budgets", {"scope": mark}),
        ("reservations", {"rollout_id": rollout, "tenant": tenant, "scope": mark, "amount": 1}),
        (
            "operations",
            {"id": operation, "kind": "onboard", "tenant": tenant, "state": "succeeded", "requested_by": mark},
        ),
        (
            "operation_items",
            {"operation_id": operation, "ordinal": 0, "tenant": tenant, "stage": mark, "state": "pending"},
        ),
        ("history", {"subject_kind": "tenant", "subject_id": mark, "seq": 1, "type": mark, "tenant": tenant}),
        ("audit", {"actor": mark, "action": mark, "subject": mark, "tenant": tenant, "trace_id": ""}),
    ]
    with psycopg.connect(database.owner) as connection:
        for table, values in rows:
            insert(connection, table, values)


def insert(connection: psycopg.Connection[Any], table: str, values: dict[str, Any]) -> None:
    """Insert a row; NOT NULL text columns without a default get an empty text, numbers 0."""
    columns = connection.execute(
        "select column_name, data_type from information_schema.columns where table_name = %s and table_schema = 'public'"
        " and is_nullable = 'NO' and column_default is null and is_identity = 'NO'",
        (table,),
    ).fetchall()
    blank: dict[str, Any] = {"text": "", "character varying": "", "integer": 0, "bigint": 0, "boolean": False}
    filled = {name: blank[kind] for name, kind in columns if name not in values} | values
    given = [orjson.dumps(v).decode() if isinstance(v, dict) else v for v in filled.values()]
    names, places = ", ".join(f'"{n}"' for n in filled), ", ".join(["%s"] * len(filled))
    connection.execute(f"insert into {table} ({names}) values ({places})", given)


@pytest.fixture
def both(database: Database) -> Database:
    for tenant in ("a", "b"):
        fill(database, tenant)
    return database


def everything(database: Database, tenant: str) -> dict[str, list[str]]:
    """All rows that carry a tenant's mark, by table."""
    with psycopg.connect(database.owner) as connection:
        tables = [r[0] for r in connection.execute("select tablename from pg_tables where schemaname = 'public'")]
        query = "select t::text from {} t where t::text like %s order by 1"
        return {t: [r[0] for r in connection.execute(query.format(t), (f"%{MARK}{tenant}%",))] for t in tables}


def address(path: str, tenant: str) -> str:
    """A path with every parameter naming something of `tenant`."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if "operation" in name:
            return str(OPERATION[tenant])
        if "rollout" in name or name.endswith("id"):
            return str(ROLLOUT[tenant])
        known = {
            "tenant": tenant,
            "t": tenant,
            "environment": "production",
            "e": "production",
            "app": "odoo",
            "a": "odoo",
        }
        return known.get(name, "x" if name != "digest" else "sha256:" + "0" * 64)

    return re.sub(r"\{([^}]+)\}", value, path)


async def test_an_owner_of_a_reads_and_changes_nothing_of_b_on_any_path(api: Api, both: Database) -> None:
    owner = await api.as_("tenant-owner", tenants=["a"])
    before = everything(both, "b")
    for path, methods in PATHS.items():
        if path in UNPROTECTED:
            continue
        for method in methods:
            answer = await send(owner, method, address(path, "b"))
            assert MARK + "b" not in answer.text, (method, path)
            assert str(ROLLOUT["b"]) not in answer.text.replace(address(path, "b"), ""), (method, path)
            assert answer.status_code < 500, (method, path)
            if method == "get" and "{" in path:
                assert answer.status_code == 404, (method, path, answer.text)
    assert everything(both, "b") == before


async def send(client: httpx.AsyncClient, method: str, url: str) -> httpx.Response:
    headers = {"if-match": "*", "content-type": "application/json"}
    if method in ("get", "delete"):
        return await client.request(method, url, headers=headers)
    return await client.request(method, url, headers=headers, json={"reason": "x", "until": "2030-01-01T00:00:00Z"})


@pytest.mark.parametrize("setting", ["a", "", None])
def test_as_sw_tenant_a_statement_without_a_filter_sees_one_tenant_or_none(both: Database, setting: str | None) -> None:
    readable = 0
    with psycopg.connect(both.tenant, row_factory=dict_row) as connection:
        if setting is not None:
            connection.execute("select set_config('seawall.tenant', %s, true)", (setting,))
        tables = connection.execute(
            "select relname, array(select attname from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped"
            " and has_column_privilege(c.oid, attnum, 'select')) as columns"
            " from pg_class c where relkind = 'r' and relnamespace = 'public'::regnamespace"
        ).fetchall()
        for table in tables:
            if not table["columns"]:
                continue
            columns = ", ".join(f'"{name}"' for name in table["columns"])
            rows = connection.execute(f"select {columns} from {table['relname']}").fetchall()
            found = str(rows)
            readable += MARK + "a" in found
            assert MARK + "b" not in found, table["relname"]
            if setting != "a":
                assert MARK + "a" not in found, table["relname"]
    assert readable >= 6 if setting == "a" else readable == 0


def test_as_sw_tenant_nothing_of_another_tenant_can_be_written(both: Database) -> None:
    with psycopg.connect(both.tenant) as connection:
        connection.execute("select set_config('seawall.tenant', 'a', true)")
        changed = connection.execute("update tenant_apps set deferred_until = now() where tenant = 'b'").rowcount
        assert changed == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "insert into audit (actor, action, subject, tenant, trace_id) values ('x','x','x','b','')"
            )


def test_keys_and_secrets_are_out_of_reach_of_tenants_and_workers(both: Database) -> None:
    for url in (both.tenant, both.engine):
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from api_keys")


def test_an_intent_of_one_principal_is_invisible_to_another_tenant_s_transaction(both: Database) -> None:
    with psycopg.connect(both.owner) as connection:
        connection.execute(
            "insert into intents (principal, operation, key, body_hash, status, response)"
            " values ('key:b', 'POST /x', 'k', '', 200, '{}')"
        )
    with psycopg.connect(both.tenant) as connection:
        connection.execute("select set_config('seawall.principal', 'key:a', true)")
        assert connection.execute("select * from intents").fetchall() == []
