"""The items of each phase, from contents alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from controlplane.domain.manifests import InventoryItem, MigrateJob, Rendered, key_of
from controlplane.domain.work import Given, apply_work, back_work, migrate_work, prune_work, step_id

STEP = UUID(int=1)


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def claim(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {}}


def deployment(name: str, image: str) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def given(*objects: dict[str, Any], revision: int = 1) -> Given:
    rendered = Rendered(objects=objects)
    return Given(
        revision, rendered, tuple(InventoryItem(key=key_of(o), uid=f"u-{o['metadata']['name']}") for o in objects)
    )


def named(work: Any) -> list[tuple[str, str]]:
    return [(item.verb, item.name) for item in work.items]


def test_a_first_apply_seals_and_then_applies_everything_in_order() -> None:
    work = apply_work(STEP, Rendered(objects=(config("a"), deployment("web", "1"))), None, whole=False)
    assert named(work) == [("seal", ""), ("apply", "a"), ("apply", "web")]


def test_what_did_not_change_is_not_applied_again() -> None:
    old = given(config("a"), deployment("web", "1"))
    work = apply_work(STEP, Rendered(objects=(config("a"), deployment("web", "2"))), old, whole=False)
    assert named(work) == [("seal", ""), ("apply", "web")]


def test_a_state_in_doubt_is_applied_whole() -> None:
    old = given(config("a"), deployment("web", "1"))
    work = apply_work(STEP, Rendered(objects=(config("a"), deployment("web", "1"))), old, whole=True)
    assert named(work) == [("seal", ""), ("apply", "a"), ("apply", "web")]


def test_a_prune_seals_deletes_by_uid_and_leaves_claims_for_a_person() -> None:
    old = given(config("a"), config("b"), claim("data"))
    work = prune_work(STEP, Rendered(objects=(config("a"),)), old)
    assert [(i.verb, i.name, i.uid) for i in work.items] == [("seal", "", ""), ("delete", "b", "u-b")]
    assert [key.name for key in work.left_over] == ["data"]


def test_the_way_back_deletes_what_only_the_bad_revision_had_workloads_first_and_applies_what_differs() -> None:
    bad = given(config("a", k="new"), config("extra"), deployment("sidecar", "2"), deployment("web", "2"), revision=2)
    good = given(config("a", k="old"), deployment("web", "1"))
    work = back_work(STEP, bad, good)
    assert named(work) == [("seal", ""), ("delete", "sidecar"), ("delete", "extra"), ("apply", "a"), ("apply", "web")]


def test_a_migration_creates_its_jobs_with_names_the_server_gives_once() -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "m"},
        "spec": {"template": {"spec": {"containers": []}}},
    }
    rendered = Rendered(jobs=(MigrateJob(manifest=job, on_install=False, on_upgrade=True),))
    assert migrate_work(STEP, rendered, installs=True).items == ()
    work = migrate_work(STEP, rendered, installs=False)
    assert [(i.verb, i.fence) for i in work.items] == [("seal", "cluster"), ("create", "name")]
    assert work.items[1].name.startswith("m-")


def test_a_successor_finds_the_same_step_and_another_attempt_gets_another() -> None:
    assert step_id("r", "acme", 1, "apply") == step_id("r", "acme", 1, "apply")
    assert len({step_id("r", "acme", n, p) for n in (1, 2) for p in ("apply", "back")}) == 4
