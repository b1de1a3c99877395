"""The fence on a real kube-apiserver: what the two admission policies refuse, and whom they leave alone.

Identities are production's: ServiceAccounts with tokens of their own that impersonate by RBAC, a tenant with the
role `edit`, and controllers under their own users. None is in `system:masters`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from controlplane.adapters.kubernetes.fence_policies import IMPERSONATE_EPOCH, fence_policies
from controlplane.adapters.kubernetes.local import LocalControlPlane
from tests.cluster.kube import Json, Kube, await_true
from tests.cluster.objects import config_map, deployment, fresh_name, namespace

SYSTEM = "seawall-system"
WORKER = f"system:serviceaccount:{SYSTEM}:seawall-worker"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
POLICIES = "/apis/admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class World:
    """A control plane with the policies acting; `at` writes as Seawall with an epoch."""

    admin: Kube
    worker: Kube
    kubeconfig: Path

    def at(self, epoch: int | None, user: str = WORKER) -> Kube:
        """The worker as `user`, carrying `epoch` if one is given."""
        return self.worker.with_headers(
            {"Impersonate-User": user, **({} if epoch is None else {IMPERSONATE_EPOCH: str(epoch)})}
        )

    def tenant(self, home: str) -> Kube:
        """A person of the tenant with the role `edit` in `home`."""
        user = f"owner-of-{home}"
        bind(
            self.admin, home, "tenant", "edit", {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
        )
        return self.admin.with_headers({"Impersonate-User": user})


def bind(admin: Kube, home: str, name: str, role: str, subject: Json) -> None:
    """Give `subject` a role in `home`, and wait until the API server's authorizer has heard of it."""
    role_ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name}}
    admin.make(f"{RBAC}/namespaces/{home}/rolebindings", {**body, "roleRef": role_ref, "subjects": [subject]})
    person = subject["name"] if subject["kind"] == "User" else f"system:serviceaccount:{home}:{subject['name']}"
    await_true(lambda: may_patch(admin, home, person), f"{person} has the role {role}")


def may_patch(admin: Kube, home: str, user: str) -> bool:
    """Whether the authorizer lets `user` change ConfigMaps in `home`."""
    asked = {"namespace": home, "verb": "patch", "resource": "configmaps"}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = admin.make(path, {**review, "spec": {"user": user, "resourceAttributes": asked}})
    return bool(answer["status"]["allowed"])


def service_account(admin: Kube, home: str, name: str) -> Json:
    admin.make(
        f"/api/v1/namespaces/{home}/serviceaccounts",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
    )
    return {"kind": "ServiceAccount", "namespace": home, "name": name}


def worker_token(admin: Kube) -> str:
    """A token of the worker's ServiceAccount, which may write everywhere and impersonate itself and all deployers."""
    admin.make("/api/v1/namespaces", namespace(SYSTEM))
    subject = service_account(admin, SYSTEM, "seawall-worker")
    rules = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {
            "apiGroups": ["authentication.k8s.io"],
            "resources": ["userextras/seawall.dev/epoch"],
            "verbs": ["impersonate"],
        },
    ]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "seawall-worker"}}
    admin.make(f"{RBAC}/clusterroles", {**role, "rules": rules})
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "seawall-worker"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "seawall-worker"},
        "subjects": [subject],
    }
    admin.make(f"{RBAC}/clusterrolebindings", binding)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
    answer = admin.make(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/seawall-worker/token", request)
    return str(answer["status"]["token"])


def install_policies(admin: Kube) -> None:
    for body in fence_policies():
        plural = body["kind"].replace("Policy", "Policies") if body["kind"].endswith("Policy") else f"{body['kind']}s"
        answer = admin.apply(f"{POLICIES}/{plural.lower()}/{body['metadata']['name']}", body)
        assert answer.is_success, answer.text


@pytest.fixture(scope="module")
def own_control_plane() -> Iterator[LocalControlPlane]:
    """Its own, so that the policies change nothing for other tests, and it can have a second API server."""
    with LocalControlPlane() as running:
        yield running


@pytest.fixture(scope="module")
def world(own_control_plane: LocalControlPlane) -> World:
    admin = Kube.from_kubeconfig(own_control_plane.kubeconfig)
    token = worker_token(admin)
    install_policies(admin)
    found = World(admin, Kube.with_token(own_control_plane.kubeconfig, token), own_control_plane.kubeconfig)
    probe = make_home(found, epoch=5)
    stale = f"/api/v1/namespaces/{probe}/configmaps"
    await_true(lambda: found.at(1).create(stale, config_map(fresh_name("probe"))).status_code == 403, "the fence acts")
    marked = config_map("probe")
    marked["metadata"]["labels"] = {"seawall.dev/managed": "true"}
    dry = f"{stale}?dryRun=All"
    await_true(lambda: found.admin.create(dry, marked).status_code == 403, "the marks are guarded")
    return found


def make_home(world: World, epoch: int) -> str:
    name = fresh_name("home")
    fenced = namespace(name, {"seawall.dev/fenced": "true"}, {"seawall.dev/epoch": str(epoch)})
    answer = world.at(epoch).create("/api/v1/namespaces", fenced)
    assert answer.is_success, answer.text
    return name


@pytest.fixture
def home(world: World) -> str:
    """A namespace sealed with epoch 5, with a Deployment and a ConfigMap in it."""
    name = make_home(world, epoch=5)
    for path, body in (
        (deployments(name), deployment("web", "registry.example/odoo:1")),
        (configs(name), config_map("kept")),
    ):
        assert world.at(5).create(path, body).is_success
    return name


def deployments(home: str) -> str:
    return f"/apis/apps/v1/namespaces/{home}/deployments"


def configs(home: str) -> str:
    return f"/api/v1/namespaces/{home}/configmaps"


def seal(epoch: int | str) -> Json:
    return {"metadata": {"annotations": {"seawall.dev/epoch": str(epoch)}}}


def preconditions(kube: Kube, path: str) -> Json:
    metadata = kube.read(path)["metadata"]
    return {"preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}}


def assert_refused(answer: httpx.Response, because: str) -> None:
    assert answer.status_code == 403, answer.text
    assert because in answer.json()["message"]


def test_a_stale_create_update_and_scale_are_refused(world: World, home: str) -> None:
    stale = world.at(4)
    assert_refused(stale.create(configs(home), config_map("new")), "sealed with 5")
    assert_refused(stale.merge(f"{deployments(home)}/web", {"spec": {"replicas": 3}}), "sealed with 5")
    assert_refused(stale.apply(f"{configs(home)}/applied", config_map("applied")), "sealed with 5")
    assert_refused(stale.merge(f"{deployments(home)}/web/scale", {"spec": {"replicas": 3}}), "sealed with 5")
    assert world.at(5).merge(f"{deployments(home)}/web/scale", {"spec": {"replicas": 2}}).is_success


def test_a_stale_delete_is_refused_even_with_preconditions(world: World, home: str) -> None:
    path = f"{configs(home)}/kept"
    assert_refused(world.at(4).delete(path, preconditions(world.admin, path)), "sealed with 5")
    assert world.at(5).delete(path, preconditions(world.admin, path)).is_success


def test_a_delete_without_preconditions_is_refused_at_any_epoch(world: World, home: str) -> None:
    path = f"{configs(home)}/kept"
    uid_only = {"preconditions": {"uid": world.admin.read(path)["metadata"]["uid"]}}
    for options in (None, {}, uid_only):
        assert_refused(world.at(9).delete(path, options), "uid and resourceVersion")


def test_a_stale_deletion_of_a_whole_collection_is_refused(world: World, home: str) -> None:
    assert_refused(world.at(4).delete(configs(home)), "sealed with 5")
    assert world.admin.get(f"{configs(home)}/kept").is_success


def test_a_stale_deletion_of_the_namespace_is_refused(world: World, home: str) -> None:
    path = f"/api/v1/namespaces/{home}"
    assert_refused(world.at(4).delete(path, preconditions(world.admin, path)), "sealed with 5")
    assert_refused(world.at(5).delete(path), "uid and resourceVersion")
    assert world.at(5).delete(path, preconditions(world.admin, path)).is_success


def test_a_write_without_an_epoch_is_refused(world: World, home: str) -> None:
    assert_refused(world.at(None).create(configs(home), config_map("new")), "no epoch")
    assert_refused(world.worker.create(configs(home), config_map("new")), "no epoch")


def test_an_epoch_that_is_not_a_number_is_refused(world: World, home: str) -> None:
    writer = world.at(None).with_headers({IMPERSONATE_EPOCH: "many"})
    assert writer.create(configs(home), config_map("new")).status_code in {403, 422}


def test_the_fence_rises_to_the_writers_epoch_and_never_falls(world: World, home: str) -> None:
    path = f"/api/v1/namespaces/{home}"
    assert world.at(7).merge(path, seal(7)).is_success
    assert_refused(world.at(5).merge(path, seal(5)), "sealed with 7")
    assert_refused(world.at(8).merge(path, seal(6)), "may only be set to the epoch of the writer")
    assert_refused(world.at(8).merge(path, seal(9_000_000)), "may only be set to the epoch of the writer")
    assert_refused(
        world.at(8).merge(path, {"metadata": {"annotations": {"seawall.dev/epoch": None}}}), "may only be set"
    )
    assert world.admin.read(path)["metadata"]["annotations"]["seawall.dev/epoch"] == "7"


def test_a_stale_writer_cannot_take_the_fence_off_with_its_label(world: World, home: str) -> None:
    off = {"metadata": {"labels": {"seawall.dev/fenced": None}}}
    assert_refused(world.at(4).merge(f"/api/v1/namespaces/{home}", off), "sealed with 5")


def test_epochs_beyond_32_bits_compare_as_numbers(world: World, home: str) -> None:
    high = 3 * 2**40
    assert world.at(high).merge(f"/api/v1/namespaces/{home}", seal(high)).is_success
    await_true(
        lambda: world.at(high - 1).create(f"{configs(home)}?dryRun=All", config_map("a")).status_code == 403, "sealed"
    )
    assert world.at(high).create(configs(home), config_map("a")).is_success


def test_the_deployer_of_the_namespace_is_fenced_like_the_worker(world: World, home: str) -> None:
    deployer = service_account_of(world, home)
    assert_refused(world.at(4, deployer).create(configs(home), config_map("new")), "sealed with 5")
    assert world.at(5, deployer).create(configs(home), config_map("new")).is_success


def service_account_of(world: World, home: str) -> str:
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "seawall-deployer"}}
    assert world.at(5).create(f"/api/v1/namespaces/{home}/serviceaccounts", body).is_success
    subject = {"kind": "ServiceAccount", "namespace": home, "name": "seawall-deployer"}
    bind(
        world.worker.with_headers({"Impersonate-User": WORKER, IMPERSONATE_EPOCH: "5"}),
        home,
        "deployer",
        "edit",
        subject,
    )
    return f"system:serviceaccount:{home}:seawall-deployer"


def test_a_namespace_without_the_fence_stays_as_it_was(world: World) -> None:
    name = fresh_name("open")
    world.admin.make("/api/v1/namespaces", namespace(name))
    assert world.worker.create(configs(name), config_map("new")).is_success


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_a_tenant_with_role_edit_cannot_set_change_or_remove_marks(world: World, home: str, field: str) -> None:
    marked = config_map("marked")
    marked["metadata"][field] = {"seawall.dev/step": "1"}
    assert world.at(5).create(configs(home), marked).is_success
    tenant, path = world.tenant(home), f"{configs(home)}/marked"
    for value in ("2", None):
        assert_refused(
            tenant.merge(path, {"metadata": {field: {"seawall.dev/step": value}}}), "only Seawall may change"
        )
    forged = config_map("forged")
    forged["metadata"][field] = {"seawall.dev/managed": "true"}
    assert_refused(tenant.create(configs(home), forged), "only Seawall may change")
    assert tenant.merge(path, {"data": {"key": "theirs"}, "metadata": {field: {"example.com/own": "1"}}}).is_success


def test_nobody_else_moves_the_fence_not_even_an_administrator(world: World, home: str) -> None:
    assert_refused(world.admin.merge(f"/api/v1/namespaces/{home}", seal(2**63 - 1)), "only Seawall may change")


def disguised_tenant(world: World, home: str) -> Kube:
    """A ServiceAccount of the tenant with the role `edit`, which may impersonate any ServiceAccount beside it."""
    bind(world.admin, home, "mallory", "edit", service_account(world.admin, home, "mallory"))
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = world.admin.make(f"/api/v1/namespaces/{home}/serviceaccounts/mallory/token", request)
    mallory = Kube.with_token(world.kubeconfig, answer["status"]["token"])
    return mallory.with_headers({"Impersonate-User": f"system:serviceaccount:{home}:seawall-deployer"})


def test_a_tenant_that_impersonates_its_deployer_gets_no_further(world: World, home: str) -> None:
    """The role `edit` may impersonate the namespace's ServiceAccounts, but not add the extra that carries the epoch."""
    service_account_of(world, home)
    disguised = disguised_tenant(world, home)
    assert_refused(disguised.create(configs(home), config_map("new")), "no epoch")
    with_epoch = disguised.with_headers({IMPERSONATE_EPOCH: "99"})
    assert_refused(with_epoch.create(configs(home), config_map("new")), "userextras")


def test_a_tenant_that_impersonates_a_deployer_cannot_mark_objects_where_there_is_no_fence(world: World) -> None:
    home = fresh_name("open")
    world.admin.make("/api/v1/namespaces", namespace(home))
    bind(world.admin, home, "deployer", "edit", service_account(world.admin, home, "seawall-deployer"))
    disguised, forged = disguised_tenant(world, home), config_map("forged")
    forged["metadata"]["labels"] = {"seawall.dev/managed": "true"}
    assert_refused(disguised.create(configs(home), forged), "only Seawall may change")
    assert disguised.create(configs(home), config_map("own")).is_success


def test_the_controllers_work_on_marked_objects_as_before(world: World, home: str) -> None:
    """They copy a Deployment's marks to its ReplicaSet, and a Service's to its EndpointSlice."""
    body = deployment("marked", "registry.example/odoo:1")
    body["metadata"]["annotations"] = {"seawall.dev/step": "1"}
    body["metadata"]["labels"] = {"seawall.dev/managed": "true"}
    assert world.at(5).create(deployments(home), body).is_success
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "marked", "labels": {"seawall.dev/managed": "true"}},
        "spec": {"selector": {"app": "marked"}, "ports": [{"port": 80}]},
    }
    assert world.at(5).create(f"/api/v1/namespaces/{home}/services", service).is_success
    path = f"{deployments(home)}/marked"
    await_true(lambda: world.admin.read(path).get("status", {}).get("availableReplicas") == 1, "rolled out")
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{home}/endpointslices?labelSelector=seawall.dev/managed=true"
    await_true(lambda: any(found["endpoints"] for found in world.admin.read(slices)["items"]), "the slice has the pod")
    second = {"metadata": {"annotations": {"seawall.dev/step": "2"}}, "spec": {"replicas": 2}}
    assert world.at(5).merge(path, second).is_success
    await_true(lambda: world.admin.read(path)["status"].get("availableReplicas") == 2, "scaled with a new mark")


def test_the_controllers_finish_the_deletion_of_a_fenced_namespace(world: World, home: str) -> None:
    path = f"/api/v1/namespaces/{home}"
    assert world.at(5).delete(path, preconditions(world.admin, path)).is_success
    await_true(lambda: world.admin.get(path).status_code == 404, "the namespace is gone")


def test_a_fence_raised_on_one_api_server_holds_on_another_within_a_second(
    world: World, home: str, own_control_plane: LocalControlPlane
) -> None:
    second = own_control_plane.add_apiserver()
    try:
        token = world.worker.token
        stale = Kube.with_token(second.kubeconfig, token).with_headers(
            {"Impersonate-User": WORKER, IMPERSONATE_EPOCH: "5"}
        )
        assert stale.create(configs(home), config_map("before")).is_success
        assert world.at(6).merge(f"/api/v1/namespaces/{home}", seal(6)).is_success
        sealed = time.monotonic()
        let_through = [
            time.monotonic() - sealed for n in range(200) if stale.create(configs(home), config_map(f"n{n}")).is_success
        ]
        assert time.monotonic() - sealed < 60
        assert [moment for moment in let_through if moment > 1] == []
        assert_refused(stale.create(configs(home), config_map("after")), "sealed with 6")
    finally:
        second.stop()
