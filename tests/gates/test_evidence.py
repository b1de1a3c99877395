"""The evidence gate, judged: what is missing, too old, failed, above its limit, or not measured."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controlplane.domain.gating import Verdict
from controlplane.gates.evidence import EvidenceGate, EvidenceSpec
from tests.gates.scene import NOW, back, scene

SPEC = EvidenceSpec.model_validate(
    {
        "require": [
            {"kind": "security", "maxAge": "P7D", "max": {"critical": 0}},
            {"kind": "performance-baseline", "max": {"regressionPercent": 10}, "min": {"samples": 1000}},
        ]
    }
)


def shown(age: timedelta = timedelta(hours=1), passed: bool = True, signature: Any = None, **results: Any) -> Any:
    at = (NOW - age).isoformat()
    return {"id": "x", "at": at, "passed": passed, "results": results, "signature": signature}


SECURE = shown(critical=0)
FAST = shown(regressionPercent=4.5, samples=5000)


@pytest.mark.parametrize(
    ("security", "performance", "verdict", "reason"),
    [
        (SECURE, FAST, Verdict.PASS, "security of odoo/17.0.4 is good"),
        (None, FAST, Verdict.WAIT, "nothing of kind security was attested about odoo/17.0.4"),
        (shown(timedelta(days=8), critical=0), FAST, Verdict.WAIT, "older than P7D"),
        (shown(passed=False, critical=0), FAST, Verdict.FAIL, "says that it failed"),
        (shown(critical=2), FAST, Verdict.FAIL, "security: critical 2 > 0"),
        (SECURE, shown(regressionPercent=12, samples=5000), Verdict.FAIL, "regressionPercent 12 > 10"),
        (SECURE, shown(regressionPercent=1, samples=10), Verdict.FAIL, "samples 10 < 1000"),
        (SECURE, shown(samples=5000), Verdict.UNKNOWN, "says no number regressionPercent"),
        (SECURE, shown(regressionPercent="4", samples=5000), Verdict.UNKNOWN, "says no number"),
        (SECURE, shown(regressionPercent=True, samples=5000), Verdict.UNKNOWN, "says no number"),
        (shown(passed=False), None, Verdict.FAIL, "says that it failed"),
        (shown(signature={"outcome": "unknown", "reason": "no trust"}), FAST, Verdict.UNKNOWN, "could not check"),
        (shown(signature={"outcome": "invalid", "reason": "tampered"}), FAST, Verdict.FAIL, "is not good: tampered"),
    ],
)
def test_the_worst_of_all_that_is_required_counts(
    security: Any, performance: Any, verdict: Verdict, reason: str
) -> None:
    judged = EvidenceGate().judge(SPEC, scene(), {"releases": {"17.0.4": [security, performance]}})
    assert judged.verdict is verdict
    assert reason in judged.reason


def test_nothing_to_look_at_and_nothing_that_could_be_read_never_pass() -> None:
    assert EvidenceGate().judge(SPEC, scene(), {"releases": {}}).verdict is Verdict.UNKNOWN
    assert EvidenceGate().judge(SPEC, scene(), {"error": "away"}).verdict is Verdict.UNKNOWN


def test_a_way_back_needs_no_new_evidence() -> None:
    assert EvidenceGate().judge(SPEC, back(), {"releases": {"17.0.4": [None, None]}}).verdict is Verdict.PASS
