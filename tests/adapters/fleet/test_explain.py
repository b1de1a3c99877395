"""Why workloads aren't healthy, in a sentence."""

from __future__ import annotations

from typing import Any

from controlplane.adapters.fleet.explain import explain_pods
from controlplane.domain.health import WorkloadState

WEB = ("Deployment", "web")


def state(available: int = 0, failed: str = "") -> WorkloadState:
    return WorkloadState("Deployment", "web", "u", 1, 1, 1, 1, 1, available, failed)


def pod(reason: str, name: str = "web-7d9-x") -> dict[str, Any]:
    waiting = [{"state": {"waiting": {"reason": reason}}}]
    return {"metadata": {"name": name}, "status": {"containerStatuses": waiting}}


def test_a_waiting_container_says_why() -> None:
    told = explain_pods([WEB], {WEB: state()}, [pod("ContainerCreating"), pod("ImagePullBackOff")], [])
    assert told == "web not ready, ImagePullBackOff on the new revision"


def test_healthy_workloads_are_not_mentioned() -> None:
    assert explain_pods([WEB], {WEB: state(available=1)}, [pod("CrashLoopBackOff")], []) == ""


def test_without_a_pod_the_controllers_words_count() -> None:
    failed = "ReplicaFailure: FailedCreate: exceeded quota"
    assert explain_pods([WEB], {WEB: state(failed=failed)}, [], []) == f"web not ready, {failed}"


def test_without_anything_else_the_newest_warning_counts() -> None:
    about = {"kind": "Deployment", "name": "web"}
    events = [
        {
            "type": "Warning",
            "reason": "Old",
            "message": "m",
            "lastTimestamp": "2026-01-01T00:00:00Z",
            "involvedObject": about,
        },
        {
            "type": "Warning",
            "reason": "New",
            "message": "m",
            "lastTimestamp": "2026-01-02T00:00:00Z",
            "involvedObject": about,
        },
        {
            "type": "Normal",
            "reason": "Fine",
            "message": "m",
            "lastTimestamp": "2026-01-03T00:00:00Z",
            "involvedObject": about,
        },
    ]
    assert explain_pods([WEB], {WEB: state()}, [], events) == "web not ready, New: m"


def test_a_workload_that_nobody_has_seen_is_said_to_be_not_ready() -> None:
    assert explain_pods([WEB], {}, [], []) == "web not ready"


def test_a_container_that_ended_badly_tells_its_exit_code() -> None:
    ended = {
        "metadata": {"name": "web-1"},
        "status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]},
    }
    assert "exit code 3" in explain_pods([WEB], {WEB: state()}, [ended], [])
