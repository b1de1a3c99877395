"""Both charts on a real API server, in namespaces under Pod Security `restricted`: admitted, and rolled out by the real
controllers. kwok plays the kubelets: that an image runs is not shown here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.domain.manifests import Manifest, in_apply_order, job_for_step, mark
from controlplane.domain.values import Layer, Values, merge_layers
from controlplane.formats import RenderInputs, format_for
from controlplane.formats.pack import pack_chart
from tests.cluster.kube import Json, Kube, await_true
from tests.cluster.objects import config_map, fresh_name, namespace
from tests.support.charts import IMAGE

pytestmark = pytest.mark.cluster

HELM = Path(__file__).parents[2] / "helm"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
STEP = "0199c2aa-0000-7000-8000-000000000001"


@pytest.fixture(scope="module")
def admin() -> Iterator[Kube]:
    """Administrator of a control plane of its own: Seawall's chart brings policies that would bind other tests."""
    with LocalControlPlane() as running:
        yield Kube.from_kubeconfig(running.kubeconfig)


@pytest.fixture
def home(admin: Kube) -> str:
    name = fresh_name("shop")
    admin.make("/api/v1/namespaces", namespace(name, RESTRICTED))
    return name


def path_of(admin: Kube, item: Manifest) -> str:
    """Where an object lives, by what the API server says of its kinds."""
    api = item["apiVersion"]
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    (kind,) = [r for r in admin.read(root)["resources"] if r["kind"] == item["kind"] and "/" not in r["name"]]
    place = f"/namespaces/{item['metadata']['namespace']}" if kind["namespaced"] else ""
    return f"{root}{place}/{kind['name']}/{item['metadata']['name']}"


def apply_all(admin: Kube, objects: Sequence[Manifest]) -> None:
    """A server dry run of everything, then the real thing."""
    for query in ("?dryRun=All&fieldValidation=Strict", "?fieldValidation=Strict"):
        for item in objects:
            answer = admin.apply(path_of(admin, item) + query, item)
            assert answer.is_success, f"{item['kind']}/{item['metadata']['name']}: {answer.text}"


def rolled_out(found: Json) -> bool:
    status = found.get("status", {})
    return bool(
        status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        and status.get("availableReplicas", 0) >= found["spec"]["replicas"]
    )


def await_rollout(admin: Kube, objects: Sequence[Manifest]) -> int:
    """Wait for every Deployment; the controllers only get there when Pod Security admits the pods."""
    paths = [path_of(admin, item) for item in objects if item["kind"] == "Deployment"]
    for path in paths:
        await_true(lambda path=path: rolled_out(admin.read(path)), f"{path} is rolled out")  # type: ignore[misc]
    return len(paths)


async def odoo(home: str, values: Values) -> tuple[tuple[Manifest, ...], Manifest]:
    """Rendered by Seawall, marked as Seawall marks it: the objects and the migration of one step."""
    archive, helm = pack_chart(HELM / "odoo-tenant"), format_for("helm")
    defaults = (await helm.inspect(archive)).defaults
    layers = {Layer.CHART: defaults, Layer.RELEASE: {"images": {"web": IMAGE}}, Layer.TENANT: values}
    merged = merge_layers(layers).values
    rendered = await helm.render(archive, RenderInputs("odoo", home, merged))
    return mark(rendered.objects, home, "production", "odoo"), job_for_step(rendered.jobs[0], STEP)


async def test_the_reference_workload_is_installed_migrated_and_rolled_out_under_pod_security_restricted(
    admin: Kube, home: str
) -> None:
    values: Values = {"ingress": {"hosts": ["shop.acme.example"], "tlsSecret": "tls"}, "migrate": {"enabled": True}}
    objects, migration = await odoo(home, values)
    path = path_of(admin, migration)
    made = admin.make(path.rpartition("/")[0], migration)
    assert admin.create(path.rpartition("/")[0], migration).status_code == 409, "a second attempt has the same name"
    await_true(lambda: admin.read(path).get("status", {}).get("succeeded") == 1, "the migration is done")
    assert made["metadata"]["finalizers"] == ["seawall.dev/outcome"]
    apply_all(admin, objects)
    assert await_rollout(admin, objects) == 3


async def test_the_reference_workload_applied_again_changes_nothing(admin: Kube, home: str) -> None:
    objects, _ = await odoo(home, {"migrate": {"enabled": True}})
    apply_all(admin, objects)
    before = [
        admin.read(path_of(admin, item))["metadata"]["generation"] for item in objects if item["kind"] == "Deployment"
    ]
    apply_all(admin, objects)
    after = [
        admin.read(path_of(admin, item))["metadata"]["generation"] for item in objects if item["kind"] == "Deployment"
    ]
    assert after == before == [1, 1, 1]


async def test_a_fault_by_pod_annotation_keeps_the_new_pod_from_getting_ready(admin: Kube, home: str) -> None:
    objects, _ = await odoo(home, {"migrate": {"enabled": True}})
    apply_all(admin, objects)
    await_rollout(admin, objects)
    broken, _ = await odoo(
        home, {"migrate": {"enabled": True}, "podAnnotations": {"seawall.test/fault": "never-ready"}}
    )
    apply_all(admin, broken)
    web = path_of(admin, broken[-1])

    def stuck() -> bool:
        status = admin.read(web)["status"]
        return bool(status.get("updatedReplicas") == 1 and status.get("unavailableReplicas") == 1)

    await_true(stuck, "the new pod is there and not ready")
    assert admin.read(web)["status"]["availableReplicas"] == 1, "the old pod serves on"


def test_the_same_namespace_refuses_a_pod_that_is_not_restricted(admin: Kube, home: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "loose"},
        "spec": {"containers": [{"name": "c", "image": IMAGE}]},
    }
    answer = admin.create(f"/api/v1/namespaces/{home}/pods", pod)
    assert answer.status_code == 403
    assert "restricted" in answer.json()["message"]


def seawall_objects() -> tuple[Manifest, ...]:
    """The control plane's own chart as Helm renders it, its migration Job included."""
    folder = HELM / "seawall"
    values: dict[str, Any] = yaml.safe_load((folder / "ci" / "lint-values.yaml").read_text())
    with helm_python.Chart.load(folder) as chart:
        texts = chart.render(values, name="seawall", namespace="seawall-system")
    items = [item for text in texts.values() for item in yaml.safe_load_all(text) if item]
    for item in items:
        item["metadata"].setdefault("namespace", "seawall-system")
    rank = {"Namespace": 0, "ServiceAccount": 1, "ClusterRole": 2, "Role": 2}
    return tuple(sorted(in_apply_order(items), key=lambda item: rank.get(item["kind"], 3)))


def test_seawalls_own_chart_is_installed_and_rolled_out_under_pod_security_restricted(admin: Kube) -> None:
    home = namespace("seawall-system", RESTRICTED)
    assert admin.apply("/api/v1/namespaces/seawall-system", home).is_success
    objects = seawall_objects()
    places = [item for item in objects if item["kind"] == "Namespace"]
    for place in places:
        assert admin.apply(path_of(admin, place), place).is_success
    apply_all(admin, objects)
    assert await_rollout(admin, objects) == 3
    job = "/apis/batch/v1/namespaces/seawall-system/jobs/seawall-migrate"
    await_true(lambda: admin.read(job).get("status", {}).get("succeeded") == 1, "the migration is done")


def test_the_policies_of_the_installed_chart_refuse_a_mark_by_anybody_else(admin: Kube, home: str) -> None:
    marked = config_map("marked")
    marked["metadata"]["labels"] = {"seawall.dev/tenant": "somebody-else"}
    path = f"/api/v1/namespaces/{home}/configmaps?dryRun=All"
    await_true(lambda: admin.create(path, marked).status_code == 403, "the marks are guarded")
    assert admin.create(path, config_map("plain")).is_success
