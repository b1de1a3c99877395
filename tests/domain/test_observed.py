"""What a look says: the worst workload, never healthy without a look."""

from __future__ import annotations

from decimal import Decimal

from controlplane.domain.health import Health, WorkloadState
from controlplane.domain.observed import observe_environment


def workload(name: str = "web", kind: str = "Deployment", **changes: object) -> WorkloadState:
    state = {
        "kind": kind,
        "name": name,
        "uid": f"uid-{name}",
        "generation": 3,
        "observed_generation": 3,
        "replicas": 2,
        "updated": 2,
        "total": 2,
        "available": 2,
    }
    return WorkloadState(**{**state, **changes})  # type: ignore[arg-type]  # any field by its name


def seen(*states: WorkloadState, installed: bool = True) -> tuple[Health, str]:
    found = observe_environment({(s.kind, s.name): s for s in states}, None, installed=installed)
    return found.health, found.reason


def test_all_available_is_healthy() -> None:
    assert seen(workload(), workload("cron")) == (Health.HEALTHY, "")


def test_the_worst_workload_decides_and_says_why() -> None:
    health, reason = seen(workload(), workload("pos", failed="ProgressDeadlineExceeded: no progress"))
    assert health is Health.UNHEALTHY
    assert "pos" in reason


def test_a_failed_job_says_nothing_about_the_shop() -> None:
    assert seen(workload(), workload("migrate", "Job", failed="BackoffLimitExceeded"))[0] is Health.HEALTHY


def test_an_environment_without_an_app_is_not_called_healthy() -> None:
    assert seen(installed=False) == (Health.UNKNOWN, "nothing is installed")


def test_the_quota_is_written_as_kubernetes_writes_it_and_closed_resources_are_left_out() -> None:
    quota = {
        "requests.cpu": (Decimal("3.2"), Decimal(8)),
        "requests.memory": (Decimal(2**30), Decimal(2**32)),
        "services.nodeports": (Decimal(0), Decimal(0)),
    }
    found = observe_environment({}, quota, installed=True).quota
    assert found == {
        "requests.cpu": {"used": "3.2", "limit": "8"},
        "requests.memory": {"used": "1Gi", "limit": "4Gi"},
    }
