"""Values of one app in one environment: the environment's layer, and every leaf with its origin."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.problems import problem
from tests.plugins.api import Api
from tests.plugins.operations import Works
from tests.support.charts import chart

PATH = "/v1/tenants/acme-fr/environments/production/apps/odoo/values"
SCHEMA = {"type": "object", "properties": {"replicas": {"type": "integer", "maximum": 5}}}


@pytest.fixture
async def manager(works: Works, api: Api) -> httpx.AsyncClient:
    """A release manager; acme-fr runs a chart with a schema, and each layer sets something."""
    works.fleet.config("tiers", "standard", {"quota": {"pods": "9"}, "values": {"odoo": {"workers": 2, "log": "info"}}})
    works.fleet.config("clusters", "aks-1", {"region": "west", "values": {"odoo": {"log": "warn"}}})
    works.fleet.release("17.0.3", chart(values={"replicas": 1, "log": "debug", "theme": "plain"}, schema=SCHEMA))
    works.fleet.runs(works.fleet.tenants(["acme-fr", "zed-de"], app={"values": {"theme": "red"}}), "17.0.3")
    return await api.as_("release-manager")


async def patch(client: httpx.AsyncClient, change: dict[str, Any]) -> httpx.Response:
    etag = (await client.get(PATH)).headers["etag"]
    return await client.patch(
        PATH, json=change, headers={"If-Match": etag, "Content-Type": "application/merge-patch+json"}
    )


async def test_every_effective_leaf_knows_its_layer(works: Works, manager: httpx.AsyncClient) -> None:
    await patch(manager, {"replicas": 3})
    found = (await manager.get(PATH, params={"effective": "true"})).json()
    leaves = {leaf["pointer"]: (leaf["value"], leaf["origin"]) for leaf in found["effective"]}
    assert leaves["/replicas"] == (3, "environment")
    assert leaves["/theme"] == ("red", "tenant")
    assert leaves["/log"] == ("warn", "cluster")
    assert leaves["/workers"] == (2, "tier")
    assert leaves["/images/web"][1] == "release"
    assert {origin for _, origin in leaves.values()} <= {"chart", "release", "tier", "cluster", "tenant", "environment"}


async def test_a_patch_changes_the_environments_layer_alone_and_null_takes_a_key_out(
    works: Works, manager: httpx.AsyncClient
) -> None:
    first = (await patch(manager, {"replicas": 3, "web": {"workers": 4}})).json()
    assert first["values"] == {"replicas": 3, "web": {"workers": 4}}
    second = (await patch(manager, {"web": None})).json()
    assert (second["values"], second["version"]) == ({"replicas": 3}, first["version"] + 1)


async def test_values_that_the_charts_schema_refuses_are_not_stored(works: Works, manager: httpx.AsyncClient) -> None:
    problem(await patch(manager, {"replicas": 50}), 422, "values-refused")
    assert (await manager.get(PATH)).json()["values"] == {}


async def test_a_stale_version_is_refused(works: Works, manager: httpx.AsyncClient) -> None:
    etag = (await manager.get(PATH)).headers["etag"]
    await patch(manager, {"replicas": 2})
    headers = {"If-Match": etag, "Content-Type": "application/merge-patch+json"}
    problem(await manager.patch(PATH, json={"replicas": 3}, headers=headers), 412, "changed-meanwhile")


async def test_an_owner_reads_its_own_values_and_no_others(works: Works, manager: httpx.AsyncClient, api: Api) -> None:
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    assert (await owner.get(PATH)).status_code == 200
    problem(await owner.get(PATH.replace("acme-fr", "zed-de")), 404, "not-found")
    problem(
        await owner.patch(PATH, json={}, headers={"Content-Type": "application/merge-patch+json"}), 403, "forbidden"
    )
    problem(await manager.get(PATH.replace("odoo", "pos")), 404, "not-found")
