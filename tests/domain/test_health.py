from __future__ import annotations

from dataclasses import replace

from controlplane.domain.health import (
    Expected,
    Health,
    Judgement,
    WorkloadState,
    ill_of,
    judge_all,
    without_older_failures,
)

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


def test_a_rolling_update_comes_further_with_each_pod_and_is_judged_the_same_by_what_it_waits_for() -> None:
    """Two pods become new ones, one more at a time: (updated, all, available) after each step."""
    steps = [(0, 2, 2), (1, 3, 2), (1, 3, 3), (1, 2, 2), (2, 3, 2), (2, 3, 3)]
    old = replace(WELL, replicas=2, updated=2, total=2, available=2)
    seen = [None, replace(old, uid="another"), old]
    seen += [replace(old, generation=4, observed_generation=4, updated=u, total=t, available=a) for u, t, a in steps]
    expected = (Expected("Deployment", "web", "u1", 4),)
    found = [judge_all(expected, {("Deployment", "web"): one} if one else {}) for one in seen]
    assert [one.progress for one in found] == [0, 0, 1, 2, 3, 4, 4, 5, 6]
    assert {one.health for one in found} == {Health.PROGRESSING}
    done = replace(old, generation=4, observed_generation=4)
    assert judge_all(expected, {("Deployment", "web"): done}) == Judgement(Health.HEALTHY)


def test_the_progress_of_a_target_is_that_of_all_its_workloads_and_jobs() -> None:
    job = replace(WELL, kind="Job", name="task", uid="u4")
    states = {**STATES, ("Job", "task"): job}
    expected = (Expected("Deployment", "worker", "u2", 2), Expected("Job", "task", "u4", 1))
    assert judge_all(expected, states).progress == 2 + 2 + 1
    states["Job", "task"] = replace(job, succeeded=True)
    assert judge_all(expected, states).progress == 2 + 2 + 2
