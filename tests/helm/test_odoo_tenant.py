from __future__ import annotations

from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from controlplane.domain.errors import InvalidError
from controlplane.domain.manifests import Manifest, Rendered
from controlplane.domain.quota import peak_resources
from controlplane.domain.values import Layer, Values, merge_layers
from controlplane.domain.walls import pod_template
from controlplane.formats import RenderInputs, format_for
from controlplane.formats.pack import pack_chart
from tests.support.charts import IMAGE

FOLDER = Path(__file__).parents[2] / "helm" / "odoo-tenant"
RELEASE: Values = {"images": {"web": IMAGE}}


async def effective(values: Values) -> Values:
    defaults = (await format_for("helm").inspect(pack_chart(FOLDER))).defaults
    return merge_layers({Layer.CHART: defaults, Layer.RELEASE: RELEASE, Layer.TENANT: values}).values


async def rendered(values: Values | None = None) -> Rendered:
    archive, merged = pack_chart(FOLDER), await effective(values or {})
    await format_for("helm").check_values(archive, merged)
    return await format_for("helm").render(archive, RenderInputs("odoo", "acme-fr", merged))


def templates(content: Rendered) -> list[Manifest]:
    items = [*content.objects, *(job.manifest for job in content.jobs)]
    return [found[1] for item in items if (found := pod_template(item))]


async def test_it_is_three_deployments_two_services_an_ingress_and_a_budget() -> None:
    content = await rendered({"ingress": {"hosts": ["shop.acme.example"]}})
    assert [str(key) for key in content.object_keys()] == [
        "Service/odoo-longpolling",
        "Service/odoo-web",
        "Ingress/odoo",
        "PodDisruptionBudget/odoo-web",
        "Deployment/odoo-cron",
        "Deployment/odoo-longpolling",
        "Deployment/odoo-web",
    ]


def test_helms_linter_finds_nothing_to_warn_of() -> None:
    values = yaml.safe_load((FOLDER / "ci" / "lint-values.yaml").read_text())
    report = helm_python.lint(FOLDER, values, strict=True, kube_version="v1.33.0")
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


async def test_ready_means_the_page_that_needs_the_database_answers() -> None:
    web = templates(await rendered())[2]["spec"]["containers"][0]
    assert web["readinessProbe"]["httpGet"]["path"] == "/web/login"
    assert web["envFrom"] == [{"secretRef": {"name": "odoo-database"}}]


async def test_websockets_go_to_the_gevent_port() -> None:
    content = await rendered({"ingress": {"hosts": ["shop.acme.example"]}})
    paths = content.objects[2]["spec"]["rules"][0]["http"]["paths"]
    assert [(p["path"], p["backend"]["service"]["name"], p["backend"]["service"]["port"]["name"]) for p in paths] == [
        ("/websocket", "odoo-longpolling", "gevent"),
        ("/", "odoo-web", "http"),
    ]
    gevent = content.objects[0]["spec"]["ports"]
    assert gevent == [{"name": "gevent", "port": 8072, "targetPort": "gevent"}]


async def test_every_pod_is_what_pod_security_restricted_asks_for() -> None:
    found = templates(await rendered({"migrate": {"enabled": True}}))
    assert len(found) == 4
    for template in found:
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["image"] == IMAGE


async def test_pod_annotations_reach_every_pod_template_and_nothing_else() -> None:
    content = await rendered({"podAnnotations": {"seawall.test/fault": "never-ready"}})
    assert all(t["metadata"]["annotations"] == {"seawall.test/fault": "never-ready"} for t in templates(content))
    assert all("annotations" not in item["metadata"] for item in content.objects)


async def test_a_migration_runs_before_an_upgrade_only_when_asked_for() -> None:
    assert (await rendered()).jobs == ()
    (job,) = (await rendered({"migrate": {"enabled": True, "modules": ["sale", "stock"]}})).jobs
    assert (job.on_install, job.on_upgrade) == (False, True)
    script = job.manifest["spec"]["template"]["spec"]["containers"][0]["args"][0]
    assert script.index("seawall_step") < script.index("--update=sale,stock")


async def test_the_default_peak_of_a_tenant_is_small() -> None:
    peak = peak_resources(await rendered())
    assert peak["requests.cpu"] < 1
    assert peak["requests.memory"] < 512 * 2**20
    assert peak["pods"] == 4


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"images": {"web": "odoo:17"}}, "/images/web"),
        ({"web": {"workers": "many"}}, "/web/workers"),
        ({"ingress": {"hosts": ["Not A Host"]}}, "/ingress/hosts/0"),
        ({"typo": 1}, ""),
    ],
)
async def test_values_its_schema_does_not_know_are_refused_by_pointer(values: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidError) as caught:
        await format_for("helm").check_values(pack_chart(FOLDER), await effective(values))
    assert caught.value.code == "values-refused"
    assert pointer in [error.pointer for error in caught.value.errors]


async def test_a_release_without_its_image_is_refused() -> None:
    with pytest.raises(InvalidError) as caught:
        await format_for("helm").check_values(pack_chart(FOLDER), await effective({"images": {"web": None}}))
    assert caught.value.code == "values-refused"


def test_the_readme_lists_every_value() -> None:
    readme = (FOLDER / "README.md").read_text()

    def leaves(values: Values, prefix: str = "") -> list[str]:
        found: list[str] = []
        for key, value in values.items():
            whole = isinstance(value, dict) and value and key != "resources"
            found += leaves(value, f"{prefix}{key}.") if whole else [prefix + key]
        return found

    values = yaml.safe_load((FOLDER / "values.yaml").read_text()) | RELEASE
    assert [name for name in leaves(values) if f"| `{name}` |" not in readme] == []
