"""What Seawall keeps of Kubernetes objects."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from controlplane.adapters.fleet.states import namespace_view, quota_of, tightest, workload_state
from controlplane.domain.health import Expected, Health, judge_workload


def workload(kind: str, spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": "web", "uid": "u", "generation": 2}
    return {"kind": kind, "metadata": meta, "spec": spec, "status": {"observedGeneration": 2, **status}}


def health(obj: dict[str, Any]) -> Health:
    return judge_workload(Expected(obj["kind"], "web", "u", 2), workload_state(obj)).health


DONE = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "wanted"),
    [
        ("Deployment", {"replicas": 2}, DONE, Health.HEALTHY),
        ("Deployment", {"replicas": 2}, {**DONE, "observedGeneration": 1}, Health.PROGRESSING),
        ("Deployment", {"replicas": 2}, {**DONE, "replicas": 3}, Health.PROGRESSING),
        ("Deployment", {"replicas": 2}, {**DONE, "availableReplicas": 1}, Health.PROGRESSING),
        ("Deployment", {"replicas": 0}, {}, Health.HEALTHY),
        ("StatefulSet", {"replicas": 2}, DONE, Health.HEALTHY),
        ("StatefulSet", {"replicas": 2}, {**DONE, "updatedReplicas": 1}, Health.PROGRESSING),
        (
            "StatefulSet",
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {"replicas": 3, "updatedReplicas": 1, "availableReplicas": 3},
            Health.HEALTHY,
        ),
        (
            "DaemonSet",
            {},
            {
                "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 3,
                "currentNumberScheduled": 3,
                "numberAvailable": 3,
            },
            Health.HEALTHY,
        ),
        (
            "DaemonSet",
            {},
            {
                "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 2,
                "currentNumberScheduled": 3,
                "numberAvailable": 3,
            },
            Health.PROGRESSING,
        ),
        ("Job", {}, {"active": 1}, Health.PROGRESSING),
        ("Job", {}, {"conditions": [{"type": "Complete", "status": "True"}]}, Health.HEALTHY),
        (
            "Job",
            {},
            {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]},
            Health.UNHEALTHY,
        ),
        ("Job", {}, {"conditions": [{"type": "FailureTarget", "status": "True"}]}, Health.PROGRESSING),
    ],
)
def test_a_workload_is_judged_as_kubectl_rollout_status_does(
    kind: str, spec: dict[str, Any], status: dict[str, Any], wanted: Health
) -> None:
    assert health(workload(kind, spec, status)) is wanted


def test_a_deployment_that_made_no_progress_in_time_has_failed_with_the_servers_words() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    state = workload_state(workload("Deployment", {"replicas": 1}, {"conditions": [late]}))
    assert state.failed == "ProgressDeadlineExceeded: timed out"
    assert not state.quota_blocked


def test_a_replica_failure_is_a_quotas_fault_only_if_the_message_says_so() -> None:
    def refused(message: str) -> tuple[bool, str]:
        condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
        state = workload_state(workload("Deployment", {"replicas": 1}, {"conditions": [condition]}))
        return state.quota_blocked, state.failed

    assert refused("exceeded quota: tier, requested: pods=1")[0]
    assert refused('violates PodSecurity "restricted:latest"') == (
        False,
        'ReplicaFailure: FailedCreate: violates PodSecurity "restricted:latest"',
    )


def test_a_namespace_keeps_only_seawalls_annotations_and_reads_a_broken_seal_as_none() -> None:
    notes = {"seawall.dev/epoch": "many", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    view = namespace_view({"metadata": {"name": "n", "uid": "u", "annotations": notes}})
    assert (view.epoch, dict(view.annotations), view.terminating) == (0, {"seawall.dev/epoch": "many"}, False)


def test_of_several_quotas_the_one_with_the_least_room_counts() -> None:
    def quota(used: str, hard: str) -> dict[str, Any]:
        return {"status": {"used": {"requests.cpu": used}, "hard": {"requests.cpu": hard}}}

    joined = tightest([quota_of(quota("500m", "4")), quota_of(quota("1", "2"))])
    assert joined == {"requests.cpu": (Decimal(1), Decimal(2))}
