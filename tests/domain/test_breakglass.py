"""Break-glass files: plain manifests, in an order that kubectl can apply, with nothing of Seawall in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from controlplane.domain.breakglass import GivenApp, GivenEnvironment, files_of, folders_of, plain
from controlplane.domain.manifests import Manifest, MigrateJob, Rendered
from controlplane.domain.tenants import TenantPhase
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.walls_objects import Place

PLACE = Place("acme-fr", "production", "acme-fr")


def _object(kind: str, name: str, **content: Any) -> Manifest:
    metadata = {"name": name, "labels": {"app": "odoo", "seawall.dev/managed": "true"}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


def _given(*objects: Manifest, tier: TierSpec | None = None, classes: tuple[str, ...] = ()) -> GivenEnvironment:
    job = MigrateJob(manifest=_object("Job", "odoo-migrate"), on_install=True, on_upgrade=True)
    at = datetime(2026, 11, 2, 1, 12, tzinfo=UTC)
    app = GivenApp("odoo", "17.0.3", 41, at, Rendered(objects=objects, jobs=(job,)))
    tier = tier or TierSpec()
    return GivenEnvironment(PLACE, "aks-1", TenantPhase.ACTIVE, "standard", tier, ClusterSpec(), classes, (app,))


def _items(text: str) -> list[Manifest]:
    found: list[Manifest] = json.loads(text)["items"]
    return found


def test_walls_come_first_and_no_object_carries_a_mark_of_seawall() -> None:
    files = files_of(_given(_object("ConfigMap", "settings", data={"a": "b"})))
    assert sorted(files) == ["00-walls.json", "about.txt", "app-odoo.json"]
    walls = _items(files["00-walls.json"])
    assert [one["kind"] for one in walls[:2]] == ["Namespace", "ResourceQuota"]
    assert walls[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for one in [*walls, *_items(files["app-odoo.json"])]:
        assert "seawall.dev/" not in json.dumps(one["metadata"])
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "acme-fr"
    assert _items(files["app-odoo.json"])[0]["metadata"]["labels"] == {"app": "odoo"}


def test_secrets_and_migrations_are_left_out_and_named() -> None:
    pod = {"containers": [{"envFrom": [{"secretRef": {"name": "odoo-db"}}]}], "imagePullSecrets": [{"name": "pull"}]}
    workload = _object(
        "Deployment", "web", spec={"template": {"spec": {**pod, "volumes": [{"secret": {"secretName": "tls"}}]}}}
    )
    files = files_of(_given(workload, _object("Secret", "own", data={"password": "aHVudGVyMg=="})))
    assert {one["kind"] for one in _items(files["app-odoo.json"])} == {"Deployment"}
    assert "aHVudGVyMg" not in json.dumps(files)
    for line in (
        "Secret odoo-db",
        "Secret own",
        "Secret pull",
        "Secret tls",
        "migration Job odoo-migrate",
        "revision 41",
    ):
        assert line in files["about.txt"]


def test_a_tiers_priority_class_comes_along_once_its_walls_have_it() -> None:
    tier = TierSpec(priority=10)
    assert next(o["kind"] for o in _items(files_of(_given(tier=tier))["00-walls.json"])) == "Namespace"
    ranked = _items(files_of(_given(tier=tier, classes=("seawall-standard-10",)))["00-walls.json"])
    assert (ranked[0]["kind"], ranked[0]["metadata"]) == ("PriorityClass", {"name": "seawall-standard-10"})


def test_the_same_registry_gives_the_same_bytes() -> None:
    assert files_of(_given(_object("ConfigMap", "a"))) == files_of(_given(_object("ConfigMap", "a")))


def test_what_is_given_is_not_changed() -> None:
    item = _object("ConfigMap", "a")
    plain(item, "acme-fr")
    assert item["metadata"]["labels"]["seawall.dev/managed"] == "true"


def test_a_suspended_tenants_files_are_elsewhere() -> None:
    assert folders_of("aks-1", "acme-fr") == ("clusters/aks-1/acme-fr", "suspended/aks-1/acme-fr")
