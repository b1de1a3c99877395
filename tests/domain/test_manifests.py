from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.manifests import (
    InventoryItem,
    Manifest,
    MigrateJob,
    ObjectKey,
    Rendered,
    in_apply_order,
    job_for_step,
    leave_out_shared,
    mark,
    prune_back,
    prune_forward,
    unrecreatable,
)
from controlplane.domain.names import JOB_FINALIZER

KEPT = {"annotations": {"helm.sh/resource-policy": "keep"}}
APIS = {
    "Service": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Ingress": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "Certificate": "cert-manager.io/v1",
}


def manifest(kind: str, name: str = "x", **more: Any) -> Manifest:
    return {"apiVersion": APIS.get(kind, "v1"), "kind": kind, "metadata": {"name": name}} | more


def item(kind: str, name: str = "x", *, api: str | None = None, keep: bool = False) -> InventoryItem:
    key = ObjectKey(api_version=api or APIS.get(kind, "v1"), kind=kind, name=name)
    return InventoryItem(key=key, uid="u", keep=keep)


@given(st.permutations([manifest(kind, name) for kind in APIS for name in ("a", "b")]))
def test_the_apply_order_does_not_depend_on_the_order_given_and_workloads_come_last(objects: list[Manifest]) -> None:
    kinds = [o["kind"] for o in in_apply_order(objects)]
    assert in_apply_order(objects) == in_apply_order(list(reversed(objects)))
    assert kinds[-4:] == ["StatefulSet", "StatefulSet", "Deployment", "Deployment"]
    assert kinds.index("Certificate") > kinds.index("Service")


def test_a_content_hash_changes_with_objects_and_jobs_and_nothing_else() -> None:
    plain = Rendered(objects=(manifest("Service"),))
    assert plain.content_hash == Rendered(objects=(manifest("Service"),)).content_hash
    assert plain.content_hash != Rendered(objects=(manifest("Service", spec={}),)).content_hash
    job = MigrateJob(manifest=manifest("Job"), on_install=True, on_upgrade=True)
    assert plain.content_hash != Rendered(objects=(manifest("Service"),), jobs=(job,)).content_hash


def test_rendered_content_survives_being_stored_as_json() -> None:
    job = MigrateJob(manifest=manifest("Job"), on_install=True, on_upgrade=False)
    rendered = Rendered(objects=(manifest("Service"), manifest("Deployment", spec={"a": [1]})), jobs=(job,))
    again = Rendered.model_validate_json(rendered.model_dump_json())
    assert again == rendered
    assert again.content_hash == rendered.content_hash


def test_prune_takes_what_only_the_old_one_had_workloads_first() -> None:
    old = [item("ConfigMap"), item("Deployment"), item("Service"), item("Service", "stays")]
    pruned = prune_forward(old, [item("Service", "stays").key])
    assert [str(one.key) for one in pruned.delete] == ["Deployment/x", "Service/x", "ConfigMap/x"]
    assert pruned.left_over == ()


def test_an_object_that_moved_to_a_newer_api_version_is_the_same_object() -> None:
    old = [item("PodDisruptionBudget", api="policy/v1beta1")]
    assert prune_forward(old, [item("PodDisruptionBudget").key]).delete == ()
    assert prune_back(old, [item("PodDisruptionBudget", api="other/v1").key]).delete == tuple(old)


@pytest.mark.parametrize(
    "kept", [item("Secret"), item("PersistentVolumeClaim"), item("Namespace"), item("ConfigMap", keep=True)]
)
def test_what_is_never_pruned_is_left_over_and_listed(kept: InventoryItem) -> None:
    pruned = prune_back([kept, item("Deployment")], [])
    assert pruned.left_over == (kept,)
    assert [str(one.key) for one in pruned.delete] == ["Deployment/x"]


def test_an_inventory_remembers_uids_and_the_wish_to_be_kept() -> None:
    keep = manifest("ConfigMap", "k")
    keep["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    rendered = Rendered(objects=(keep, manifest("Service")))
    inventory = rendered.inventory({rendered.object_keys()[1]: "uid-1"})
    assert [(one.uid, one.keep) for one in inventory] == [(None, True), ("uid-1", False)]


def test_marks_sit_on_top_level_metadata_only() -> None:
    deployment = manifest("Deployment", spec={"template": {"metadata": {"labels": {"app": "web"}}}})
    before = deepcopy(deployment)
    marked = mark([deployment], "acme-fr", "production", "odoo")[0]
    assert marked["metadata"]["labels"] == {
        "seawall.dev/managed": "true",
        "seawall.dev/tenant": "acme-fr",
        "seawall.dev/environment": "production",
        "seawall.dev/app": "odoo",
    }
    assert marked["metadata"]["annotations"]["seawall.dev/content"].startswith("sha256:")
    assert marked["spec"] == before["spec"]
    assert deployment == before


def test_the_content_mark_says_whether_an_object_changed() -> None:
    def content(one: Manifest, tenant: str = "t") -> str:
        return str(mark([one], tenant, "e", "a")[0]["metadata"]["annotations"]["seawall.dev/content"])

    assert content(manifest("Service")) == content(manifest("Service"))
    assert content(manifest("Service")) != content(manifest("Service", spec={}))


def job() -> MigrateJob:
    containers = [{"name": "m", "env": [{"name": "SEAWALL_STEP_ID", "value": "forged"}, {"name": "A", "value": "1"}]}]
    spec = {
        "backoffLimit": 6,
        "ttlSecondsAfterFinished": 5,
        "template": {"spec": {"restartPolicy": "OnFailure", "containers": containers}},
    }
    return MigrateJob(manifest=manifest("Job", "odoo-migrate", spec=spec), on_install=True, on_upgrade=True)


def test_a_step_job_has_the_steps_name_one_attempt_no_ttl_and_a_finalizer() -> None:
    step = "0199c2aa-0000-7000-8000-000000000001"
    source = job()
    before = deepcopy(source.manifest)
    made = job_for_step(source, step)
    assert made["metadata"]["name"] == f"odoo-migrate-{step}"
    assert made["metadata"]["finalizers"] == [JOB_FINALIZER]
    assert made["spec"]["backoffLimit"] == 0
    assert "ttlSecondsAfterFinished" not in made["spec"]
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert made["spec"]["template"]["spec"]["containers"][0]["env"] == [
        {"name": "A", "value": "1"},
        {"name": "SEAWALL_STEP_ID", "value": step},
    ]
    assert source.manifest == before


@given(st.from_regex(r"[a-z]([-a-z0-9]{0,80}[a-z0-9])?", fullmatch=True))
def test_a_step_jobs_name_is_a_label_that_ends_in_the_step(name: str) -> None:
    step = "0199c2aa-0000-7000-8000-000000000001"
    source = MigrateJob(manifest={**job().manifest, "metadata": {"name": name}}, on_install=True, on_upgrade=True)
    made = job_for_step(source, step)["metadata"]["name"]
    assert len(made) <= 63
    assert made.endswith(f"-{step}")


@pytest.mark.parametrize("scaler", ["HorizontalPodAutoscaler", "ScaledObject"])
def test_replicas_are_left_out_where_an_autoscaler_sets_them(scaler: str) -> None:
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}
    objects = [
        manifest("Deployment", "web", spec={"replicas": 2}),
        manifest("Deployment", "cron", spec={"replicas": 1}),
        manifest(scaler, "s", spec=target),
    ]
    kept, left = leave_out_shared(objects)
    assert [o["spec"].get("replicas") for o in kept[:2]] == [None, 1]
    assert [(str(one.key), one.pointer) for one in left] == [("Deployment/web", "/spec/replicas")]
    assert objects[0]["spec"] == {"replicas": 2}


def test_a_ca_bundle_is_left_out_of_a_webhook_but_not_of_an_issuer() -> None:
    hook = manifest("ValidatingWebhookConfiguration", webhooks=[{"clientConfig": {"caBundle": "x", "url": "u"}}])
    issuer = manifest("Issuer", spec={"vault": {"caBundle": "mine"}})
    kept, left = leave_out_shared([hook, issuer])
    assert kept[0]["webhooks"] == [{"clientConfig": {"url": "u"}}]
    assert kept[1] == issuer
    assert [one.pointer for one in left] == ["/webhooks/0/clientConfig/caBundle"]


def test_a_field_that_the_app_declares_as_shared_is_left_out_where_it_is() -> None:
    items = [
        manifest("Service", spec={"ports": [{"nodePort": 1, "port": 80}], "type": "ClusterIP"}),
        manifest("Deployment", spec={"type": "x"}),
    ]
    declared = [
        ("Service", "/spec/ports/0/nodePort"),
        ("Service", "/spec/nothing/here"),
        ("Service", "/spec/ports/7/x"),
    ]
    kept, left = leave_out_shared(items, declared)
    assert kept[0]["spec"] == {"ports": [{"port": 80}], "type": "ClusterIP"}
    assert kept[1] == items[1]
    assert [(str(one.key), one.pointer) for one in left] == [("Service/x", "/spec/ports/0/nodePort")]


def stateful(deletes_claims: bool) -> Manifest:
    policy = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete" if deletes_claims else "Retain"}}
    return manifest("StatefulSet", "db", spec=policy)


@pytest.mark.parametrize(
    ("gone", "lost"),
    [
        (stateful(True), ("StatefulSet/db",)),
        (stateful(False), ()),
        (manifest("StatefulSet", "db"), ()),
        (manifest("Certificate", "tls"), ("Certificate/tls",)),
        (manifest("Deployment", "web"), ()),
        (manifest("PersistentVolumeClaim", "data"), ()),
        (manifest("Certificate", "tls") | {"metadata": KEPT | {"name": "tls"}}, ()),
    ],
)
def test_what_a_prune_takes_for_good_is_known_from_the_contents(gone: Manifest, lost: tuple[str, ...]) -> None:
    stays = manifest("Service")
    before, after = Rendered(objects=(stays, gone)), Rendered(objects=(stays,))
    assert unrecreatable(before, after, ["cert-manager.io/Certificate"]) == lost
    assert unrecreatable(before, before, ["cert-manager.io/Certificate"]) == ()
