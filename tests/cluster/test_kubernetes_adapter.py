"""The Kubernetes adapter beyond the contract: causes of refusals, rights, the proof of the fence, the audit trail."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from controlplane.adapters.kubernetes.cluster import KubernetesCluster
from controlplane.adapters.kubernetes.fence_policies import FENCE_POLICY, MARKS_POLICY
from controlplane.adapters.kubernetes.identities import PROBE_NAMESPACE, SYSTEM_NAMESPACE, WORKER_NAME
from controlplane.adapters.kubernetes.install import administrator_objects, object_path
from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.domain.errors import DependencyError
from controlplane.domain.health import Expected, Health, judge_workload
from controlplane.domain.names import STEP_ANNOTATION
from controlplane.ports.clusters import FencedError, ObjectRef, RejectedError
from tests.contract.fleets import (
    changed_copy,
    config_map,
    deployment,
    fence,
    fenced,
    fresh_name,
    notes,
    sealed_namespace,
    state,
    unmarked,
    until,
    until_read,
)
from tests.contract.kubernetes_fleet import KubernetesFleet, kubernetes_fleet
from tests.support.audit_log import Write, by_seawall, read_audit_log

_BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


@pytest.fixture(scope="module")
async def fleet(control_plane: LocalControlPlane) -> AsyncIterator[KubernetesFleet]:
    async with kubernetes_fleet(control_plane.kubeconfig) as made:
        yield made


async def test_the_server_tells_its_version(fleet: KubernetesFleet) -> None:
    assert (await fleet.cluster.version()).startswith("v1.")


async def test_a_field_taken_from_an_autoscaler_is_recorded(fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, deployment(replicas=1), fence())
    path = f"/apis/apps/v1/namespaces/{home.name}/deployments/web/scale?fieldManager=autoscaler"
    answer = await asyncio.to_thread(fleet.admin.merge, path, {"spec": {"replicas": 4}})
    assert answer.is_success, answer.text
    applied = await fleet.cluster.apply(home.name, deployment(replicas=1), fence())
    assert dict(applied.taken_from) == {"spec.replicas": "autoscaler"}


async def test_a_shared_field_that_is_left_out_keeps_its_value(fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    await fleet.cluster.apply(home.name, deployment(replicas=None), fence())
    scale = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    await fleet.write(home.name, scale, manager="autoscaler")
    applied = await fleet.cluster.apply(home.name, deployment(replicas=None), fence())
    seen = await fleet.cluster.get(home.name, applied.ref)
    assert seen is not None
    assert seen["spec"]["replicas"] == 3
    assert not applied.taken_from


async def test_pods_that_pod_security_refuses_make_the_workload_unhealthy(fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)

    def privileged(manifest: dict[str, dict[str, dict[str, dict[str, object]]]]) -> None:
        manifest["spec"]["template"]["spec"]["hostNetwork"] = True

    applied = await fleet.cluster.apply(home.name, changed_copy(deployment(), privileged), fence())
    expected = Expected("Deployment", "web", applied.ref.uid, applied.generation)

    def unhealthy() -> bool:
        return judge_workload(expected, state(fleet, home.name)).health is Health.UNHEALTHY

    await until(unhealthy)
    assert "PodSecurity" in judge_workload(expected, state(fleet, home.name)).reason


async def test_a_deployer_writes_only_what_its_role_allows(fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    network = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "open", "labels": {"seawall.dev/managed": "true"}},
        "spec": {"podSelector": {}},
    }
    with pytest.raises(RejectedError, match="seawall-deployer") as refused:
        await fleet.cluster.apply(home.name, network, fence())
    assert refused.value.code == "not-permitted"
    assert (await fleet.cluster.apply(home.name, network, fence(), "platform")).changed


async def test_a_deployer_has_no_rights_in_another_tenants_namespace(fleet: KubernetesFleet) -> None:
    bare = fresh_name()
    made = await fleet.cluster.create_namespace(bare, {}, notes())
    await fleet.cluster.seal(bare, made.uid, fence())
    with pytest.raises(RejectedError) as refused:
        await fleet.cluster.apply(bare, config_map(), fence())
    assert refused.value.code == "not-permitted"


async def test_a_kind_that_the_cluster_does_not_know_is_rejected(fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    imagined = {"apiVersion": "example.com/v1", "kind": "Imagined", "metadata": {"name": "x"}}
    with pytest.raises(RejectedError, match="knows no namespaced kind Imagined"):
        await fleet.cluster.apply(home.name, imagined, fence())


async def test_a_kind_outside_the_table_is_found_by_discovery(fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{home.name}/leases"
    made = await asyncio.to_thread(fleet.admin.create, path, lease)
    assert made.is_success
    with pytest.raises(RejectedError, match="leases") as refused:
        await fleet.cluster.get(home.name, ObjectRef("coordination.k8s.io/v1", "Lease", "l"))
    assert refused.value.code == "not-permitted"


async def test_values_of_secrets_are_never_read(fleet: KubernetesFleet) -> None:
    home = await sealed_namespace(fleet)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "hunter2"}}
    made = await asyncio.to_thread(fleet.admin.create, f"/api/v1/namespaces/{home.name}/secrets", secret)
    assert made.is_success
    one = await fleet.cluster.get(home.name, ObjectRef("v1", "Secret", "s"))
    listed = await fleet.cluster.list_objects(home.name, [("v1", "Secret")])
    assert one is not None
    assert "data" not in one
    assert [(found["kind"], found["metadata"]["name"]) for found in listed] == [("Secret", "s")]
    assert "data" not in listed[0]


@pytest.mark.parametrize(
    ("binding", "policy"), [(f"{FENCE_POLICY}-objects", FENCE_POLICY), (f"{MARKS_POLICY}-all", MARKS_POLICY)]
)
async def test_a_cluster_without_a_policy_in_force_is_not_proven(
    fleet: KubernetesFleet, binding: str, policy: str
) -> None:
    await fleet.cluster.prove_fence()
    answer = await asyncio.to_thread(fleet.admin.delete, f"{_BINDINGS}/{binding}")
    assert answer.is_success, answer.text

    async def unproven() -> str:
        try:
            await fleet.cluster.prove_fence()
        except DependencyError as error:
            return f"{error.code}: {error.detail}"
        return ""

    told = await until_read(unproven)
    assert told.startswith("fence-unproven: ")
    assert policy in told
    await fleet.cluster.install()
    await fleet.cluster.prove_fence()


async def test_the_worker_with_its_own_token_does_its_work_but_can_not_install(
    fleet: KubernetesFleet, control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    """As in production: the worker's ServiceAccount, which impersonates itself and deployers by its role."""
    worker = await KubernetesCluster.connect("as-worker", await worker_kubeconfig(fleet, control_plane, tmp_path))
    try:
        await worker.start()
        await until(worker.live)
        await worker.prove_fence()
        home = await sealed_namespace(KubernetesFleet(worker, fleet.admin))
        applied = await worker.apply(home.name, deployment(), fence())
        expected = Expected("Deployment", "web", applied.ref.uid, applied.generation)
        key = ("Deployment", "web")
        await until(lambda: judge_workload(expected, worker.workloads(home.name).get(key)).health is Health.HEALTHY)
        assert await worker.delete(home.name, applied.ref, fence())
        assert await worker.delete_namespace(home.name, home.uid, fence())
        with pytest.raises(RejectedError) as refused:
            await worker.install()
        assert refused.value.code == "not-permitted"
        assert fleet.cluster.live()
    finally:
        await worker.close()


async def test_a_worker_completes_what_an_administrator_installed_without_seawalls_marks(
    fleet: KubernetesFleet, control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    """As a chart leaves a cluster: rights and policies are there, the seal of the probe and the heartbeats are not."""
    await fleet.remove("", "Namespace", PROBE_NAMESPACE)
    home = f"/api/v1/namespaces/{PROBE_NAMESPACE}"

    async def left() -> bool:
        return (await asyncio.to_thread(fleet.admin.get, home)).status_code == 404

    await until_read(left)
    beat = f"/apis/apps/v1/namespaces/{SYSTEM_NAMESPACE}/deployments/seawall-heartbeat"
    assert (await asyncio.to_thread(fleet.admin.delete, beat)).is_success
    worker = await KubernetesCluster.connect("completes", await worker_kubeconfig(fleet, control_plane, tmp_path))
    try:
        await worker.start()
        with pytest.raises(DependencyError, match="not installed") as refused:
            await worker.prove_fence()
        assert refused.value.code == "fence-unproven"
        for manifest in administrator_objects():
            answer = await asyncio.to_thread(fleet.admin.apply, object_path(manifest), manifest)
            assert answer.is_success, answer.text

        async def proven() -> bool:
            try:
                await worker.prove_fence()
            except DependencyError:
                return False
            return True

        await until_read(proven)
        await until(worker.live)
    finally:
        await worker.close()


async def worker_kubeconfig(fleet: KubernetesFleet, control_plane: LocalControlPlane, folder: Path) -> Path:
    """A kubeconfig with a token of the worker's ServiceAccount."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{WORKER_NAME}/token"
    answer = await asyncio.to_thread(fleet.admin.create, path, request)
    assert answer.is_success, answer.text
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": answer.json()["status"]["token"]}
    made = folder / "worker.kubeconfig"
    made.write_text(yaml.safe_dump(config))
    return made


async def test_the_command_that_prepares_a_cluster_says_what_it_found(control_plane: LocalControlPlane) -> None:
    command = [sys.executable, "-m", "controlplane.adapters.kubernetes", "--kubeconfig", str(control_plane.kubeconfig)]
    done = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, errors = await done.communicate()
    assert (done.returncode, errors) == (0, b"")
    assert b"is installed and refuses probes" in out
    wrong = await asyncio.create_subprocess_exec(*command, "--prove", "--context", "nowhere", stdout=PIPE, stderr=PIPE)
    _, told = await wrong.communicate()
    assert wrong.returncode == 1
    assert told.startswith(b"cluster-misconfigured: ")
    assert b"Traceback" not in told


async def test_the_audit_log_shows_each_write_with_its_epoch_and_that_stale_ones_changed_nothing(
    fleet: KubernetesFleet, control_plane: LocalControlPlane
) -> None:
    home = await sealed_namespace(fleet, epoch=3)
    await fleet.cluster.apply(home.name, config_map("probe"), fence(3))  # sent until the deployer's rights have settled
    wanted = config_map(a="1")
    wanted["metadata"]["annotations"] = {STEP_ANNOTATION: "step-9"}
    for _ in range(2):
        await fleet.cluster.apply(home.name, wanted, fence(3))
    await fleet.cluster.seal(home.name, home.uid, fence(4))
    await until_read(lambda: fenced(fleet, home.name, epoch=3))
    with pytest.raises(FencedError):
        await fleet.cluster.apply(home.name, config_map(a="stale"), fence(3))
    await fleet.write(home.name, unmarked(config_map(b="theirs")), "kubectl")

    def settings() -> list[Write]:
        found = [one for one in read_audit_log(control_plane.audit_log) if one.namespace == home.name]
        return [one for one in found if one.name == "settings"]

    await until(lambda: len(settings()) == 4)
    applied, again, stale, theirs = settings()
    deployer = f"system:serviceaccount:{home.name}:seawall-deployer"
    assert [(one.user, one.epoch, one.changed) for one in (applied, again, stale)] == [
        (deployer, 3, True),
        (deployer, 3, False),
        (deployer, 3, False),
    ]
    assert (applied.step, applied.code, stale.code, stale.accepted) == ("step-9", 201, 403, False)
    assert (theirs.epoch, theirs.changed) == (None, True)
    assert by_seawall(settings()) == [applied, again, stale]
    seals = [one for one in read_audit_log(control_plane.audit_log) if one.resource == "namespaces"]
    assert [one.epoch for one in seals if one.name == home.name and one.verb == "patch"] == [3, 4]
