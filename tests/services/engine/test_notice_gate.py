"""Owners are told of a change of the database before it comes, and it waits for so long."""

from __future__ import annotations

from typing import Any

from tests.contract.fleets import until_read

from .conftest import Stage

WAVES: dict[str, Any] = {
    "waves": [
        {
            "name": "all",
            "cut": {"percent": "100%"},
            "soak": {"for": "PT0S", "samples": 1},
            "beforeEach": [{"notice": {"period": "PT4S", "risks": ["tax"]}}],
        }
    ],
    "limits": {"inFlight": "100%"},
}


async def test_owners_are_told_when_the_rollout_starts_and_their_change_waits(stage: Stage) -> None:
    stage.rows.config("strategies", "told", WAVES)
    stage.rows.release("1.0", risks=["tax"])
    await stage.tenants(["a", "b"])
    rollout = await stage.start("1.0", "told")
    given = stage.rows.ask(
        "select tenant, data ->> 'release', data ->> 'why' from history where subject_kind = 'notice'"
    )
    assert sorted(given) == [("a", "odoo/1.0", "it touches tax"), ("b", "odoo/1.0", "it touches tax")]
    copies = "select subject from outbox where subject like '%%notice.given' order by subject"
    assert stage.rows.ask(copies) == [("sw.event.a.notice.given",), ("sw.event.b.notice.given",)]

    async def waiting() -> bool:
        return stage.rows.ask("select count(*) from targets where code = 'notice' and state = 'pending'") == [(2,)]

    await until_read(waiting)
    assert await stage.over(rollout) == "succeeded"
    started = "select min(t.started_at - n.at) > interval '4 seconds' from targets t join notices n using (tenant)"
    assert stage.rows.ask(started) == [(True,)]


async def test_a_release_that_asks_for_none_starts_at_once_and_nobody_is_told(stage: Stage) -> None:
    stage.rows.config("strategies", "told", WAVES)
    stage.rows.release("1.0")
    await stage.tenants(["a"])
    assert await stage.over(await stage.start("1.0", "told")) == "succeeded"
    assert stage.rows.ask("select count(*) from notices") == [(0,)]
    assert stage.rows.ask("select verdict, reason from target_gates") == [("pass", "this change asks for no notice")]
