"""What a cluster says after a failover, against what the registry still knows."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.manifests import Manifest, Rendered, key_of, mark
from controlplane.domain.names import APP_LABEL, DOMAIN
from controlplane.domain.timelines import KnownEnvironment, RunningApp, Seal, compare, rebuild, steps_of
from controlplane.domain.work import step_id

OURS, THEIRS = uuid.uuid4(), uuid.uuid4()
KNOWN = KnownEnvironment("acme", "production", "acme", "u1", 7, frozenset({"s1"}))
SEAL = Seal("acme", "u1", 7, "s1", "3", str(OURS))


@pytest.mark.parametrize(
    ("seal", "kind"),
    [
        (SEAL, None),
        (replace(SEAL, epoch=6, step="s0"), None),
        (replace(SEAL, epoch=9), "epoch-behind"),
        (replace(SEAL, epoch=9, step="lost"), "change-unknown"),
        (replace(SEAL, uid="u2"), "namespace-replaced"),
        (replace(SEAL, uid="u2", epoch=9, step="lost"), "namespace-replaced"),
        (None, "namespace-missing"),
    ],
)
def test_a_seal_ahead_of_the_registry_is_told_by_the_step_it_names(seal: Seal | None, kind: str | None) -> None:
    found = compare([KNOWN], {"acme": seal} if seal else {}, OURS)
    assert [one.kind for one in found] == ([kind] if kind else [])
    if found and seal:
        assert (found[0].registry_epoch, found[0].seal_epoch, found[0].step) == (7, seal.epoch, seal.step)


def test_an_environment_whose_namespace_was_never_made_is_no_difference() -> None:
    assert compare([replace(KNOWN, uid=None)], {}, OURS) == []


def test_a_namespace_of_this_installation_that_belongs_to_nobody_is_told_and_anothers_is_not() -> None:
    mine, other = replace(SEAL, namespace="lost"), replace(SEAL, namespace="other", installation=str(THEIRS))
    found = compare([KNOWN], {"acme": SEAL, "lost": mine, "other": other}, OURS)
    assert [(one.kind, one.namespace, one.tenant) for one in found] == [("tenant-unknown", "lost", "")]


def test_a_step_that_an_unfinished_rollout_issues_again_is_known_before_it_does() -> None:
    again = str(step_id("r1", "acme", 2, "back"))
    known = replace(KNOWN, steps=steps_of([("r1", "acme", 2)]))
    assert compare([known], {"acme": replace(SEAL, epoch=9, step=again)}, OURS)[0].kind == "epoch-behind"
    assert str(step_id("r1", "acme", 1, "apply")) not in known.steps


def manifest(kind: str, name: str, **data: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "acme"}, "data": data}


def live(*objects: Manifest, app: str = "odoo") -> list[Manifest]:
    """Objects as the API server gives them back after Seawall applied them."""
    server = {"uid": "u", "resourceVersion": "5", "managedFields": [{}], "creationTimestamp": "2026-01-01T00:00:00Z"}
    return [
        {**o, "metadata": {**o["metadata"], **server}, "status": {}} for o in mark(objects, "acme", "production", app)
    ]


def running(*objects: Manifest, revision: int = 3) -> RunningApp:
    return RunningApp("odoo", 4, revision, mark(objects, "acme", "production", "odoo"))


def test_an_app_that_runs_what_the_registry_has_is_left_alone() -> None:
    service = manifest("Service", "web")
    left_over = manifest("PersistentVolumeClaim", "data")
    walls = {**manifest("NetworkPolicy", "deny"), "metadata": {"name": "deny", "namespace": "acme"}}
    others = live(manifest("ConfigMap", "other"), app="pos")
    assert rebuild(running(service), [*live(service, left_over), walls, *others], "9") is None


def test_what_an_app_runs_becomes_a_revision_without_what_the_server_wrote_and_without_marks() -> None:
    old, new, extra = manifest("Service", "web"), manifest("Service", "web", port="2"), manifest("ConfigMap", "extra")
    made = rebuild(running(old), live(new, extra), "7")
    assert made is not None
    assert (made.app, made.revision, made.base) == ("odoo", 7, 3)
    assert made.rendered == Rendered(objects=(extra, new))
    assert made.uids == {key_of(extra): "u", key_of(new): "u"}


@pytest.mark.parametrize(("sealed", "number"), [("", 5), ("2", 5), ("nonsense", 5), ("6", 6)])
def test_a_rebuilt_revision_takes_the_number_it_had_unless_that_is_taken(sealed: str, number: int) -> None:
    made = rebuild(running(manifest("Service", "web")), live(manifest("Service", "web", port="2")), sealed)
    assert made is not None
    assert made.revision == number


def test_an_app_that_is_gone_from_the_cluster_is_a_revision_with_nothing() -> None:
    made = rebuild(running(manifest("Service", "web")), [], "7")
    assert made is not None
    assert made.rendered.objects == ()


def test_marks_and_foreign_annotations_are_told_apart() -> None:
    service = manifest("Service", "web")
    service["metadata"] |= {"annotations": {"team": "shop"}, "labels": {"tier": "web"}}
    made = rebuild(running(), live(service), "")
    assert made is not None
    meta = made.rendered.objects[0]["metadata"]
    assert meta == {"name": "web", "namespace": "acme", "annotations": {"team": "shop"}, "labels": {"tier": "web"}}
    assert not [k for k in (*meta["annotations"], *meta["labels"]) if k.startswith(DOMAIN)]
    assert APP_LABEL.startswith(DOMAIN)
