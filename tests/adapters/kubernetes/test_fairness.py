"""What the API server says of its priority levels decides whose calls wait."""

from __future__ import annotations

import pytest

from controlplane.adapters.kubernetes.fairness import Fairness, flow_of

WRITES = flow_of("PATCH", {"Impersonate-User": "system:serviceaccount:acme:seawall-deployer"})
READS = flow_of("GET", {})


def level(uid: str) -> dict[str, str]:
    return {"X-Kubernetes-PF-FlowSchema-UID": "schema", "X-Kubernetes-PF-PriorityLevel-UID": uid}


def test_deployers_of_all_tenants_are_one_flow() -> None:
    assert flow_of("PATCH", {"Impersonate-User": "system:serviceaccount:zed:seawall-deployer"}) == WRITES
    assert flow_of("GET", {"Impersonate-User": "system:serviceaccount:zed:seawall-deployer"}) != WRITES


def test_a_busy_level_quiets_the_flows_that_fall_into_it_and_no_other() -> None:
    fairness = Fairness("aks-1")
    fairness.answered(READS, 200, level("system"))
    fairness.answered(WRITES, 429, level("workload-low"))
    fairness.quiet(WRITES, 5)
    assert fairness.wait(WRITES) == pytest.approx(5, abs=0.5)
    assert fairness.wait(READS) <= 0
    assert fairness.wait(flow_of("DELETE", {})) > 0, "a flow never seen may fall anywhere"


def test_a_server_that_does_not_say_quiets_everything() -> None:
    fairness = Fairness("aks-1")
    fairness.answered(READS, 200, {})
    fairness.answered(WRITES, 429, {})
    fairness.quiet(WRITES, 5)
    assert min(fairness.wait(WRITES), fairness.wait(READS)) > 0


def test_a_shorter_wish_does_not_end_a_longer_quiet() -> None:
    fairness = Fairness("aks-1")
    fairness.answered(WRITES, 429, level("low"))
    fairness.quiet(WRITES, 5)
    fairness.quiet(WRITES, 1)
    assert fairness.wait(WRITES) > 3
