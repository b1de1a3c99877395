"""A field leaves us only by handover.

Server-side apply removes a field that its only owner no longer sends, and the server then puts the default in its place: a
Deployment whose chart leaves `replicas` to an autoscaler from now on would fall to one pod. So before such an apply another
manager takes the field with its present value; the autoscaler takes it from there.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
"""

from __future__ import annotations

from typing import Any

from controlplane.adapters.kubernetes.identities import FIELD_MANAGER, HANDOVER_MANAGER
from controlplane.ports.clusters import Manifest

_SCALED = {"Deployment", "StatefulSet"}


def lets_go(manifest: Manifest) -> bool:
    """Whether applying this may drop a field that has a default: a scaled kind without `replicas`."""
    return manifest["kind"] in _SCALED and "replicas" not in (manifest.get("spec") or {})


def handover_of(live: Manifest) -> Manifest | None:
    """What `HANDOVER_MANAGER` is to apply first: `replicas` as they are, if nobody but us owns them; else None."""
    owners = {
        str(entry.get("manager"))
        for entry in live["metadata"].get("managedFields") or []
        if _owns_replicas(entry.get("fieldsV1") or {})
    }
    if owners != {FIELD_MANAGER}:
        return None
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {"name": live["metadata"]["name"]},
        "spec": {"replicas": live["spec"]["replicas"]},
    }


def without_handover(taken: dict[str, str]) -> dict[str, str]:
    """Fields taken from others; what we take back from our own handover is nobody's loss."""
    return {path: manager for path, manager in taken.items() if manager != HANDOVER_MANAGER}


def _owns_replicas(fields: dict[str, Any]) -> bool:
    return "f:replicas" in (fields.get("f:spec") or {})
