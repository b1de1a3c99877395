"""Signs of drift in what watches tell: fields of a marked object that another manager wrote, and deletions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from controlplane.ports.clusters import DriftSign

OURS = frozenset({"seawall", "seawall-handover"})
DRIFT_KINDS: tuple[tuple[str, str], ...] = (
    ("v1", "LimitRange"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("batch/v1", "CronJob"),
)
"""(apiVersion, kind) of objects that are watched for drift alone; the kinds that are watched anyway give signs too."""

type OnSign = Callable[[DriftSign], None]
type Writers = tuple[tuple[str, str], ...]
_log = structlog.get_logger(__name__)


def foreign_writers(metadata: Mapping[str, Any]) -> Writers:
    """(manager, time) of everybody else who owns fields of an object; who wrote its status or scaled it does not count.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    entries = metadata.get("managedFields") or ()
    found = {(e.get("manager", ""), e.get("time", "")) for e in entries if not e.get("subresource")}
    return tuple(sorted((one for one in found if one[0] not in OURS), key=lambda one: one[1]))


class Signs:
    """Turns what the watches of one cluster tell into signs, each once."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._known: dict[tuple[str, str, str], Writers] = {}
        self._listeners: list[OnSign] = []

    def listen(self, on_sign: OnSign) -> Callable[[], None]:
        """Tell `on_sign` of every sign; what is known already comes at once."""
        self._listeners.append(on_sign)
        for key, writers in list(self._known.items()):
            on_sign(DriftSign(self._cluster, *key, by=writers[-1][0]))

        def end() -> None:
            if on_sign in self._listeners:
                self._listeners.remove(on_sign)

        return end

    def see(self, kind: str, metadata: Mapping[str, Any]) -> None:
        """Take in an object's metadata."""
        key = (str(metadata.get("namespace", metadata["name"])), kind, str(metadata["name"]))
        writers = foreign_writers(metadata)
        if self._known.get(key, ()) == writers:
            return
        if not writers:
            self._known.pop(key, None)
            return
        self._known[key] = writers
        self._tell(DriftSign(self._cluster, *key, by=writers[-1][0]))

    def gone(self, kind: str, namespace: str, name: str) -> None:
        """An object was deleted."""
        self._known.pop((namespace, kind, name), None)
        if kind != "Namespace":
            self._tell(DriftSign(self._cluster, namespace, kind, name))

    def _tell(self, sign: DriftSign) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(sign)
            except Exception:  # noqa: BLE001 # one listener's fault must not end the watch; it is logged with its trace
                _log.exception("a listener for drift failed", cluster=self._cluster, namespace=sign.namespace)
