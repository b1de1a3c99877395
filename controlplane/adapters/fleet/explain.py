"""Why workloads aren't healthy, in one sentence, from their pods and events. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controlplane.domain.health import WorkloadState
from controlplane.ports.clusters import Manifest

_QUIET = {"ContainerCreating", "PodInitializing", ""}
"""Waiting reasons that say no more than that it takes time."""


def explain_pods(
    expected: Sequence[tuple[str, str]],
    states: Mapping[tuple[str, str], WorkloadState],
    pods: Sequence[Manifest],
    events: Sequence[Manifest],
) -> str:
    """Join one clause per workload that isn't ready; empty if all are."""
    clauses = []
    for kind, name in expected:
        state = states.get((kind, name))
        if state is not None and (state.succeeded or _ready(state)):
            continue
        reason = _pod_reason(name, pods) or (state.failed if state else "") or _event_reason(kind, name, events)
        clauses.append(f"{name} not ready" + (f", {reason}" if reason else ""))
    return "; ".join(clauses)


def _ready(state: WorkloadState) -> bool:
    counts = state.updated >= state.replicas and state.total <= state.updated and state.available >= state.updated
    return state.kind != "Job" and counts and not state.failed and state.observed_generation >= state.generation


def _pod_reason(name: str, pods: Sequence[Manifest]) -> str:
    for pod in pods:
        if not pod["metadata"]["name"].startswith(f"{name}-"):
            continue
        status = pod.get("status") or {}
        containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        for one in containers:
            waiting = str(((one.get("state") or {}).get("waiting") or {}).get("reason", ""))
            ended = (one.get("state") or {}).get("terminated") or {}
            if waiting not in _QUIET:
                return f"{waiting} on the new revision"
            if ended.get("exitCode"):
                return f"its container ended with exit code {ended['exitCode']}"
        for condition in status.get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return f"unschedulable: {condition.get('message', '')}".strip(": ")
    return ""


def _event_reason(kind: str, name: str, events: Sequence[Manifest]) -> str:
    newest = sorted(events, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""), reverse=True)
    for event in newest:
        about = event.get("involvedObject") or {}
        ours = about.get("name") == name and about.get("kind") == kind
        if event.get("type") == "Warning" and (ours or str(about.get("name", "")).startswith(f"{name}-")):
            return f"{event.get('reason', '')}: {event.get('message', '')}"
    return ""
