from __future__ import annotations

from dataclasses import replace
from zlib import compress

import pytest
import yaml

from controlplane.adapters.clusters import ClusterRegistry
from controlplane.domain.manifests import Rendered
from controlplane.domain.names import canonical_json
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.formats import RenderInputs, format_for
from controlplane.formats.namespaces import only_writes_namespace
from controlplane.services.rollouts.prepare import prepare
from controlplane.services.rollouts.tools import RolloutTools
from tests.contract.fleets import fence, notes, simulated_fleet
from tests.support.charts import DEPLOYMENT, IMAGE, SERVICE, chart
from tests.support.registry import Fleet

ALL = Ask(RolloutRequest(release="odoo/17.0.9", strategy="all"))
OTHER_SELECTOR = chart({"web.yaml": DEPLOYMENT.replace("app: web", "app: shop"), "service.yaml": SERVICE}, base=False)


async def test_a_field_the_server_will_not_change_leaves_every_target_of_that_change_out(
    fleet: Fleet, tools: RolloutTools
) -> None:
    fleet.release("17.0.9", OTHER_SELECTOR)
    fleet.run("update environments set cluster = 'sim' where tenant like 'acme%%'")
    async with simulated_fleet() as sim:
        for tenant in ("acme-fr", "acme-de"):
            made = await sim.cluster.create_namespace(tenant, {}, notes())
            await sim.cluster.seal(tenant, made.uid, fence())
            inputs = RenderInputs("odoo", tenant, {"replicas": 1, "images": {"web": IMAGE}})
            for manifest in (await format_for("helm").render(chart(), inputs)).objects:
                await sim.cluster.apply(tenant, manifest, fence())
        plan = (await prepare(replace(tools, clusters=ClusterRegistry({}, [sim.cluster])), ALL)).plan
    assert [(e.tenant, e.code) for e in plan.excluded] == [
        ("acme-de", "immutable-field"),
        ("acme-fr", "immutable-field"),
    ]
    assert [t.tenant for t in plan.targets()] == ["zed-de", "zed-fr"]
    unknown = [n.detail for n in plan.notes if n.code == "dry-run-unknown"]
    assert len(unknown) == 1
    assert unknown[0].startswith("For 2 targets it is unknown")
    assert "aks-1 answered cluster-not-configured" in unknown[0]


async def test_what_another_app_of_the_environment_uses_is_not_free(fleet: Fleet, tools: RolloutTools) -> None:
    """Tier: 500m. The other app stands there with 350m; odoo at its peak (old pod, new pod) needs 200m."""
    fleet.release("17.0.9", chart())
    fleet.config("tiers", "standard", {"quota": {"requests.cpu": "500m"}})
    beside = yaml.safe_load(DEPLOYMENT.replace("{{ .Release.Service }}", "x").replace("{{ .Values.replicas }}", "1").replace(
        "{{ .Values.images.web }}", IMAGE).replace("cpu: 100m", "cpu: 350m"))  # fmt: skip
    rendered = Rendered(objects=(beside,))
    fleet.run(
        "insert into contents values ('zed-fr', 'sha256:other', %s)", compress(canonical_json(rendered.model_dump()))
    )
    fleet.run(
        "insert into tenant_apps (tenant, environment, app, values_version, revision) values ('zed-fr', 'production', 'pos', 1, 1)"
    )
    fleet.run(
        "insert into revisions (tenant, environment, app, revision, release_version, content_hash, values_hash, base_revision, state)"
        " values ('zed-fr', 'production', 'pos', 1, '1', 'sha256:other', 'v', 0, 'verified')"
    )
    plan = (await prepare(tools, ALL)).plan
    assert [(w.tenant, w.gate) for w in plan.waiting_for] == [("zed-fr", "quota")]
    assert "requests.cpu needs 200m at the peak and 150m is free" in plan.waiting_for[0].reason


@pytest.mark.parametrize(
    "cut",
    [
        "{{ .Release.Namespace | trunc 4 }}",
        "{{ .Release.Namespace | sha256sum | trunc 8 }}",
        '{{ if eq .Release.Namespace "acme-fr" }}y{{ end }}',
        "{{ $n := .Release.Namespace }}{{ $n | upper | lower }}",
        '{{ printf "%s-of-the-shop" .Release.Namespace | trunc 20 }}',
    ],
)
async def test_a_chart_that_does_more_with_its_namespace_than_name_it_is_rendered_for_each_tenant(
    fleet: Fleet, tools: RolloutTools, cut: str
) -> None:
    template = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{cut: x{cut}}}\n"
    fleet.release("17.0.9", chart({"c.yaml": template}))
    await _renders_as_one_by_one(tools)


async def test_a_shared_rendering_is_the_same_as_one_for_each_tenant(fleet: Fleet, tools: RolloutTools) -> None:
    template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {host: db.{{ .Release.Namespace }}.svc}\n"
    fleet.release("17.0.9", chart({"c.yaml": template}))
    await _renders_as_one_by_one(tools)


async def _renders_as_one_by_one(tools: RolloutTools) -> None:
    prepared = await prepare(tools, ALL)
    async with tools.open() as uow:
        row = await uow.rollouts.release("odoo", "17.0.9")
        assert row is not None
        artifact = await uow.rollouts.artifact(row.spec["source"]["artifact"])
        assert artifact is not None
    assert len(prepared.given) == 4
    for tenant, given in prepared.given.items():
        alone = await format_for("helm").render(artifact, RenderInputs("odoo", tenant, dict(given.values)))
        assert alone.content_hash == given.content


@pytest.mark.parametrize(
    ("use", "harmless"),
    [
        ("{{ .Release.Namespace }}", True),
        ("{{- $.Release.Namespace | quote -}}", True),
        ('{{ printf "db.%s.svc" .Release.Namespace }}', True),
        ("{{ .Release.Name }}{{ .Release.IsInstall }}", True),
        ("{{ .Release.Namespace | upper }}", False),
        ('{{ if hasPrefix "a" .Release.Namespace }}{{ end }}', False),
        ("{{ with .Release }}{{ .Namespace }}{{ end }}", False),
        ("{{ tpl .Values.text . }}", False),
    ],
)
def test_only_a_namespace_written_down_lets_tenants_share_a_rendering(use: str, harmless: bool) -> None:
    assert only_writes_namespace("helm", chart({"c.yaml": use})) is harmless
