from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from controlplane.domain.errors import InvalidError
from controlplane.domain.manifests import Manifest, MigrateJob, Rendered
from controlplane.domain.walls import WallFinding, WallRules, check_walls, refuse_crossings

IMAGE = "acme.azurecr.io/odoo@sha256:" + "1b7e" * 16
RULES = WallRules("acme-fr")


def deployment() -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "acme-fr"},
        "spec": {
            "template": {
                "metadata": {"annotations": {"seawall.test/fault": "never-ready"}},
                "spec": {
                    "serviceAccountName": "web",
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "initContainers": [{"name": "init", "image": IMAGE}],
                    "containers": [
                        {
                            "name": "web",
                            "image": IMAGE,
                            "ports": [{"containerPort": 8069}],
                            "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
                        }
                    ],
                },
            }
        },
    }


def plain(kind: str, api: str = "v1", **more: Any) -> Manifest:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": "acme-fr"}} | more


def at(manifest: Manifest, path: str, value: object) -> Manifest:
    changed = deepcopy(manifest)
    *parents, last = path.strip("/").split("/")
    node: Any = changed
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part.replace("~1", "/"), {})
    node[last.replace("~1", "/")] = value
    return changed


def findings(*objects: Manifest, rules: WallRules = RULES) -> list[WallFinding]:
    return check_walls(Rendered(objects=objects), rules)


def test_an_ordinary_workload_crosses_no_wall() -> None:
    assert (
        findings(deployment(), plain("Service", spec={"type": "ClusterIP"}), plain("ConfigMap"), plain("Secret")) == []
    )


POD = "/spec/template/spec"


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (f"{POD}/hostNetwork", True, "host-access"),
        (f"{POD}/hostPID", True, "host-access"),
        (f"{POD}/hostIPC", True, "host-access"),
        (f"{POD}/nodeName", "node-1", "host-access"),
        (f"{POD}/priorityClassName", "system-node-critical", "host-access"),
        (f"{POD}/containers/0/ports/0/hostPort", 80, "host-access"),
        (f"{POD}/containers/0/securityContext/privileged", True, "host-access"),
        (f"{POD}/containers/0/securityContext/allowPrivilegeEscalation", True, "host-access"),
        (f"{POD}/containers/0/securityContext/procMount", "Unmasked", "host-access"),
        (f"{POD}/securityContext/sysctls", [{"name": "a", "value": "b"}], "host-access"),
        (f"{POD}/containers/0/securityContext/windowsOptions/hostProcess", "true", "host-access"),
        (f"{POD}/containers/0/readinessProbe/httpGet/host", "10.0.0.1", "host-access"),
        (f"{POD}/containers/0/lifecycle/preStop/tcpSocket/host", "169.254.169.254", "host-access"),
        (f"{POD}/containers/0/image", "odoo:17", "image-not-pinned"),
        (f"{POD}/initContainers/0/image", "odoo", "image-not-pinned"),
        (f"{POD}/serviceAccountName", "seawall-deployer", "reserved-account"),
        ("/metadata/namespace", "globex-de", "foreign-namespace"),
        ("/metadata/labels/seawall.dev~1managed", "true", "own-mark"),
        ("/metadata/annotations/seawall.dev~1epoch", "9", "own-mark"),
        ("/metadata/labels/x.seawall.dev~1y", "9", "own-mark"),
        ("/metadata/ownerReferences", [{"kind": "Deployment"}], "owner-or-finalizer"),
        ("/metadata/finalizers", ["x/y"], "owner-or-finalizer"),
    ],
)
def test_a_workload_changed_in_one_place_is_found_there_and_only_there(path: str, value: Any, code: str) -> None:
    (found,) = findings(at(deployment(), path, value))
    assert (found.code, found.pointer) == (code, path)
    assert str(found.key) == "Deployment/web"


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (f"{POD}/volumes", [{"name": "v", "hostPath": {"path": "/"}}], f"{POD}/volumes/0/hostPath"),
        (f"{POD}/volumes", [{"name": "v", "nfs": {}}], f"{POD}/volumes/0/nfs"),
        (
            f"{POD}/containers/0/securityContext/capabilities",
            {"add": ["SYS_ADMIN"]},
            f"{POD}/containers/0/securityContext/capabilities/add",
        ),
        (f"{POD}/containers/0/securityContext/runAsUser", 0, f"{POD}/containers/0/securityContext"),
        (f"{POD}/securityContext/runAsNonRoot", False, f"{POD}/securityContext"),
        (
            f"{POD}/securityContext/seccompProfile",
            {"type": "Unconfined"},
            f"{POD}/securityContext/seccompProfile",
        ),
    ],
)
def test_host_access_is_found_also_where_it_is_written_otherwise(path: str, value: Any, pointer: str) -> None:
    (found,) = findings(at(deployment(), path, value))
    assert (found.code, found.pointer) == ("host-access", pointer)


def test_a_mark_of_ours_on_a_pod_template_is_found() -> None:
    (found,) = findings(at(deployment(), "/spec/template/metadata/labels/seawall.dev~1tenant", "globex"))
    assert found.code == "own-mark"


def test_the_pod_of_a_cron_job_and_of_a_migration_are_judged_too() -> None:
    template = at(deployment(), f"{POD}/hostPID", "true")["spec"]["template"]
    cron = plain("CronJob", "batch/v1", spec={"jobTemplate": {"spec": {"template": template}}})
    (found,) = findings(cron)
    assert found.pointer == "/spec/jobTemplate/spec/template/spec/hostPID"
    job = MigrateJob(manifest=plain("Job", "batch/v1", spec={"template": template}), on_install=True, on_upgrade=True)
    (found,) = check_walls(Rendered(jobs=(job,)), RULES)
    assert str(found.key) == "Job/x"


@pytest.mark.parametrize(
    ("kind", "api", "code"),
    [
        ("ClusterRole", "rbac.authorization.k8s.io/v1", "cluster-scoped"),
        ("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "cluster-scoped"),
        ("CustomResourceDefinition", "apiextensions.k8s.io/v1", "cluster-scoped"),
        ("Namespace", "v1", "cluster-scoped"),
        ("PersistentVolume", "v1", "cluster-scoped"),
        ("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1", "cluster-scoped"),
        ("ValidatingAdmissionPolicy", "admissionregistration.k8s.io/v1", "cluster-scoped"),
        ("ResourceQuota", "v1", "wall-object"),
        ("LimitRange", "v1", "wall-object"),
        ("NetworkPolicy", "networking.k8s.io/v1", "wall-object"),
        ("DaemonSet", "apps/v1", "unknown-kind"),
        ("Endpoints", "v1", "unknown-kind"),
        ("Deployment", "example.com/v1", "unknown-kind"),
        ("Certificate", "cert-manager.io/v1", "unknown-kind"),
    ],
)
def test_a_kind_that_is_not_the_tenants_is_refused(kind: str, api: str, code: str) -> None:
    (found,) = findings(plain(kind, api))
    assert (found.code, found.pointer) == (code, "/kind")


def test_a_custom_resource_is_allowed_only_by_its_group_and_kind() -> None:
    rules = WallRules("acme-fr", frozenset({"cert-manager.io/Certificate"}))
    assert findings(plain("Certificate", "cert-manager.io/v1"), rules=rules) == []
    assert findings(plain("Certificate", "evil.io/v1"), rules=rules)[0].code == "unknown-kind"


def test_allowing_a_custom_resource_never_allows_a_cluster_scoped_kind_of_the_walls() -> None:
    rules = WallRules("acme-fr", frozenset({"/Namespace", "rbac.authorization.k8s.io/ClusterRole"}))
    assert findings(plain("Namespace"), rules=rules)[0].code == "cluster-scoped"


@pytest.mark.parametrize(
    ("secret", "pointer"),
    [
        ({"data": {"a": "eA=="}}, "/data"),
        ({"stringData": {"a": "x"}}, "/stringData"),
        ({"type": "kubernetes.io/tls"}, "/type"),
    ],
)
def test_secret_data_is_refused(secret: dict[str, Any], pointer: str) -> None:
    (found,) = findings(plain("Secret", **secret))
    assert (found.code, found.pointer) == ("chart-has-secret", pointer)


@pytest.mark.parametrize(
    "spec", [{"type": "NodePort"}, {"type": "LoadBalancer"}, {"type": "ExternalName"}, {"externalIPs": ["1.2.3.4"]}]
)
def test_a_service_around_the_ingress_is_refused(spec: dict[str, Any]) -> None:
    assert [f.code for f in findings(plain("Service", spec=spec))] == ["host-access"]


RBAC = "rbac.authorization.k8s.io/v1"


@pytest.mark.parametrize(
    "rule",
    [
        {"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["patch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["delete"]},
        {"apiGroups": ["seawall.dev"], "resources": ["tenants"], "verbs": ["get"]},
        {"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["*"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["*/scale"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["get"]},
    ],
)
def test_a_role_with_rights_on_the_walls_is_refused(rule: dict[str, Any]) -> None:
    harmless = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "watch"]}
    (found,) = findings(plain("Role", RBAC, rules=[harmless, rule]))
    assert (found.code, found.pointer) == ("role-too-wide", "/rules/1")


@pytest.mark.parametrize(
    ("ref", "subject", "code"),
    [
        ({"kind": "ClusterRole", "name": "admin"}, {"kind": "ServiceAccount", "name": "web"}, "role-too-wide"),
        ({"kind": "Role", "name": "seawall-deployer"}, {"kind": "ServiceAccount", "name": "web"}, "role-too-wide"),
        ({"kind": "Role", "name": "own"}, {"kind": "User", "name": "eve"}, "role-too-wide"),
        ({"kind": "Role", "name": "own"}, {"kind": "Group", "name": "system:authenticated"}, "role-too-wide"),
        ({"kind": "Role", "name": "own"}, {"kind": "ServiceAccount", "name": "seawall-deployer"}, "reserved-account"),
        (
            {"kind": "Role", "name": "own"},
            {"kind": "ServiceAccount", "name": "web", "namespace": "globex-de"},
            "foreign-namespace",
        ),
    ],
)
def test_a_binding_that_reaches_beyond_the_release_is_refused(ref: Any, subject: Any, code: str) -> None:
    assert [f.code for f in findings(plain("RoleBinding", RBAC, roleRef=ref, subjects=[subject]))] == [code]


def test_a_role_bound_to_the_releases_own_account_crosses_no_wall() -> None:
    binding = plain(
        "RoleBinding",
        RBAC,
        roleRef={"kind": "Role", "name": "own"},
        subjects=[{"kind": "ServiceAccount", "name": "web", "namespace": "acme-fr"}],
    )
    assert findings(binding, plain("ServiceAccount")) == []


@pytest.mark.parametrize(
    ("kind", "api", "name", "code"),
    [
        ("ServiceAccount", "v1", "seawall-deployer", "reserved-name"),
        ("ServiceAccount", "v1", "default", "reserved-account"),
        ("ServiceAccount", "v1", "app", "reserved-account"),
        ("Role", "rbac.authorization.k8s.io/v1", "seawall-deployer", "reserved-name"),
        ("ConfigMap", "v1", "seawall-heartbeat", "reserved-name"),
        ("ConfigMap", "v1", "seawall", "reserved-name"),
    ],
)
def test_what_carries_a_name_of_ours_is_not_the_releases_to_define(kind: str, api: str, name: str, code: str) -> None:
    item = plain(kind, api)
    item["metadata"]["name"] = name
    assert [f.code for f in findings(item)] == [code]


@pytest.mark.parametrize("where", ["claim", "template"])
def test_a_claim_on_a_volume_or_a_copy_of_somebody_else_is_refused(where: str) -> None:
    spec = {"volumeName": "pv-1", "dataSourceRef": {"kind": "VolumeSnapshot", "name": "s", "namespace": "globex-de"}}
    claim = plain("PersistentVolumeClaim", spec=spec)
    at = ""
    if where == "template":
        claim = plain("StatefulSet", "apps/v1", spec={"volumeClaimTemplates": [{"spec": spec}]})
        at = "/spec/volumeClaimTemplates/0"
    assert [(f.code, f.pointer) for f in findings(claim)] == [
        ("host-access", f"{at}/spec/volumeName"),
        ("foreign-namespace", f"{at}/spec/dataSourceRef/namespace"),
    ]


def test_a_snippet_for_the_shared_ingress_controller_is_refused() -> None:
    item = ingress("shop.acme.example")
    item["metadata"]["annotations"] = {"nginx.ingress.kubernetes.io/server-snippet": "return 200;"}
    (found,) = findings(item)
    assert (found.code, found.pointer) == (
        "host-access",
        "/metadata/annotations/nginx.ingress.kubernetes.io~1server-snippet",
    )


def ingress(*hosts: str | None) -> Manifest:
    rules = [{"host": host} if host else {} for host in hosts]
    return plain("Ingress", "networking.k8s.io/v1", spec={"rules": rules})


def test_an_ingress_may_only_take_the_environments_hosts() -> None:
    rules = WallRules("acme-fr", hosts=frozenset({"shop.acme.example"}))
    assert findings(ingress("shop.acme.example"), rules=rules) == []
    assert [f.pointer for f in findings(ingress("shop.acme.example", "shop.globex.example", None), rules=rules)] == [
        "/spec/rules/1/host",
        "/spec/rules/2/host",
    ]
    catch_all = plain("Ingress", "networking.k8s.io/v1", spec={"defaultBackend": {}})
    assert [f.code for f in findings(catch_all, rules=rules)] == ["foreign-host"]


def test_without_known_hosts_an_ingress_is_not_judged_by_them() -> None:
    assert findings(ingress("any.example")) == []


def test_every_crossing_is_named_at_once() -> None:
    crossings = findings(plain("Namespace"), at(deployment(), f"{POD}/hostPID", "true"))
    with pytest.raises(InvalidError) as caught:
        refuse_crossings(crossings)
    assert caught.value.code == "cluster-scoped"
    assert [e.pointer for e in caught.value.errors] == ["/Namespace/x/kind", f"/Deployment/web{POD}/hostPID"]
    refuse_crossings([])
