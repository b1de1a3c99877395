"""Configuration kinds: versions, conditions, refusals."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest

from controlplane.services.configuration.kinds import KINDS
from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.plugins.database import Database
from tests.support.signing import new_key, pem_of

ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//seawall//test//EN
BEGIN:VEVENT
UID:1
DTSTAMP:20261123T000000Z
DTSTART;TZID=Europe/Paris:20261124T230000
DTEND;TZID=Europe/Paris:20261125T040000
RRULE:FREQ=DAILY
END:VEVENT
END:VCALENDAR
"""
STRATEGY: dict[str, Any] = {
    "waves": [{"name": "pilot", "cut": {"selector": "ring=pilot"}}, {"name": "rest", "cut": {"percent": "100%"}}],
    "limits": {"inFlight": ["10%", 20]},
}
RULE: dict[str, Any] = {"when": '"tax" in release.risks', "then": {"refuse": True}, "reason": "Close of the year"}
TRIGGER: dict[str, Any] = {
    "source": "github-acme",
    "filter": "event.type == 'release.published'",
    "release": {"app": "odoo", "version": "${event.data.tag}"},
    "rollout": {"environment": "production", "selector": "", "strategy": "careful"},
}
WEBHOOK: dict[str, Any] = {"url": "https://hooks.example/seawall", "secrets": [{"env": "SEAWALL_SECRET_HOOK"}]}
SOURCE: dict[str, Any] = {"kind": "github", "secrets": [{"env": "SEAWALL_SECRET_GITHUB"}]}
GOOD: dict[str, dict[str, Any]] = {
    "apps": {"format": "helm", "sharedFields": [{"kind": "Deployment", "pointer": "/spec/replicas"}]},
    "tiers": {"quota": {"requests.cpu": "8", "pods": "40"}},
    "clusters": {"region": "francecentral"},
    "calendars": {"ics": ICS},
    "strategies": STRATEGY,
    "triggers": TRIGGER,
    "rules": RULE,
    "webhooks": WEBHOOK,
    "sources": SOURCE,
    "people": {"names": ["mia@acme.example", "mia-gh"]},
    "criteria": {"description": "A wrong tax rate", "skip": ["approval", "window"], "reviewWithin": "P2D"},
    "endpoints": {"url": "https://itsm.example/seawall", "secrets": [{"env": "SEAWALL_SECRET_ITSM"}]},
    "trusts": {"keys": [{"name": "ci", "publicKey": pem_of(new_key())}]},
    "limits": {"inFlight": 50, "rates": {"USD": "0.92"}, "brands": {"acme": 3}, "breaker": {"quiet": "PT1H"}},
}
NAMES = {"limits": "fleet"}
"""Kinds that have one object only."""


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    return await api.as_("platform-admin")


@pytest.mark.parametrize("kind", [kind.plural for kind in KINDS])
async def test_each_kind_is_created_shown_listed_and_deleted(admin: httpx.AsyncClient, kind: str) -> None:
    name = NAMES.get(kind, "one")
    created = await admin.put(f"/v1/{kind}/{name}", json=GOOD[kind])
    assert created.status_code == 201, created.text
    assert created.headers["location"].endswith(f"/v1/{kind}/{name}")
    body = created.json()
    assert (body["kind"], body["name"], body["version"]) == (kind, name, 1)
    shown = await admin.get(f"/v1/{kind}/{name}")
    assert (shown.json(), shown.headers["etag"]) == (body, created.headers["etag"])
    assert (await admin.get(f"/v1/{kind}")).json() == {"items": [body]}
    assert (await admin.delete(f"/v1/{kind}/{name}")).status_code == 204
    problem(await admin.get(f"/v1/{kind}/{name}"), 404, "not-found")
    assert (await admin.get(f"/v1/{kind}/{name}@1")).json() == body


@pytest.mark.parametrize("kind", [kind.plural for kind in KINDS])
async def test_what_was_shown_can_be_put_again_and_changes_nothing(admin: httpx.AsyncClient, kind: str) -> None:
    name = NAMES.get(kind, "one")
    created = await admin.put(f"/v1/{kind}/{name}", json=GOOD[kind])
    again = await admin.put(
        f"/v1/{kind}/{name}", json=created.json()["spec"], headers={"if-match": created.headers["etag"]}
    )
    assert (again.status_code, again.json()) == (200, created.json())


async def test_a_changed_spec_is_a_new_version_and_the_old_one_stays(admin: httpx.AsyncClient) -> None:
    first = await admin.put("/v1/clusters/c", json={"region": "a"})
    second = await admin.put("/v1/clusters/c", json={"region": "b"}, headers={"if-match": first.headers["etag"]})
    assert (second.status_code, second.json()["version"]) == (200, 2)
    assert second.headers["etag"] != first.headers["etag"]
    assert (await admin.get("/v1/clusters/c@1")).json()["spec"]["region"] == "a"
    assert (await admin.get("/v1/clusters/c@2")).json() == (await admin.get("/v1/clusters/c")).json()
    problem(await admin.get("/v1/clusters/c@3"), 404, "not-found")


async def test_a_name_taken_again_goes_on_counting(admin: httpx.AsyncClient) -> None:
    await admin.put("/v1/clusters/c", json={"region": "a"})
    await admin.delete("/v1/clusters/c")
    again = await admin.put("/v1/clusters/c", json={"region": "a"})
    assert (again.status_code, again.json()["version"]) == (201, 2)


async def test_putting_what_exists_without_if_match_is_428_and_with_another_412(admin: httpx.AsyncClient) -> None:
    await admin.put("/v1/clusters/c", json={"region": "a"})
    problem(await admin.put("/v1/clusters/c", json={"region": "b"}), 428, "precondition-required")
    answer = await admin.put("/v1/clusters/c", json={"region": "b"}, headers={"if-match": '"old"'})
    problem(answer, 412, "changed-meanwhile")
    assert (await admin.get("/v1/clusters/c")).json()["version"] == 1


async def test_if_match_on_what_does_not_exist_creates_nothing(admin: httpx.AsyncClient) -> None:
    problem(await admin.put("/v1/clusters/c", json={}, headers={"if-match": '"x"'}), 412, "changed-meanwhile")
    problem(await admin.get("/v1/clusters/c"), 404, "not-found")


async def test_a_name_that_is_not_dns_1123_is_refused(admin: httpx.AsyncClient) -> None:
    for name in ("Careful", "a_b", "-a", "a" * 64):
        assert pointers(problem(await admin.put(f"/v1/clusters/{name}", json={}), 422, "invalid")) == ["path/name"]


async def test_an_unknown_field_deep_inside_is_refused_and_named(admin: httpx.AsyncClient) -> None:
    body = {**STRATEGY, "limits": {"inFlight": 3, "inflight": 4}}
    assert pointers(problem(await admin.put("/v1/strategies/s", json=body), 422, "invalid")) == ["/limits/inflight"]


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"waves": [{"name": "a", "cut": {"percent": "0%"}}]}, "invalid", "/waves/0/cut/percent"),
        ({"limits": {"inFlight": "101%"}}, "invalid", "/limits/inFlight"),
        (
            {"waves": [{"name": "a", "cut": {"percent": "60%"}}, {"name": "b", "cut": {"percent": "60%"}}]},
            "invalid-strategy",
            "/waves/1/cut/percent",
        ),
        ({"waves": [{"name": "a", "cut": {"selector": "x in"}}]}, "invalid", "/waves/0/cut/selector"),
    ],
)
async def test_a_strategy_that_can_t_work_is_refused_with_the_place(
    admin: httpx.AsyncClient, change: dict[str, Any], code: str, pointer: str
) -> None:
    assert pointers(problem(await admin.put("/v1/strategies/s", json={**STRATEGY, **change}), 422, code)) == [pointer]


async def test_a_strategy_with_an_unknown_gate_is_refused(admin: httpx.AsyncClient) -> None:
    body = {**STRATEGY, "during": [{"astrology": {"sign": "leo"}}]}
    assert pointers(problem(await admin.put("/v1/strategies/s", json=body), 422, "gate-not-available")) == ["/during/0"]


@pytest.mark.parametrize(
    ("gate", "pointer"),
    [
        ({"metric": {"use": "traefik-5xx", "max": 0.01}}, None),
        ({"burn-rate": {"use": "traefik-5xx", "objective": "99.9%"}}, None),
        ({"capacity": {"databases": [{"use": "postgres-connections"}]}}, None),
        ({"metric": {"use": "traefik-6xx"}}, "/during/0/metric"),
        ({"metric": {"query": "up", "max": 1, "source": "A b"}}, "/during/0/metric/source"),
        ({"burn-rate": {"use": "orders", "objective": "99.9%"}}, "/during/0/burn-rate"),
        ({"capacity": {"surge": "0%"}}, "/during/0/capacity/surge"),
    ],
)
async def test_gates_over_metrics_are_taken_as_documented_and_refused_where_they_stand(
    admin: httpx.AsyncClient, gate: dict[str, Any], pointer: str | None
) -> None:
    answer = await admin.put("/v1/strategies/s", json={**STRATEGY, "during": [gate]})
    if pointer is None:
        assert answer.status_code == 201
    else:
        assert pointers(problem(answer, 422, "invalid-strategy")) == [pointer]


@pytest.mark.parametrize("kind", ["rules", "triggers", "webhooks"])
async def test_an_expression_that_does_not_compile_is_refused_where_it_stands(
    admin: httpx.AsyncClient, kind: str
) -> None:
    place = "when" if kind == "rules" else "filter"
    for bad in ("event.type ==", "nothing.known == 1"):
        answer = await admin.put(f"/v1/{kind}/x", json={**GOOD[kind], place: bad})
        assert pointers(problem(answer, 422, "expression-invalid")) == [f"/{place}"]


async def test_only_its_source_replaces_a_read_only_calendar(admin: httpx.AsyncClient) -> None:
    feed = {"ics": ICS, "effect": "deny", "selector": "cluster=aks-1", "source": "azure-maintenance", "readOnly": True}
    assert (await admin.put("/v1/calendars/feed", json={"ics": ICS, "readOnly": True})).status_code == 422
    put = await admin.put("/v1/calendars/feed", json=feed)
    assert put.status_code == 201
    mine = {"If-Match": put.headers["ETag"]}
    problem(await admin.put("/v1/calendars/feed", json={"ics": ICS}, headers=mine), 409, "read-only-calendar")
    renewed = await admin.put("/v1/calendars/feed", json={**feed, "description": "newer"}, headers=mine)
    assert renewed.json()["version"] == 2


@pytest.mark.parametrize(
    "ics", ["nonsense", "BEGIN:VCALENDAR\nEND:VCALENDAR\n", ICS.replace("FREQ=DAILY", "FREQ=SOMETIMES")]
)
async def test_a_calendar_that_can_t_be_read_is_refused(admin: httpx.AsyncClient, ics: str) -> None:
    assert pointers(problem(await admin.put("/v1/calendars/x", json={"ics": ics}), 422, "invalid-calendar")) == ["/ics"]


async def test_a_rule_says_exactly_one_thing(admin: httpx.AsyncClient) -> None:
    body = {**RULE, "then": {"refuse": True, "strategy": "careful"}}
    problem(await admin.put("/v1/rules/x", json=body), 422, "invalid")
    problem(await admin.put("/v1/rules/x", json={**RULE, "then": {}}), 422, "invalid")


def _tenant(database: Database) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute(
            "insert into tenants (tenant, display_name, tier, region, time_zone, adopt, phase, phase_reason)"
            " values ('acme', 'A', 't', 'r', 'UTC', 'never', 'active', '')"
        )
        connection.execute(
            "insert into environments (tenant, environment, cluster, namespace, health, health_reason)"
            " values ('acme', 'production', 'c', 'acme', 'unknown', '')"
        )
        connection.execute(
            "insert into tenant_apps (tenant, environment, app, values_version, revision)"
            " values ('acme', 'production', 'odoo', 1, 0)"
        )


async def test_what_a_tenant_uses_can_t_be_deleted(admin: httpx.AsyncClient, database: Database) -> None:
    _tenant(database)
    for kind, name in (("tiers", "t"), ("clusters", "c"), ("apps", "odoo")):
        await admin.put(f"/v1/{kind}/{name}", json={})
        body = problem(await admin.delete(f"/v1/{kind}/{name}"), 409, "in-use")
        assert body["usedBy"][0].startswith("tenant acme")


async def test_a_strategy_that_a_trigger_uses_can_t_be_deleted_even_at_a_version(admin: httpx.AsyncClient) -> None:
    await admin.put("/v1/strategies/careful", json=STRATEGY)
    await admin.put("/v1/triggers/t", json={**TRIGGER, "rollout": {**TRIGGER["rollout"], "strategy": "careful@1"}})
    body = problem(await admin.delete("/v1/strategies/careful"), 409, "in-use")
    assert body["usedBy"] == ["trigger t"]
    await admin.delete("/v1/triggers/t")
    assert (await admin.delete("/v1/strategies/careful")).status_code == 204


async def test_a_release_manager_writes_strategies_but_not_tiers(api: Api) -> None:
    manager = await api.as_("release-manager")
    assert (await manager.put("/v1/strategies/s", json=STRATEGY)).status_code == 201
    problem(await manager.put("/v1/tiers/t", json=GOOD["tiers"]), 403, "forbidden")


async def test_a_tenant_owner_sees_no_configuration(api: Api) -> None:
    owner = await api.as_("tenant-owner", tenants=["acme"])
    for kind in KINDS:
        problem(await owner.get(f"/v1/{kind.plural}"), 404, "not-found")


async def test_each_change_leaves_one_audit_row_and_one_history_row(
    admin: httpx.AsyncClient, database: Database
) -> None:
    first = await admin.put("/v1/clusters/c", json={"region": "a"})
    await admin.put("/v1/clusters/c", json={"region": "a"}, headers={"if-match": first.headers["etag"]})
    await admin.delete("/v1/clusters/c")
    with psycopg.connect(database.owner) as connection:
        audit = connection.execute("select action from audit where subject = 'cluster/c' order by id").fetchall()
        history = connection.execute(
            "select type from history where subject_kind = 'cluster' and subject_id = 'c' order by seq"
        ).fetchall()
    assert audit == [("clusters.put",), ("clusters.delete",)]
    assert history == [("dev.seawall.cluster.created.v1",), ("dev.seawall.cluster.deleted.v1",)]
