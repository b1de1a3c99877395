from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.apps import AppSpec
from controlplane.domain.targets import TargetProblem
from controlplane.domain.values import Layer
from controlplane.services.rollouts.content import Given, Wanted, contents_for
from tests.support.charts import chart, release

INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: {{ .Values.host }}}]}
"""
CERTIFICATE = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: web}\n"


def wanted(tenant: str, values: dict[str, Any] | None = None, *hosts: str) -> Wanted:
    return Wanted(tenant, tenant, {Layer.TENANT: values} if values else {}, frozenset(hosts))


def codes(found: dict[str, Given | TargetProblem]) -> dict[str, str | None]:
    return {tenant: one.code if isinstance(one, TargetProblem) else None for tenant, one in found.items()}


async def test_a_tenant_that_takes_the_host_of_another_is_left_out_alone() -> None:
    archive = chart({"i.yaml": INGRESS}, values={"host": "none.example"})
    found = await contents_for(
        release(archive),
        archive,
        [
            wanted("acme", {"host": "shop.acme.example"}, "shop.acme.example"),
            wanted("globex", {"host": "shop.acme.example"}, "shop.globex.example"),
            wanted("brio", {"host": "shop.brio.example"}),
        ],
        AppSpec(),
    )
    assert codes(found) == {"acme": None, "globex": "foreign-host", "brio": "foreign-host"}
    assert isinstance(found["globex"], TargetProblem)
    assert "shop.globex.example" in found["globex"].detail


async def test_tenants_that_share_a_rendering_are_still_held_to_their_own_hosts() -> None:
    archive = chart({"i.yaml": INGRESS}, values={"host": "shop.acme.example"})
    five = [wanted(f"t{n}", None, *(["shop.acme.example"] if n == 2 else [])) for n in range(5)]
    found = await contents_for(release(archive), archive, five, AppSpec())
    assert list(codes(found).values()) == [
        "foreign-host",
        "foreign-host",
        None,
        "foreign-host",
        "foreign-host",
    ]


@pytest.mark.parametrize("tenants", [1, 5])
async def test_custom_resources_are_allowed_by_the_app_when_planning_too(tenants: int) -> None:
    archive = chart({"c.yaml": CERTIFICATE})
    targets = [wanted(f"t{n}") for n in range(tenants)]
    refused = await contents_for(release(archive), archive, targets, AppSpec())
    assert set(codes(refused).values()) == {"unknown-kind"}
    app = AppSpec(custom_kinds=("cert-manager.io/Certificate",))
    assert set(codes(await contents_for(release(archive), archive, targets, app)).values()) == {None}


async def test_fields_the_app_declares_as_shared_are_not_in_the_content() -> None:
    archive = chart()
    app = AppSpec.model_validate({"sharedFields": [{"kind": "Deployment", "pointer": "/spec/replicas"}]})
    found = (await contents_for(release(archive), archive, [wanted("acme")], app))["acme"]
    assert isinstance(found, Given)
    assert found.template is not None
    assert "replicas" not in found.template.rendered.objects[1]["spec"]
    assert found.template.rendered.left_out[0].pointer == "/spec/replicas"


@pytest.mark.parametrize("tenants", [1, 5])
async def test_values_that_break_the_schema_leave_their_tenants_out_and_nobody_else(tenants: int) -> None:
    archive = chart(schema={"type": "object", "properties": {"replicas": {"type": "integer"}}})
    bad = [wanted(f"bad{n}", {"replicas": "two"}) for n in range(tenants)]
    found = await contents_for(release(archive), archive, [*bad, wanted("good", {"replicas": 2})], AppSpec())
    assert codes(found) == {f"bad{n}": "values-refused" for n in range(tenants)} | {"good": None}
