"""The backup gate, judged tenant by tenant."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from controlplane.domain.gating import Verdict
from controlplane.gates.backup import BackupGate, BackupSpec
from tests.gates.scene import NOW, back, scene


def shown(age: timedelta | None, rpo: str | None = "PT1H") -> dict[str, Any]:
    one = None if age is None else {"id": "b", "takenAt": (NOW - age).isoformat(), "size": 7}
    return {"backup": one, "rpo": rpo}


FRESH, OLD = shown(timedelta(minutes=20)), shown(timedelta(minutes=70))


def test_each_tenant_is_judged_by_its_own_tier_and_the_wave_by_the_worst_of_them() -> None:
    evidence = {"targets": {"a": FRESH, "b": OLD, "c": shown(None), "d": shown(timedelta(days=1), None)}}
    each = BackupGate().judge_each(BackupSpec(), scene("a", "b", "c", "d"), evidence)
    assert {tenant: one.verdict for tenant, one in each.items()} == {
        "a": Verdict.PASS,
        "b": Verdict.WAIT,
        "c": Verdict.WAIT,
        "d": Verdict.UNKNOWN,
    }
    assert each["a"].until == NOW + timedelta(minutes=40)
    whole = BackupGate().judge(BackupSpec(), scene("a", "b", "c", "d"), evidence)
    assert whole.verdict is Verdict.UNKNOWN
    waiting = BackupGate().judge(
        BackupSpec(), scene("a", "b", "c"), {"targets": {"a": FRESH, "b": OLD, "c": shown(None)}}
    )
    assert waiting.verdict is Verdict.WAIT
    assert waiting.reason.startswith("2 of 3 tenants: b: the newest checked backup")
    assert "c: no checked backup was reported" in waiting.reason


def test_an_age_in_the_gate_overrules_the_tier() -> None:
    spec = BackupSpec.model_validate({"maxAge": "PT10M"})
    assert BackupGate().judge(spec, scene("a"), {"targets": {"a": FRESH}}).verdict is Verdict.WAIT
    spec = BackupSpec.model_validate({"maxAge": "P2D"})
    assert BackupGate().judge(spec, scene("a"), {"targets": {"a": OLD}}).verdict is Verdict.PASS


def test_what_can_not_be_read_is_unknown_and_a_way_back_waits_for_no_backup() -> None:
    assert BackupGate().judge(BackupSpec(), scene("a"), {"error": "x", "targets": {}}).verdict is Verdict.UNKNOWN
    assert BackupGate().judge(BackupSpec(), scene("a"), {"targets": {}}).verdict is Verdict.UNKNOWN
    assert BackupGate().judge(BackupSpec(), back("a"), {"targets": {"a": shown(None)}}).verdict is Verdict.PASS
