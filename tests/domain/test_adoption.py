"""Looking at an existing namespace: owners by their marks, refusals by the walls, differences by pointer."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.adoption import differences, owner_of, report_on
from controlplane.domain.manifests import Manifest
from controlplane.domain.tiers import TierSpec


def deployment(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **pod: Any) -> Manifest:
    container = {"name": "web", "image": "web:latest", "resources": {"requests": {"cpu": "3"}}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], **pod}}
    metadata = {"name": "web", "labels": labels or {}, "annotations": annotations or {}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("labels", "annotations", "owner"),
    [
        ({"app.kubernetes.io/managed-by": "Helm"}, {"meta.helm.sh/release-name": "shop"}, ("Helm", "shop")),
        ({"app.kubernetes.io/managed-by": "Helm"}, {}, None),
        ({}, {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:acme/web"}, ("Argo CD", "shop")),
        ({"argocd.argoproj.io/instance": "shop"}, {}, ("Argo CD", "shop")),
        ({"kustomize.toolkit.fluxcd.io/name": "shop"}, {}, ("Flux Kustomization", "shop")),
        ({"helm.toolkit.fluxcd.io/name": "shop"}, {}, ("Flux HelmRelease", "shop")),
        ({"app": "web"}, {}, None),
    ],
)
def test_an_owner_is_known_by_its_marks(
    labels: dict[str, str], annotations: dict[str, str], owner: tuple[str, str] | None
) -> None:
    assert owner_of(deployment(labels, annotations)) == owner


def test_the_report_names_what_the_walls_would_refuse_and_the_quota_that_is_too_small() -> None:
    item = deployment({"app.kubernetes.io/managed-by": "Helm"}, {"meta.helm.sh/release-name": "s"}, hostNetwork=True)
    report = report_on("acme", [item], TierSpec(quota={"requests.cpu": "1"}))
    assert {r.code for r in report.refusals} >= {"host-access", "image-not-pinned"}
    assert report.owners[0].objects == ("Deployment/web",)
    assert "requests.cpu needs" in report.quota


def test_what_every_namespace_holds_by_itself_is_not_reported() -> None:
    own = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}}
    assert report_on("acme", [own], TierSpec()).objects == 0


def test_secret_data_never_reaches_a_report() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"password": "aHVudGVyMg=="}}
    assert "aHVudGVyMg" not in report_on("acme", [secret], TierSpec()).model_dump_json()


def test_fields_that_only_the_cluster_set_are_no_difference() -> None:
    wanted = deployment()
    found = {**wanted, "status": {"replicas": 1}, "spec": {**wanted["spec"], "progressDeadlineSeconds": 600}}
    assert differences(wanted, found) == []
    assert differences(wanted, {**wanted, "spec": {**wanted["spec"], "replicas": 2}}) == [
        "/Deployment/web/spec/replicas"
    ]
    assert differences(wanted, None) == ["/Deployment/web"]


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [("1", "1000m", True), ("1Gi", "1024Mi", True), ("1", "1001m", False), ("2", 2, True), ("2", "two", False)],
)
def test_a_quantity_written_another_way_is_no_difference(wanted: str, found: object, same: bool) -> None:
    def quota(amount: object) -> Manifest:
        spec = {"hard": {"requests.cpu": amount}}
        return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": spec}

    assert (differences(quota(wanted), quota(found)) == []) is same


def test_a_text_that_looks_like_a_quantity_is_compared_as_text() -> None:
    one, other = deployment({"shard": "1"}), deployment({"shard": "1000m"})
    assert differences(one, other) == ["/Deployment/web/metadata/labels/shard"]
