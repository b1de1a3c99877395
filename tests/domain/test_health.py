from __future__ import annotations

from dataclasses import replace

from controlplane.domain.health import Expected, WorkloadState, ill_of, without_older_failures

WELL = WorkloadState("Deployment", "web", "u1", 3, 3, replicas=1, updated=1, total=1, available=1)
ILL = WorkloadState("Deployment", "worker", "u2", 2, 2, replicas=2, updated=2, total=2, available=0)
STATES = {("Deployment", "web"): WELL, ("Deployment", "worker"): ILL}


def test_a_workload_that_was_ill_before_the_change_and_left_alone_by_it_is_not_judged() -> None:
    before = ill_of(STATES)
    expected = (Expected("Deployment", "web", "u1", 4), Expected("Deployment", "worker", "u2", 2))
    assert without_older_failures(expected, before) == expected[:1]


def test_one_that_was_ill_and_is_changed_or_made_again_is_judged() -> None:
    before = ill_of(STATES)
    for changed in (Expected("Deployment", "worker", "u2", 3), Expected("Deployment", "worker", "u3", 1)):
        assert without_older_failures((changed,), before) == (changed,)


def test_one_that_was_well_is_judged_and_jobs_are_no_standing_workloads() -> None:
    job = replace(ILL, kind="Job", name="migrate", failed="BackoffLimitExceeded")
    assert {one.name for one in ill_of({**STATES, ("Job", "migrate"): job})} == {"worker"}
    assert without_older_failures((Expected("Deployment", "web", "u1", 3),), ill_of(STATES)) != ()
