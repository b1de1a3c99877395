"""What the simulated API server refuses, in the order in which a real one does: the namespace, the fence, the marks, the object, the quota."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controlplane.adapters.fleet.states import namespace_view
from controlplane.adapters.simulated.store import CLUSTER, Store, Stored
from controlplane.domain.names import DOMAIN, FENCED_LABEL
from controlplane.ports.clusters import FencedError, Manifest, NamespaceGoneError, RejectedError

_IMMUTABLE: dict[str, tuple[tuple[str, ...], ...]] = {
    "Deployment": (("spec", "selector"),),
    "DaemonSet": (("spec", "selector"),),
    "StatefulSet": (("spec", "selector"), ("spec", "serviceName"), ("spec", "volumeClaimTemplates")),
    "Job": (("spec", "selector"), ("spec", "template"), ("spec", "completions")),
    "Service": (("spec", "clusterIP"),),
}
_PLACED = {"Deployment", "StatefulSet", "DaemonSet", "Job"}


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: one of Seawall's own identities, with the epoch that the request carries, or somebody else."""

    epoch: int = 0
    ours: bool = True


def living_namespace(store: Store, name: str, *, creating: bool) -> Stored:
    """The Namespace to write into; raises `NamespaceGoneError` if it is missing or, for creates, terminating."""
    found = store.find(CLUSTER, "Namespace", name)
    if found is None:
        raise NamespaceGoneError(
            f"Namespace {name} does not exist. Onboard the tenant again, or check that the cluster is the right one."
        )
    if creating and "deletionTimestamp" in found.meta:
        raise terminating(name)
    return found


def terminating(name: str) -> NamespaceGoneError:
    """The namespace is on its way out."""
    detail = f"Namespace {name} is being deleted and takes no new objects. Wait until it is gone, then onboard again."
    return NamespaceGoneError(detail, code="namespace-terminating")


def replaced(name: str, uid: str, found: str) -> NamespaceGoneError:
    """Another namespace has the name."""
    detail = (
        f"Namespace {name} has uid {found}, not {uid}: somebody deleted and made it anew. Onboard the tenant again."
    )
    return NamespaceGoneError(detail, code="namespace-replaced")


def check_fence(namespace: Stored, writer: Writer) -> None:
    """Refuse Seawall's own identities when the Namespace carries a higher epoch than theirs."""
    if not writer.ours or FENCED_LABEL not in (namespace.meta.get("labels") or {}):
        return
    fence = namespace_view(namespace.obj).epoch
    if writer.epoch < fence:
        raise FencedError(
            f"Namespace {namespace.meta['name']} is sealed with epoch {fence}, this writer holds {writer.epoch}. "
            "Stop writing: another worker has taken the environment.",
            extra={"fence": fence, "epoch": writer.epoch},
        )


def check_marks(before: Manifest | None, after: Manifest | None, writer: Writer) -> None:
    """Refuse anybody else who changes a `seawall.dev/` label or annotation."""
    if writer.ours or _marks(before) == _marks(after):
        return
    detail = f"Only Seawall may change {DOMAIN}/ labels and annotations. Change the tenant through Seawall's API."
    raise RejectedError(detail, code="not-permitted")


def _marks(obj: Manifest | None) -> dict[str, Any]:
    meta = obj["metadata"] if obj else {}
    both = [*(meta.get("labels") or {}).items(), *(meta.get("annotations") or {}).items()]
    return {key: value for key, value in both if key.startswith(f"{DOMAIN}/")}


def check_object(obj: Manifest, before: Manifest | None) -> None:
    """Refuse objects that are wrong in themselves: no containers, a changed immutable field."""
    kind, name = obj["kind"], obj["metadata"]["name"]
    if kind in _PLACED:
        _check_pods(obj)
    for path in _IMMUTABLE.get(kind, ()):
        if before is not None and _at(before, path) is not None and _at(obj, path) != _at(before, path):
            detail = f"{kind} {name}: {'.'.join(path)} is immutable. Give the object another name, or delete it first."
            raise RejectedError(detail, code="immutable-field")


def _check_pods(obj: Manifest) -> None:
    kind, name = obj["kind"], obj["metadata"]["name"]
    spec = _at(obj, ("spec", "template", "spec")) or {}
    if not spec.get("containers"):
        raise RejectedError(f"{kind} {name}: spec.template.spec.containers is required.")
    if kind != "Job" and not _at(obj, ("spec", "selector")):
        raise RejectedError(f"{kind} {name}: spec.selector is required.")


def _at(obj: Manifest, path: tuple[str, ...]) -> Any:
    node: Any = obj
    for step in path:
        node = node.get(step) if isinstance(node, dict) else None
    return node
