"""The local control plane: real controllers move real objects, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.adapters.kubernetes.local import LocalControlPlane, LocalControlPlaneError, Options, ensure_binaries
from tests.cluster.kube import Json, Kube, await_true
from tests.cluster.objects import config_map, deployment, fresh_name, job, namespace

START_AND_PRINT = """
import os, signal
from controlplane.adapters.kubernetes.local import LocalControlPlane
with LocalControlPlane() as running:
    print(*running.pids.values(), running.kubeconfig, flush=True)
    signal.pause()
"""


@pytest.fixture(scope="session")
def admin(control_plane: LocalControlPlane) -> Kube:
    return Kube.from_kubeconfig(control_plane.kubeconfig)


@pytest.fixture
def home(admin: Kube) -> str:
    name = fresh_name("home")
    admin.make("/api/v1/namespaces", namespace(name))
    return name


def deployments(home: str) -> str:
    return f"/apis/apps/v1/namespaces/{home}/deployments"


def rolled_out(found: Json) -> bool:
    """The rule of `kubectl rollout status`."""
    status, wanted = found.get("status", {}), found["spec"]["replicas"]
    return bool(
        status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("replicas", 0) <= status.get("updatedReplicas", 0)
        and status.get("availableReplicas", 0) >= status.get("updatedReplicas", 0)
    )


def install(admin: Kube, home: str, body: Json) -> str:
    path = f"{deployments(home)}/{body['metadata']['name']}"
    admin.make(deployments(home), body)
    await_true(lambda: rolled_out(admin.read(path)), "the Deployment is rolled out")
    return path


def change_template(admin: Kube, path: str, image: str, annotations: dict[str, str]) -> None:
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "web", "image": image}]}}
    answer = admin.merge(path, {"spec": {"template": template}})
    assert answer.is_success, answer.text


def ready_of(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def test_a_deployment_rolls_out_and_takes_a_new_image(admin: Kube, home: str) -> None:
    path = install(admin, home, deployment("web", "registry.example/odoo:1", replicas=2))
    change_template(admin, path, "registry.example/odoo:2", {})
    await_true(lambda: rolled_out(admin.read(path)), "the new image is rolled out")
    pods = admin.read(f"/api/v1/namespaces/{home}/pods")["items"]
    assert {p["spec"]["containers"][0]["image"] for p in pods if ready_of(p)} == {"registry.example/odoo:2"}


def test_a_never_ready_pod_stays_in_crash_loop_while_the_old_pod_serves(admin: Kube, home: str) -> None:
    path = install(admin, home, deployment("web", "registry.example/odoo:1"))
    change_template(admin, path, "registry.example/odoo:2", {"seawall.test/fault": "never-ready"})
    pods = f"/api/v1/namespaces/{home}/pods"

    def waiting() -> list[str]:
        statuses = [s for p in admin.read(pods)["items"] for s in p["status"].get("containerStatuses", [])]
        return [s["state"]["waiting"]["reason"] for s in statuses if "waiting" in s["state"]]

    await_true(lambda: waiting() == ["CrashLoopBackOff"], "the new pod is in CrashLoopBackOff")
    found = {p["spec"]["containers"][0]["image"]: ready_of(p) for p in admin.read(pods)["items"]}
    assert found == {"registry.example/odoo:1": True, "registry.example/odoo:2": False}
    assert not rolled_out(admin.read(path))
    assert admin.read(path)["status"]["availableReplicas"] == 1


def test_a_slow_pod_is_ready_only_after_its_delay(admin: Kube, home: str) -> None:
    annotations = {"seawall.test/fault": "slow-start", "seawall.test/delay": "1500ms"}
    began = time.monotonic()
    install(admin, home, deployment("web", "registry.example/odoo:1", annotations))
    assert time.monotonic() - began >= 1.5


def test_a_pod_that_crashes_after_ready_takes_the_deployment_down_again(admin: Kube, home: str) -> None:
    annotations = {"seawall.test/fault": "crash-after-ready", "seawall.test/delay": "300ms"}
    path = install(admin, home, deployment("web", "registry.example/odoo:1", annotations))
    await_true(lambda: admin.read(path)["status"].get("unavailableReplicas") == 1, "the pod fell over")


@pytest.mark.parametrize(("fault", "outcome"), [(None, "Complete"), ("job-fails", "Failed")])
def test_a_job_ends_as_its_pod_does(admin: Kube, home: str, fault: str | None, outcome: str) -> None:
    jobs = f"/apis/batch/v1/namespaces/{home}/jobs"
    admin.make(jobs, job("migrate", {"seawall.test/fault": fault} if fault else {}))

    def conditions() -> set[str]:
        status = admin.read(f"{jobs}/migrate").get("status", {})
        return {c["type"] for c in status.get("conditions", []) if c["status"] == "True"}

    await_true(lambda: outcome in conditions(), f"the Job is {outcome}")


def test_a_network_policy_is_stored_and_nothing_more(admin: Kube, home: str) -> None:
    """Objects only: there is no network here, so no test on this cluster may claim that a packet was dropped."""
    policies = f"/apis/networking.k8s.io/v1/namespaces/{home}/networkpolicies"
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    body = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"}, "spec": spec}
    admin.make(policies, body)
    assert admin.read(f"{policies}/deny")["spec"] == spec


def test_pod_security_refuses_a_pod_that_the_namespace_forbids(admin: Kube, home: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    assert admin.merge(f"/api/v1/namespaces/{home}", {"metadata": {"labels": labels}}).is_success
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}}
    answer = admin.create(
        f"/api/v1/namespaces/{home}/pods", {**pod, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    )
    assert answer.status_code == 403
    assert "PodSecurity" in answer.text


def audit_events(control_plane: LocalControlPlane) -> list[Json]:
    return [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()]


def test_the_audit_log_carries_the_impersonated_extra_and_the_body(
    control_plane: LocalControlPlane, admin: Kube, home: str
) -> None:
    writer = admin.with_headers(
        {"Impersonate-User": "system:admin-of-test", "Impersonate-Extra-seawall.dev%2Fepoch": "7"}
    )
    name = fresh_name("audited")
    assert writer.create(f"/api/v1/namespaces/{home}/configmaps", config_map(name)).status_code == 403
    admin.make(f"/api/v1/namespaces/{home}/configmaps", config_map(name))

    def events() -> list[Json]:
        return [
            e for e in audit_events(control_plane) if e["objectRef"].get("namespace") == home and e["verb"] == "create"
        ]

    await_true(
        lambda: len([e for e in events() if e["objectRef"]["resource"] == "configmaps"]) == 2,
        "both writes are in the log",
    )
    refused, created = (e for e in events() if e["objectRef"]["resource"] == "configmaps")
    assert refused["impersonatedUser"]["extra"] == {"seawall.dev/epoch": ["7"]}
    assert refused["responseStatus"]["code"] == 403
    assert created["requestObject"]["data"] == {"key": "value"}


def test_the_api_server_restarts_on_its_port_and_loses_nothing(
    control_plane: LocalControlPlane, admin: Kube, home: str
) -> None:
    before = control_plane.server_url
    control_plane.restart_apiserver(kill=True)
    assert control_plane.server_url == before
    assert admin.read(f"/api/v1/namespaces/{home}")["metadata"]["name"] == home
    install(admin, home, deployment("web", "registry.example/odoo:1"))


def test_a_second_api_server_on_the_same_etcd_sees_the_same_objects(
    control_plane: LocalControlPlane, home: str
) -> None:
    second = control_plane.add_apiserver()
    try:
        other = Kube.from_kubeconfig(second.kubeconfig)
        assert other.read(f"/api/v1/namespaces/{home}")["metadata"]["name"] == home
    finally:
        second.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie has ended; only its parent has not looked yet


def test_after_stop_every_process_and_the_folder_are_gone() -> None:
    running = LocalControlPlane(Options(nodes=1)).start()
    pids, folder = list(running.pids.values()), running.kubeconfig.parent
    assert len(pids) == 5
    assert all(alive(pid) for pid in pids)
    running.stop()
    assert not any(alive(pid) for pid in pids)
    assert not folder.exists()
    with pytest.raises(LocalControlPlaneError):
        _ = running.kubeconfig


@pytest.mark.kill
def test_after_kill_9_of_the_owner_every_process_is_gone_and_the_next_run_removes_the_folder() -> None:
    ensure_binaries()
    owner = subprocess.Popen([sys.executable, "-c", START_AND_PRINT], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    *words, kubeconfig = owner.stdout.readline().split()
    pids, folder = [int(word) for word in words], Path(kubeconfig).parent
    assert len(pids) == 5
    assert all(alive(pid) for pid in pids)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    await_true(lambda: not any(alive(pid) for pid in pids), "all five ended with their owner", within=10)
    assert folder.exists()
    with LocalControlPlane(Options(nodes=1)):
        assert not folder.exists()


def test_a_program_that_ended_on_its_own_is_named_with_the_end_of_its_log() -> None:
    with LocalControlPlane(Options(nodes=1)) as running:
        running.check()
        os.kill(running.pids["kube-scheduler"], signal.SIGKILL)

        def told() -> bool:
            try:
                running.check()
            except LocalControlPlaneError as error:
                return "kube-scheduler ended with -9" in error.detail
            return False

        await_true(told, "the scheduler's end is told")


async def test_a_data_folder_keeps_the_cluster_across_runs(tmp_path: Path) -> None:
    options = Options(nodes=1, data_dir=tmp_path)
    async with LocalControlPlane(options) as first:
        uid = Kube.from_kubeconfig(first.kubeconfig).make("/api/v1/namespaces", namespace("kept"))["metadata"]["uid"]
    async with LocalControlPlane(options) as second:
        assert Kube.from_kubeconfig(second.kubeconfig).read("/api/v1/namespaces/kept")["metadata"]["uid"] == uid


def test_given_assets_that_lack_a_binary_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        LocalControlPlaneError, match="no kube-apiserver, kube-controller-manager, kube-scheduler, etcd, kwok"
    ):
        ensure_binaries({"KUBEBUILDER_ASSETS": str(tmp_path)})


def test_given_assets_are_used_as_they_are() -> None:
    built = ensure_binaries({key: value for key, value in os.environ.items() if key != "KUBEBUILDER_ASSETS"})
    assert ensure_binaries({"KUBEBUILDER_ASSETS": str(built)}) == built
