"""Host access of pods: what Pod Security `restricted` would refuse at the cluster, found before a release is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from controlplane.domain.manifests import Manifest

Finding = tuple[str, str]
"""JSON pointer, and what is wrong with what to do."""

_HOST_FLAGS = ("hostNetwork", "hostPID", "hostIPC")
_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
"""Volume types Pod Security `restricted` allows: https://kubernetes.io/docs/concepts/security/pod-security-standards/"""


@dataclass(frozen=True)
class PodPart:
    """A pod spec or one of its containers, with its JSON pointer in the object."""

    pointer: str
    node: Manifest
    is_container: bool


def _flags(part: PodPart) -> Iterator[Finding]:
    for flag in _HOST_FLAGS:
        if part.node.get(flag):
            yield f"{part.pointer}/{flag}", f"{flag} shares the node with other tenants; remove it"


def _volumes(part: PodPart) -> Iterator[Finding]:
    if part.is_container:
        return
    for i, volume in enumerate(part.node.get("volumes") or []):
        for kind in sorted(set(volume) - {"name"} - _VOLUMES):
            yield f"{part.pointer}/volumes/{i}/{kind}", f"a {kind} volume reaches outside the tenant; use a claim"


def _placement(part: PodPart) -> Iterator[Finding]:
    if part.node.get("nodeName"):
        yield f"{part.pointer}/nodeName", "naming a node goes around the scheduler and its quotas; remove it"
    if part.node.get("priorityClassName"):
        yield f"{part.pointer}/priorityClassName", "the priority comes from the tenant's tier; remove it"


def _ports(part: PodPart) -> Iterator[Finding]:
    for i, port in enumerate(part.node.get("ports") or []):
        if port.get("hostPort"):
            yield f"{part.pointer}/ports/{i}/hostPort", "a host port is the node's; use a Service"


def _probes(part: PodPart) -> Iterator[Finding]:
    lifecycle = part.node.get("lifecycle")
    hooks = lifecycle if isinstance(lifecycle, dict) else {}
    handlers = {f"lifecycle/{name}": hooks.get(name) for name in ("postStart", "preStop")}
    handlers |= {name: part.node.get(name) for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    for at, handler in handlers.items():
        for kind in ("httpGet", "tcpSocket"):
            target = handler.get(kind) if isinstance(handler, dict) else None
            if isinstance(target, dict) and target.get("host"):
                where = f"{part.pointer}/{at}/{kind}/host"
                yield where, "the node would call that host, past the tenant's network policies; leave it out"


def _security(part: PodPart) -> Iterator[Finding]:
    context = part.node.get("securityContext") or {}
    at = f"{part.pointer}/securityContext"
    for flag in ("privileged", "allowPrivilegeEscalation"):
        if context.get(flag):
            yield f"{at}/{flag}", f"{flag} lets the container out of its walls; set it to false"
    added = set((context.get("capabilities") or {}).get("add") or []) - {"NET_BIND_SERVICE"}
    if added:
        yield f"{at}/capabilities/add", f"capabilities {', '.join(sorted(added))} are not allowed; drop ALL"
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield at, "it runs as root; set runAsNonRoot and a user id above 0"
    if context.get("procMount") not in (None, "Default"):
        yield f"{at}/procMount", "an unmasked /proc shows the node; remove it"
    for profile in ("seccompProfile", "appArmorProfile"):
        if (context.get(profile) or {}).get("type") == "Unconfined":
            yield f"{at}/{profile}", f"{profile} Unconfined is not allowed; use RuntimeDefault"
    windows = context.get("windowsOptions")
    if isinstance(windows, dict) and windows.get("hostProcess"):
        yield f"{at}/windowsOptions/hostProcess", "a host process is the node's; remove it"
    if context.get("sysctls"):
        yield f"{at}/sysctls", "kernel settings are the node's; remove them"


HOST_CHECKS: tuple[Callable[[PodPart], Iterator[Finding]], ...] = (
    _flags,
    _volumes,
    _placement,
    _ports,
    _probes,
    _security,
)
