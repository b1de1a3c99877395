"""A tier's PriorityClass, and the pods that carry it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from controlplane.domain.manifests import Manifest, MigrateJob, Rendered
from controlplane.domain.priorities import class_name, only_these, priority_class, with_class
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.walls_objects import Place, wall_objects


def _workload(kind: str, name: str) -> Manifest:
    template = {"spec": {"containers": [{"name": "web", "image": "x"}]}}
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def test_a_class_never_preempts_and_names_its_value_because_that_can_not_change() -> None:
    made = priority_class("premium", TierSpec(priority=1000))
    assert made is not None
    assert (made["metadata"]["name"], made["value"]) == ("seawall-premium-1000", 1000)
    assert (made["preemptionPolicy"], made["globalDefault"]) == ("Never", False)
    assert (class_name("basic", TierSpec()), priority_class("basic", TierSpec())) == ("", None)


@pytest.mark.parametrize("value", [-1, 1_000_001, 2_000_000_000])
def test_a_priority_that_reaches_the_clusters_own_pods_is_refused(value: int) -> None:
    with pytest.raises(ValidationError):
        TierSpec(priority=value)


def test_every_pod_of_a_release_carries_the_class_and_nothing_else_changes() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": []}}
    job = MigrateJob(manifest=_workload("Job", "migrate"), on_install=True, on_upgrade=True)
    before = Rendered(objects=(service, _workload("Deployment", "web"), _workload("CronJob", "night")), jobs=(job,))
    made = with_class(before, "seawall-premium-1000")
    assert made.objects[0] == service
    assert made.objects[1]["spec"]["template"]["spec"]["priorityClassName"] == "seawall-premium-1000"
    nightly = made.objects[2]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert nightly["priorityClassName"] == "seawall-premium-1000"
    assert made.jobs[0].manifest["spec"]["template"]["spec"]["priorityClassName"] == "seawall-premium-1000"
    assert "priorityClassName" not in before.objects[1]["spec"]["template"]["spec"]
    assert made.content_hash != before.content_hash
    assert with_class(before, "").content_hash == before.content_hash


def test_a_tier_without_a_priority_has_no_wall_of_its_own_for_it() -> None:
    place = Place("a", "production", "a")
    names = {o["metadata"]["name"] for o in wall_objects(place, TierSpec(), ClusterSpec())}
    assert "seawall-priority" not in names
    with_it = wall_objects(place, TierSpec(priority=5), ClusterSpec(), ["seawall-x-5"])
    assert next(o for o in with_it if o["metadata"]["name"] == "seawall-priority")["spec"] == only_these(
        ["seawall-x-5"]
    )
