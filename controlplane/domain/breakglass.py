"""What a tenant runs, as files that plain `kubectl apply` takes when Seawall is gone. Pure.

Per environment: its walls, then each app at its newest verified revision. Nothing carries a `seawall.dev/` mark: in a cluster that still has
Seawall's policies nobody else may write one, and objects that carry them already keep them. Jobs of migrations are left out (applying a
release again must not migrate a database again), and so are Secrets, whose data Seawall never had.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from controlplane.domain.manifests import Manifest, Rendered
from controlplane.domain.names import DOMAIN
from controlplane.domain.priorities import priority_class
from controlplane.domain.tenants import TenantPhase
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.walls_objects import Place, namespace_labels, wall_objects

WALLS_FILE: Final = "00-walls.json"
README: Final = """Seawall is gone: how to go on by hand
======================================

clusters/<cluster>/<namespace>/   what each environment runs, at its newest verified revision
suspended/<cluster>/<namespace>/  tenants that were suspended: apply these only to start them again

As an administrator of the cluster:

    kubectl apply -f clusters/aks-1/acme-fr/              one tenant
    kubectl apply -R -f clusters/aks-1/                   a whole cluster
    kubectl diff -f clusters/aks-1/acme-fr/               look first

about.txt says which releases these are and which Secrets the apps expect; Secrets are not in here.
Where the cluster still has Seawall's admission policies, they hold back Seawall's own identities by name, not you. The full
runbook: docs/how-to/seawall-is-gone.md.
"""


@dataclass(frozen=True)
class GivenApp:
    """An app at its newest verified revision."""

    app: str
    release: str
    revision: int
    verified_at: datetime | None
    rendered: Rendered


@dataclass(frozen=True)
class GivenEnvironment:
    """One environment as the registry has it; `classes`: the PriorityClasses its walls let in."""

    place: Place
    cluster_name: str
    phase: TenantPhase
    tier_name: str
    tier: TierSpec
    cluster: ClusterSpec
    classes: Sequence[str]
    apps: Sequence[GivenApp]


def folders_of(cluster: str, namespace: str) -> tuple[str, str]:
    """Where an environment's files are: while it is active, and while it is suspended."""
    return f"clusters/{cluster}/{namespace}", f"suspended/{cluster}/{namespace}"


def files_of(given: GivenEnvironment) -> Mapping[str, str]:
    """The files of one environment by name; the same input gives the same bytes."""
    found = {WALLS_FILE: _as_list(_walls(given)), "about.txt": _about(given)}
    for app in given.apps:
        objects = [one for one in app.rendered.objects if one["kind"] != "Secret"]
        found[f"app-{app.app}.json"] = _as_list(plain(one, given.place.namespace) for one in objects)
    return found


def plain(manifest: Manifest, namespace: str) -> Manifest:
    """An object without Seawall's marks, with its namespace."""
    metadata = {**manifest["metadata"], "namespace": namespace}
    for part in ("labels", "annotations"):
        kept = {k: v for k, v in (metadata.get(part) or {}).items() if not k.startswith(f"{DOMAIN}/")}
        metadata.pop(part, None)
        if kept:
            metadata[part] = kept
    return {**manifest, "metadata": metadata}


def _walls(given: GivenEnvironment) -> Iterable[Manifest]:
    ranked = priority_class(given.tier_name, given.tier)
    if ranked is not None and ranked["metadata"]["name"] in given.classes:
        yield {**ranked, "metadata": {"name": ranked["metadata"]["name"]}}
    labels = {k: v for k, v in namespace_labels(given.place).items() if not k.startswith(f"{DOMAIN}/")}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": given.place.namespace, "labels": labels}}
    for one in wall_objects(given.place, given.tier, given.cluster, given.classes):
        yield plain(one, given.place.namespace)


def _about(given: GivenEnvironment) -> str:
    place = given.place
    lines = [
        f"tenant {place.tenant}, environment {place.environment}, namespace {place.namespace} on {given.cluster_name}",
        f"phase {given.phase}, tier {given.tier_name}",
    ]
    for app in given.apps:
        when = f", verified {app.verified_at.isoformat()}" if app.verified_at else ""
        lines.append(f"app {app.app}: release {app.release}, revision {app.revision}{when}")
        lines += [f"  needs Secret {name}" for name in sorted(_secrets(app.rendered.objects))]
        lines += [f"  without its migration Job {job.manifest['metadata']['name']}" for job in app.rendered.jobs]
    if not given.apps:
        lines.append("no app has a verified revision")
    return "\n".join(lines) + "\n"


def _secrets(node: Any) -> set[str]:
    """Names of Secrets that manifests refer to: `secretRef`, `secretKeyRef`, volumes, `imagePullSecrets`, TLS of Ingresses."""
    if isinstance(node, list | tuple):
        return {name for one in node for name in _secrets(one)}
    if not isinstance(node, dict):
        return set()
    found = {str(name) for key in ("secretName",) if (name := node.get(key))}
    for key in ("secretRef", "secretKeyRef"):
        if isinstance(ref := node.get(key), dict) and ref.get("name"):
            found.add(str(ref["name"]))
    found |= {str(one["name"]) for one in node.get("imagePullSecrets") or [] if one.get("name")}
    if node.get("kind") == "Secret":
        found.add(str(node["metadata"]["name"]))
    return found | {name for value in node.values() for name in _secrets(value)}


def _as_list(items: Iterable[Manifest]) -> str:
    body = {"apiVersion": "v1", "kind": "List", "items": list(items)}
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"
