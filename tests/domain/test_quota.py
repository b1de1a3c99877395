from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.manifests import Manifest, MigrateJob, Rendered
from controlplane.domain.quota import LimitDefaults, fit, peak_resources
from controlplane.domain.resources import parse_resources


def pod(cpu: str = "100m", **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}], **more}}


def deployment(name: str = "web", replicas: int = 1, cpu: str = "100m", **spec: Any) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": pod(cpu), **spec},
    }


def job(cpu: str = "100m", **spec: Any) -> MigrateJob:
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "m"},
        "spec": {"template": pod(cpu), **spec},
    }
    return MigrateJob(manifest=manifest, on_install=True, on_upgrade=True)


def content(*objects: Manifest, jobs: tuple[MigrateJob, ...] = ()) -> Rendered:
    return Rendered(objects=objects, jobs=jobs)


@pytest.mark.parametrize(
    ("spec", "pods"),
    [
        ({"replicas": 4}, 5),  # 25% by default
        ({"replicas": 5}, 7),  # a percent of pods rounds up
        ({"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": 3}}}, 7),
        ({"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}, 4),
        ({"replicas": 4, "strategy": {"type": "Recreate"}}, 4),
        ({"replicas": 0}, 0),
    ],
)
def test_a_deployment_counts_with_its_surge(spec: dict[str, Any], pods: int) -> None:
    peak = peak_resources(content(deployment(**spec)))
    assert peak.get("pods", 0) == pods
    assert peak.get("requests.cpu", 0) == Decimal("0.1") * pods


def test_only_the_largest_surge_counts_because_one_after_the_other_gets_through() -> None:
    peak = peak_resources(content(deployment("a", 4, "100m"), deployment("b", 8, "200m")))
    assert peak["pods"] == 4 + 8 + 2
    assert peak["requests.cpu"] == Decimal("0.4") + Decimal("1.6") + Decimal("0.4")


def test_migrations_count_beside_everything_else() -> None:
    peak = peak_resources(content(deployment(), jobs=(job("500m", parallelism=2),)))
    assert peak["pods"] == 1 + 1 + 2
    assert peak["count/jobs.batch"] == 1


def test_while_two_revisions_stand_side_by_side_the_larger_shape_of_each_workload_counts() -> None:
    old = content(deployment("web", 4, "100m"), deployment("gone", 1, "100m"))
    new = content(deployment("web", 2, "300m"), deployment("added", 1, "100m"))
    peak = peak_resources(new, previous=old)
    assert peak["count/deployments.apps"] == 3
    assert peak["pods"] == 4 + 1 + 1 + 1
    assert peak == peak_resources(old, previous=new), "forward and back need the same"


def test_an_autoscaler_counts_with_its_maximum() -> None:
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 10},
    }
    assert peak_resources(content(deployment(strategy={"type": "Recreate"}), scaler))["pods"] == 10


def test_init_containers_count_where_they_are_larger_and_sidecars_are_added() -> None:
    item = deployment(strategy={"type": "Recreate"})
    item["spec"]["template"] = pod(
        "100m",
        initContainers=[
            {"name": "i", "resources": {"requests": {"cpu": "1"}}},
            {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
        ],
        overhead={"cpu": "10m"},
    )
    assert peak_resources(content(item))["requests.cpu"] == Decimal("1.01")


def test_a_container_that_asks_for_nothing_counts_with_the_limit_ranges_defaults() -> None:
    item = deployment(strategy={"type": "Recreate"})
    item["spec"]["template"]["spec"]["containers"] = [{"name": "c"}]
    defaults = LimitDefaults(requests={"cpu": "50m"}, limits={"cpu": "100m", "memory": "64Mi"})
    peak = peak_resources(content(item), defaults=defaults)
    assert peak["requests.cpu"] == Decimal("0.05")
    assert peak["requests.memory"] == peak["limits.memory"] == 64 * 2**20


def test_a_limit_without_a_request_is_the_request() -> None:
    item = deployment(strategy={"type": "Recreate"})
    item["spec"]["template"]["spec"]["containers"] = [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]
    peak = peak_resources(content(item), defaults=LimitDefaults(requests={"cpu": "50m"}))
    assert peak["requests.cpu"] == 2


def test_a_scoped_quota_counts_only_its_pods() -> None:
    release = content(deployment(strategy={"type": "Recreate"}), jobs=(job("500m", activeDeadlineSeconds=60),))
    assert peak_resources(release, ["Terminating"]) == {"pods": Decimal(1), "requests.cpu": Decimal("0.5")}
    assert peak_resources(release, ["NotTerminating"])["requests.cpu"] == Decimal("0.1")
    assert "pods" not in peak_resources(release, ["BestEffort"])


def test_objects_and_storage_are_counted_by_the_names_a_quota_uses() -> None:
    claim = {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    release = content(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "p"}, **claim},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}},
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db"},
            "spec": {"replicas": 3, "template": pod(), "volumeClaimTemplates": [claim]},
        },
    )
    peak = peak_resources(release)
    assert peak["services"] == 1
    assert peak["count/ingresses.networking.k8s.io"] == 1
    assert peak["persistentvolumeclaims"] == 4
    assert peak["requests.storage"] == 4 * 2**30
    assert peak["pods"] == 3


def test_what_is_too_little_is_named_with_what_is_needed_and_what_is_free() -> None:
    peak = peak_resources(content(deployment(replicas=4)))
    hard = parse_resources({"cpu": "700m", "pods": "10", "services": 1})
    assert fit(peak, hard, {})
    short = fit(peak, hard, parse_resources({"cpu": "300m"}))
    assert not short
    assert short.reason == "requests.cpu needs 500m at the peak and 400m is free"


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 1000))
def test_the_peak_never_is_below_either_revision_alone(old: int, new: int, cpu: int) -> None:
    one, other = content(deployment(replicas=old, cpu=f"{cpu}m")), content(deployment(replicas=new, cpu="50m"))
    both = peak_resources(other, previous=one)
    for alone in (peak_resources(one), peak_resources(other)):
        assert all(both[name] >= amount for name, amount in alone.items())
