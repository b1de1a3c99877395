"""The walls a release must stay inside, judged on its rendered manifests before they are stored.

A pure deny-by-default check: what is not known to be harmless in a shared cluster is refused, with the object, the JSON
path and what to do. The cluster's own walls (Pod Security, quota, RBAC, the fence) stand behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.manifests import Manifest, ObjectKey, Rendered, annotations_of, key_of
from controlplane.domain.names import DOMAIN
from controlplane.domain.releases import is_pinned
from controlplane.domain.walls_pods import HOST_CHECKS, PodPart
from controlplane.domain.wire import pointer as json_pointer

NAMESPACED_KINDS = frozenset(
    {
        ("", "ConfigMap"),
        ("", "PersistentVolumeClaim"),
        ("", "Secret"),
        ("", "Service"),
        ("", "ServiceAccount"),
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("autoscaling", "HorizontalPodAutoscaler"),
        ("batch", "CronJob"),
        ("batch", "Job"),
        ("networking.k8s.io", "Ingress"),
        ("policy", "PodDisruptionBudget"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
    }
)
"""Built-in kinds a release may hold, as (group, kind)."""

CLUSTER_KINDS = frozenset(
    {
        "APIService",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterIssuer",
        "CSIDriver",
        "CSINode",
        "CustomResourceDefinition",
        "FlowSchema",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    }
)
WALL_KINDS = frozenset({"ResourceQuota", "LimitRange", "NetworkPolicy"})
RESERVED = "seawall-"
"""Objects whose names begin so are Seawall's own, in every namespace."""

WALL_ACCOUNTS = frozenset({"default", "app"})
"""Service accounts that come with the walls: a release may use them, not define them."""

_WALL_RESOURCES = {"resourcequotas", "limitranges", "networkpolicies", "roles", "rolebindings", "namespaces"}
_WALL_VERBS = {"impersonate", "escalate", "bind"}
_WORKLOAD_PATHS = {"CronJob": ("spec", "jobTemplate", "spec", "template")}


@dataclass(frozen=True)
class WallFinding:
    """One thing a release may not do: which object, where in it (JSON pointer), and what to do instead."""

    code: str
    key: ObjectKey
    pointer: str
    detail: str

    def __str__(self) -> str:
        return f"{self.key} {self.pointer}: {self.detail}"


@dataclass(frozen=True)
class WallRules:
    """What differs by environment: its namespace, the custom resources allowed in it (as `group/Kind`), and its hosts.

    `hosts` None: not known yet, so an Ingress is not judged by them.
    """

    namespace: str
    allowed_custom: frozenset[str] = field(default_factory=frozenset)
    hosts: frozenset[str] | None = None


def check_walls(rendered: Rendered, rules: WallRules) -> list[WallFinding]:
    """Every wall that the content would cross, in apply order; empty when it may be stored."""
    items = [*rendered.objects, *(job.manifest for job in rendered.jobs)]
    return [finding for item in items for finding in _check_object(item, rules)]


def check_hosts(rendered: Rendered, hosts: frozenset[str]) -> list[WallFinding]:
    """Hosts that an Ingress takes and the environment has not; for content that was judged by everything else before."""
    ingresses = [item for item in rendered.objects if item["kind"] == "Ingress"]
    return [finding for item in ingresses for finding in _check_hosts(key_of(item), item, hosts)]


def refuse_crossings(findings: Iterable[WallFinding]) -> None:
    """Raise `InvalidError` that names every finding; its code is the first finding's, `pointer` is `Kind/name/path`."""
    found = list(findings)
    if not found:
        return
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    raise InvalidError(
        f"The release crosses a wall: {found[0]}{more}. Change the release and register it under a new version.",
        code=found[0].code,
        errors=[FieldError(f"/{f.key}{f.pointer}", f.detail) for f in found],
    )


def _check_object(item: Manifest, rules: WallRules) -> Iterator[WallFinding]:
    key = key_of(item)
    kind_finding = _check_kind(key, rules)
    if kind_finding:
        yield kind_finding
        return
    if key.name == RESERVED.rstrip("-") or key.name.startswith(RESERVED):
        detail = f"names that begin with {RESERVED} are Seawall's own; choose another"
        yield WallFinding("reserved-name", key, "/metadata/name", detail)
    yield from _check_metadata(key, item, rules)
    checks = {
        "Secret": _check_secret,
        "Ingress": _check_ingress,
        "PersistentVolumeClaim": _check_claim,
        "StatefulSet": _check_claims,
        "Service": _check_service,
        "ServiceAccount": _check_account,
        "Role": _check_role,
        "RoleBinding": _check_binding,
    }
    if key.kind == "Ingress" and rules.hosts is not None:
        yield from _check_hosts(key, item, rules.hosts)
    if key.kind in checks:
        yield from checks[key.kind](key, item)
    template = pod_template(item)
    if template is not None:
        yield from _check_pod(key, *template)


def _check_kind(key: ObjectKey, rules: WallRules) -> WallFinding | None:
    if key.kind in CLUSTER_KINDS:
        return WallFinding(
            "cluster-scoped",
            key,
            "/kind",
            f"{key.kind} acts on the whole cluster; have the platform team install it and remove it from the release",
        )
    if key.kind in WALL_KINDS:
        return WallFinding(
            "wall-object", key, "/kind", f"{key.kind} is part of the walls and comes from the tenant's tier; remove it"
        )
    if (key.group, key.kind) in NAMESPACED_KINDS or f"{key.group}/{key.kind}" in rules.allowed_custom:
        return None
    return WallFinding(
        "unknown-kind",
        key,
        "/kind",
        f"{key.api_version} {key.kind} is not a kind a release may hold; remove it, "
        f"or have the platform allow {key.group}/{key.kind}",
    )


def _check_metadata(key: ObjectKey, item: Manifest, rules: WallRules) -> Iterator[WallFinding]:
    metadata = item["metadata"]
    namespace = metadata.get("namespace", rules.namespace)
    if namespace != rules.namespace:
        yield WallFinding(
            "foreign-namespace",
            key,
            "/metadata/namespace",
            f"it goes to namespace {namespace}, the environment is {rules.namespace}; leave the namespace out",
        )
    for part in ("labels", "annotations"):
        for name in metadata.get(part) or {}:
            if _is_ours(name):
                yield _own_mark(key, json_pointer(("metadata", part, name)), name)
    for part in ("ownerReferences", "finalizers"):
        if metadata.get(part):
            yield WallFinding(
                "owner-or-finalizer",
                key,
                f"/metadata/{part}",
                f"{part} in a release can keep an object from being deleted or delete it unasked; leave them out",
            )


def _is_ours(name: str) -> bool:
    prefix = name.partition("/")[0]
    return prefix == DOMAIN or prefix.endswith("." + DOMAIN)


def _own_mark(key: ObjectKey, pointer: str, name: str) -> WallFinding:
    return WallFinding("own-mark", key, pointer, f"{name} is set by Seawall alone; remove it from the release")


def _check_secret(key: ObjectKey, item: Manifest) -> Iterator[WallFinding]:
    for part in ("data", "stringData"):
        if item.get(part):
            yield WallFinding(
                "chart-has-secret",
                key,
                f"/{part}",
                "secret data would be stored with the release; refer to an existing secret by name instead "
                "(`existingSecret`)",
            )
    if item.get("type") not in (None, "Opaque"):
        yield WallFinding(
            "chart-has-secret",
            key,
            "/type",
            f"the cluster fills a secret of type {item['type']} with credentials; refer to an existing secret by name",
        )


def _check_service(key: ObjectKey, item: Manifest) -> Iterator[WallFinding]:
    spec = item.get("spec") or {}
    if spec.get("type") in ("NodePort", "LoadBalancer", "ExternalName"):
        yield WallFinding(
            "host-access",
            key,
            "/spec/type",
            f"a {spec['type']} service reaches around the tenant's ingress; use ClusterIP and an Ingress",
        )
    if spec.get("externalIPs"):
        yield WallFinding(
            "host-access", key, "/spec/externalIPs", "external addresses take other tenants' traffic; remove them"
        )


def _check_hosts(key: ObjectKey, item: Manifest, hosts: frozenset[str]) -> Iterator[WallFinding]:
    spec = item.get("spec") or {}
    if spec.get("defaultBackend") is not None:
        detail = "it takes what no other tenant's Ingress takes; name the environment's hosts"
        yield WallFinding("foreign-host", key, "/spec/defaultBackend", detail)
    for i, rule in enumerate(spec.get("rules") or []):
        host = rule.get("host")
        if host not in hosts:
            detail = (
                f"{host or 'every host'} is not a host of this environment; it has {', '.join(sorted(hosts)) or 'none'}"
            )
            yield WallFinding("foreign-host", key, f"/spec/rules/{i}/host", detail)


def _check_ingress(key: ObjectKey, item: Manifest) -> Iterator[WallFinding]:
    for name in annotations_of(item):
        if name.endswith("-snippet"):
            detail = "a snippet is configuration of the ingress controller that all tenants share; remove it"
            yield WallFinding("host-access", key, json_pointer(("metadata", "annotations", name)), detail)


def _check_claim(key: ObjectKey, item: Manifest, at: str = "") -> Iterator[WallFinding]:
    spec = item.get("spec") or {}
    if spec.get("volumeName"):
        detail = "it takes a volume by name, which may be somebody else's; let the storage class make one"
        yield WallFinding("host-access", key, f"{at}/spec/volumeName", detail)
    source = spec.get("dataSourceRef")
    if isinstance(source, dict) and source.get("namespace"):
        detail = f"it copies from namespace {source['namespace']}; leave the namespace out"
        yield WallFinding("foreign-namespace", key, f"{at}/spec/dataSourceRef/namespace", detail)


def _check_claims(key: ObjectKey, item: Manifest) -> Iterator[WallFinding]:
    for i, claim in enumerate((item.get("spec") or {}).get("volumeClaimTemplates") or []):
        yield from _check_claim(key, claim, f"/spec/volumeClaimTemplates/{i}")


def _check_account(key: ObjectKey, item: Manifest) -> Iterator[WallFinding]:
    if key.name in WALL_ACCOUNTS:
        yield _account(key, "/metadata/name", key.name)


def _account(key: ObjectKey, pointer: str, name: str) -> WallFinding:
    return WallFinding(
        "reserved-account",
        key,
        pointer,
        f"service account {name} is not the release's to define or use; name one of its own",
    )


def _check_role(key: ObjectKey, item: Manifest) -> Iterator[WallFinding]:
    for i, rule in enumerate(item.get("rules") or []):
        groups, resources = set(rule.get("apiGroups") or []), set(rule.get("resources") or [])
        verbs = set(rule.get("verbs") or [])
        reason = None
        if "*" in groups | verbs or any("*" in name.split("/")[0] for name in resources):
            reason = "wildcards also grant what comes later"
        elif resources & _WALL_RESOURCES or verbs & _WALL_VERBS or any(_is_ours(g) for g in groups):
            reason = "rights on quota, policy, roles, impersonation or seawall.dev are the platform's"
        elif "serviceaccounts/token" in resources:
            reason = "tokens of other service accounts are a way around the walls"
        if reason:
            yield WallFinding(
                "role-too-wide", key, f"/rules/{i}", f"{reason}; name the resources and verbs the app needs"
            )


def _check_binding(key: ObjectKey, item: Manifest) -> Iterator[WallFinding]:
    ref = item.get("roleRef") or {}
    if ref.get("kind") != "Role":
        yield WallFinding(
            "role-too-wide",
            key,
            "/roleRef",
            f"it binds {ref.get('kind')} {ref.get('name')}, whose rights the release doesn't show; bind a Role of its own",
        )
    elif str(ref.get("name", "")).startswith(RESERVED):
        yield WallFinding("role-too-wide", key, "/roleRef/name", "it binds a role of Seawall; bind a Role of its own")
    namespace = item["metadata"].get("namespace")
    for i, subject in enumerate(item.get("subjects") or []):
        name = str(subject.get("name", ""))
        if subject.get("kind") != "ServiceAccount":
            detail = (
                f"it gives rights to {subject.get('kind')} {name}; only service accounts of the release may have them"
            )
            yield WallFinding("role-too-wide", key, f"/subjects/{i}", detail)
        elif subject.get("namespace", namespace) != namespace:
            detail = (
                f"it gives rights to a service account of namespace {subject['namespace']}; leave the namespace out"
            )
            yield WallFinding("foreign-namespace", key, f"/subjects/{i}/namespace", detail)
        elif name.startswith(RESERVED):
            yield _account(key, f"/subjects/{i}/name", name)


def pod_template(item: Manifest) -> tuple[str, Manifest] | None:
    """The pod template of a workload with its JSON pointer; None where there is none."""
    path = _WORKLOAD_PATHS.get(item["kind"], ("spec", "template"))
    node: Any = item
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    return ("/" + "/".join(path), node) if isinstance(node, dict) and isinstance(node.get("spec"), dict) else None


def _check_pod(key: ObjectKey, pointer: str, template: Manifest) -> Iterator[WallFinding]:
    for name in [*((template.get("metadata") or {}).get("labels") or {}), *annotations_of(template)]:
        if _is_ours(name):
            yield _own_mark(key, f"{pointer}/metadata", name)
    spec = template["spec"]
    account = str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "")
    if account.startswith(RESERVED):
        yield _account(key, f"{pointer}/spec/serviceAccountName", account)
    for part in _parts(spec, f"{pointer}/spec"):
        for at, detail in (found for check in HOST_CHECKS for found in check(part)):
            yield WallFinding("host-access", key, at, detail)
        if part.is_container and not is_pinned(str(part.node.get("image", ""))):
            image = part.node.get("image") or "no image"
            yield WallFinding(
                "image-not-pinned",
                key,
                f"{part.pointer}/image",
                f"{image} is not pinned by digest; use the release's images (`.Values.images.<name>`)",
            )


def _parts(spec: Manifest, pointer: str) -> Iterator[PodPart]:
    yield PodPart(pointer, spec, is_container=False)
    for field_name in ("initContainers", "containers", "ephemeralContainers"):
        for i, container in enumerate(spec.get(field_name) or []):
            yield PodPart(f"{pointer}/{field_name}/{i}", container, is_container=True)
