"""Risk rules while a rollout runs: what began after it was planned holds the tenants it is about, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from controlplane.adapters.cel import Cel
from controlplane.adapters.icalendars import ICalendars
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.rollouts.start import plan_and_start
from tests.adapters.test_icalendars import ics
from tests.contract.fleets import until_read

from .conftest import Stage
from .test_evidence_gates import attest

WHEN = 'release.database.change != "none" && "close" in calendar.active'


def close(stage: Stage, begins: timedelta, selector: str) -> None:
    """The financial close of whom the selector matches, from then on for an hour. It denies nothing itself: no tenant is in its window."""
    start = datetime.now(UTC) + begins
    event = (f"DTSTART:{start:%Y%m%dT%H%M%SZ}", f"DTEND:{start + timedelta(hours=1):%Y%m%dT%H%M%SZ}", "SUMMARY:close")
    stage.rows.config("calendars", "close", {"effect": "allow", "selector": selector, "ics": ics(event)})


async def test_a_close_that_begins_between_two_waves_holds_whom_it_is_about_until_it_is_over(stage: Stage) -> None:
    soak = {"for": "PT0S", "samples": 1}
    after = [{"evidence": {"require": [{"kind": "rehearsal"}]}}]
    pilot = {"name": "pilot", "cut": {"selector": "tenant=a"}, "soak": soak, "after": after}
    stage.rows.config(
        "strategies", "two", {"waves": [pilot, {"name": "rest", "cut": {"percent": "100%"}, "soak": soak}]}
    )
    stage.rows.release("1.0", database={"change": "reversible"})
    await stage.tenants(["a", "b", "c"])
    stage.rows.config("rules", "close", {"when": WHEN, "then": {"refuse": True}, "reason": "No schema change in it."})
    tools = replace(stage.tools, expressions=Cel(), times=ICalendars())
    ask = Ask(RolloutRequest(release="odoo/1.0", strategy="two"))
    rollout = (await plan_and_start(tools, ask, actor="mia", origin={"kind": "person"})).id
    planned = stage.rows.ask(
        "select plan #> '{waves,1,beforeEach}', plan -> 'rules' from rollouts where id = %s", rollout
    )
    assert planned == [([{"rules": {}}], [])]

    async def pilot_verified() -> bool:
        return stage.targets(rollout)["a"] == "verified"

    await until_read(pilot_verified)
    close(stage, timedelta(seconds=-5), "tenant=b")
    await attest(stage, "1.0", kind="rehearsal")

    async def held() -> bool:
        return stage.targets(rollout) == {"a": "verified", "b": "pending", "c": "verified"}

    await until_read(held)
    said = stage.rows.ask("select verdict, reason from target_gates where tenant = 'b' and kind = 'rules'")
    assert said == [("wait", "Rule close@1 refuses it: No schema change in it.")]
    stage.rows.config("rules", "close", {"when": "false", "then": {"refuse": True}, "reason": "It is over."})
    assert await stage.over(rollout) == "succeeded"
