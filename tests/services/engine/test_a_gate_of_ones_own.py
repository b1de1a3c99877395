"""The gate of docs/how-to/write-a-gate.md, one file and one line, stands before a wave of a real rollout."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from controlplane.gates import GATES
from controlplane.ports.gates import Gate
from tests.contract.fleets import until_read
from tests.gates.test_write_a_gate import gate

from .conftest import Stage

__all__ = ["gate"]
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


async def begun(stage: Stage, *days: str) -> Any:
    wave = {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}
    stage.rows.config("strategies", "weekly", {"waves": [{**wave, "before": [{"weekday": {"on": days}}]}]})
    return await stage.start("1.0", "weekly")


async def test_it_holds_the_wave_with_its_reason_until_its_day_and_its_evidence_is_kept(
    stage: Stage, gate: Gate[Any]
) -> None:
    stage.tools = replace(stage.tools, gates=frozenset(GATES))  # as at the start of a process that has the line
    stage.rows.release("1.0")
    await stage.tenants(["a"])
    today = datetime.now(UTC).weekday()
    held = await begun(stage, DAYS[(today + 3) % 7])

    async def said() -> list[tuple[Any, ...]]:
        return stage.rows.ask(
            "select verdict, reason, evidence ->> 'today' from gates where rollout_id = %s and since is not null", held
        )

    ((verdict, reason, seen),) = await until_read(said)
    assert (verdict, seen in DAYS, reason.startswith(f"{seen} is not one of ")) == ("wait", True, True)
    assert stage.targets(held) == {"a": "pending"}
    await stage.command(held, "abort", inFlight="finish")
    assert await stage.over(held) == "aborted"
    assert await stage.over(await begun(stage, *DAYS)) == "succeeded"
