"""The demo judges itself: each way in which it could have gone wrong is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controlplane.cli.demo import verdict
from controlplane.cli.demo.scene import BAD, BROKEN, GOOD, WAVES, tenants
from controlplane.cli.demo.story import Rolled, Standing

NAMES = sorted(t["name"] for t in tenants("x"))
HIT = [*sorted(BROKEN), *[n for n in NAMES if n not in BROKEN][:3]]
REST = [n for n in NAMES if n not in HIT]


def _target(name: str, wave: str, state: str) -> dict[str, Any]:
    return {
        "tenant": name,
        "wave": wave,
        "state": state,
        "startedAt": None if state == "cancelled" else "2026-11-23T08:00:00Z",
    }


def _bad() -> Rolled:
    """A run as promised: two waves passed, one halted on three tenants, one never touched."""
    targets = [_target(n, "pilot", "verified") for n in REST[:2]] + [
        _target(n, "grow-1", "verified") for n in REST[2:6]
    ]
    targets += [_target(n, "grow-2", "rolledBack" if n in BROKEN else "verified") for n in HIT]
    targets += [_target(n, "rest", "cancelled") for n in REST[6:]]
    waves = [{"name": n, "state": s} for n, s in zip(WAVES, ("done", "done", "failed", "pending"), strict=True)]
    return Rolled({}, {"state": "failed", "waves": waves}, targets, [], 1.0)


def _standings(run: Rolled) -> list[Standing]:
    verified = {t["tenant"] for t in run.targets if t["state"] == "verified"}
    return [Standing(n, BAD if n in verified else GOOD, verified=True, health="healthy") for n in NAMES]


def test_a_run_as_promised_leaves_nothing_to_say() -> None:
    run = _bad()
    assert [*verdict.bad_run(run), *verdict.ending(run, _standings(run))] == []


@pytest.mark.parametrize(
    ("tenant", "state", "told"),
    [
        (min(BROKEN), "verified", "not exactly"),
        (HIT[-1], "rolledBack", "not exactly"),
        (sorted(BROKEN)[1], "stuck", "stuck: "),
        (REST[-1], "verified", "wave rest was touched: " + REST[-1]),
    ],
)
def test_a_tenant_that_stands_elsewhere_than_promised_is_told(tenant: str, state: str, told: str) -> None:
    run = _bad()
    for target in run.targets:
        if target["tenant"] == tenant:
            target.update(_target(tenant, target["wave"], state))
    assert any(told in sentence for sentence in verdict.bad_run(run))


@pytest.mark.parametrize(("number", "state"), [(0, "failed"), (2, "done")])
def test_a_wave_that_ended_otherwise_is_told(number: int, state: str) -> None:
    run = copy.deepcopy(_bad())
    run.view["waves"][number]["state"] = state
    assert any(WAVES[number] in sentence for sentence in verdict.bad_run(run))


def test_a_rollout_that_did_not_fail_is_told() -> None:
    run = _bad()
    run.view["state"] = "succeeded"
    assert f"the rollout of {BAD} ended as succeeded, not as failed" in list(verdict.bad_run(run))


def test_a_tenant_that_runs_another_version_or_is_ill_is_told() -> None:
    run = _bad()
    standings = _standings(run)
    standings[0] = Standing(NAMES[0], "17.0.3", verified=True, health="unhealthy")
    told = list(verdict.ending(run, standings))
    assert len(told) == 2
    assert all(NAMES[0] in sentence for sentence in told)


def test_a_good_run_with_a_tenant_left_behind_is_told() -> None:
    waves = [{"name": n, "state": "done"} for n in WAVES]
    run = Rolled(
        {}, {"state": "succeeded", "waves": waves}, [_target(n, "rest", "verified") for n in NAMES[1:]], [], 1.0
    )
    assert list(verdict.good_run(run, 24)) == ["23 of 24 tenants were verified on 17.0.4"]


def test_a_release_that_is_not_held_is_told() -> None:
    assert len(list(verdict.held({"hold": None}, {"fate": [{"outcome": "started"}]}))) == 2
    assert list(verdict.held({"hold": {"reason": "x"}}, {"fate": [{"outcome": "held"}]})) == []
