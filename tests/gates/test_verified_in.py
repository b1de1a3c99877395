"""The verified-in gate, judged: which run counts, for how long, and with which values."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.gating import Verdict
from controlplane.gates.verified_in import VerifiedInGate, VerifiedInSpec, _prune
from tests.gates.scene import NOW, back, scene

DAY = VerifiedInSpec.model_validate({"environment": "staging", "for": "PT24H"})


def run(hours: float, *, ended: float | None = None, same: bool = True, tenant: str = "a") -> dict[str, Any]:
    until = None if ended is None else (NOW - timedelta(hours=ended)).isoformat()
    since = (NOW - timedelta(hours=hours)).isoformat()
    return {"tenant": tenant, "release": "17.0.4", "revision": 3, "since": since, "until": until, "sameValues": same}


def of(*runs: dict[str, Any], environment: bool = True) -> dict[str, Any]:
    return {"targets": {"a": {"release": "17.0.4", "environment": environment, "ran": list(runs)}}}


@pytest.mark.parametrize(
    ("evidence", "verdict", "reason"),
    [
        (of(run(25)), Verdict.PASS, "staging ran 17.0.4 for P1D, verified"),
        (of(run(3)), Verdict.WAIT, "has run 17.0.4 for less than P1D"),
        (of(run(50, ended=20)), Verdict.PASS, "verified"),
        (of(run(50, ended=40)), Verdict.WAIT, "ran 17.0.4 for less than"),
        (of(run(25, same=False)), Verdict.WAIT, "with other values only"),
        (of(run(25, same=False), run(1)), Verdict.WAIT, "has run 17.0.4 for less"),
        (of(), Verdict.WAIT, "staging has not run 17.0.4, verified"),
        (of(environment=False), Verdict.WAIT, "it has no environment staging"),
        ({"error": "away", "targets": {}}, Verdict.UNKNOWN, "could not measure"),
        ({"targets": {}}, Verdict.UNKNOWN, "no tenant"),
    ],
)
def test_a_tenant_needs_its_own_environment_to_have_run_it_long_enough_with_its_values(
    evidence: dict[str, Any], verdict: Verdict, reason: str
) -> None:
    judged = VerifiedInGate().judge(DAY, scene("a"), evidence)
    assert judged.verdict is verdict
    assert reason in judged.reason


def test_what_is_still_running_says_until_when() -> None:
    assert VerifiedInGate().judge(DAY, scene("a"), of(run(3))).until == NOW + timedelta(hours=21)


def test_a_tenant_without_the_environment_may_be_let_pass_and_other_values_may_be_allowed() -> None:
    lenient = VerifiedInSpec.model_validate({"for": "PT24H", "without": "pass", "values": "any"})
    assert VerifiedInGate().judge(lenient, scene("a"), of(environment=False)).verdict is Verdict.PASS
    assert VerifiedInGate().judge(lenient, scene("a"), of(run(25, same=False))).verdict is Verdict.PASS


@pytest.mark.parametrize(("share", "verdict"), [("50%", Verdict.PASS), ("51%", Verdict.WAIT), ("1%", Verdict.PASS)])
def test_a_share_of_the_fleet_is_rounded_up(share: str, verdict: Verdict) -> None:
    spec = VerifiedInSpec.model_validate({"of": "fleet", "share": share, "for": "PT24H"})
    ran = [run(25, tenant="a"), run(30, tenant="b"), run(2, tenant="c")]
    evidence = {"releases": ["17.0.4"], "ran": ran, "environments": 4}
    assert VerifiedInGate().judge(spec, scene("x"), evidence).verdict is verdict


def test_a_fleet_without_that_environment_waits_and_unknown_targets_never_pass() -> None:
    spec = VerifiedInSpec.model_validate({"of": "fleet"})
    nobody: dict[str, Any] = {"releases": ["17.0.4"], "ran": [], "environments": 0}
    assert VerifiedInGate().judge(spec, scene("x"), nobody).verdict is Verdict.WAIT
    assert VerifiedInGate().judge(spec, scene("x"), {**nobody, "releases": []}).verdict is Verdict.UNKNOWN


def test_a_way_back_needs_no_staging() -> None:
    assert VerifiedInGate().judge(DAY, back("a"), of()).verdict is Verdict.PASS


def test_ignored_places_are_left_out_and_nothing_else() -> None:
    values = {"hosts": ["x"], "web": {"replicas": 2, "image": "i"}, "tax": {"rate": 20}}
    assert _prune(values, {("hosts",), ("web", "replicas"), ("tax", "rate", "deeper"), ("absent",)}) == {
        "web": {"image": "i"},
        "tax": {"rate": 20},
    }


@pytest.mark.parametrize(
    "body", [{"of": "fleet", "values": "any"}, {"of": "fleet", "ignore": ["/a"]}, {"share": "0%"}, {"ignore": ["a"]}]
)
def test_a_spec_that_asks_nothing_or_the_impossible_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VerifiedInSpec.model_validate(body)
