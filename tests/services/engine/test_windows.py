"""Windows obeyed by a real driver: calendars whose events begin and end within seconds."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.adapters.icalendars import ICalendars
from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.configuration.kinds import KINDS
from controlplane.services.configuration.objects import delete_object, put_object
from controlplane.services.rollouts.prepare import prepare
from controlplane.services.rollouts.tools import RolloutTools
from tests.adapters.test_icalendars import ics
from tests.contract.fleets import until_read

from .conftest import Stage

CALENDARS: Any = next(kind for kind in KINDS if kind.plural == "calendars")
AT_ONCE = {"for": "PT0S", "samples": 1}
FAR = 3600.0
SOAK = {"for": "PT10S", "samples": 1}


def event(start: float, end: float) -> tuple[str, ...]:
    """From so many seconds from now to so many."""
    now = datetime.now(UTC)
    times = [now + timedelta(seconds=seconds) for seconds in (start, end)]
    return f"DTSTART:{times[0]:%Y%m%dT%H%M%SZ}", f"DTEND:{times[1]:%Y%m%dT%H%M%SZ}", "SUMMARY:stocktaking"


def spec(effect: str, selector: str, *events: tuple[str, ...]) -> dict[str, Any]:
    return {"effect": effect, "selector": selector, "ics": ics(*events)}


async def begin(
    stage: Stage, tenants: list[str], soak: dict[str, Any] | None = None, in_flight: int = 1, **windows: Any
) -> uuid.UUID:
    wave = {"name": "all", "cut": {"percent": "100%"}, "soak": soak or AT_ONCE}
    rules = {"waves": [wave], "limits": {"inFlight": in_flight}, "windows": {"finish": "ignore", **windows}}
    stage.rows.config("strategies", "kept", rules)
    stage.rows.release("1.0")
    await stage.tenants(tenants)
    return await stage.start("1.0", "kept")


async def until_rows(stage: Stage, rollout: uuid.UUID, statement: str, wanted: list[tuple[Any, ...]]) -> None:
    async def there() -> bool:
        return stage.rows.ask(statement, rollout) == wanted

    await until_read(there)


async def test_who_waits_for_a_window_takes_no_place_and_starts_when_it_opens(stage: Stage) -> None:
    stage.rows.config("calendars", "nights", spec("allow", "tenant=a", event(6, FAR)))
    rollout = await begin(stage, ["a", "b", "c"])
    await until_rows(
        stage,
        rollout,
        "select tenant, state, code from targets where rollout_id = %s order by tenant",
        [("a", "pending", "window"), ("b", "verified", ""), ("c", "verified", "")],
    )
    reason = stage.rows.ask("select reason, memory -> 'driver' ->> 'waits_until' from targets where tenant = 'a'")[0]
    assert reason[0].startswith("opens ")
    assert datetime.fromisoformat(reason[1]) > datetime.now(UTC) - timedelta(seconds=6)
    assert stage.rows.ask("select count(*) from reservations") == [(0,)]
    assert stage.rows.ask("select slot_id from environments where tenant = 'a'") == [(None,)]
    assert await stage.over(rollout) == "succeeded"


async def test_a_calendar_put_while_a_rollout_runs_is_heard_and_so_is_its_end(stage: Stage) -> None:
    stage.rows.config("calendars", "peak", spec("deny", "", event(-FAR, FAR)))
    rollout = await begin(stage, ["a", "b"])
    held = "select w.state, w.detail ->> 'code', w.detail ->> 'until' <> '' from waves w where rollout_id = %s"
    await until_rows(stage, rollout, held, [("pending", "window", True)])
    async with stage.transactions.platform() as uow:
        closes_one = CalendarSpec.model_validate(spec("deny", "tenant=a", event(-FAR, FAR)))
        await put_object(uow, CALENDARS, "peak", closes_one, actor="mia", check=lambda _: None)
    await until_rows(
        stage,
        rollout,
        "select tenant, state from targets where rollout_id = %s order by tenant",
        [("a", "pending"), ("b", "verified")],
    )
    async with stage.transactions.platform() as uow:
        await delete_object(uow, CALENDARS, "peak", actor="mia")
    assert await stage.over(rollout) == "succeeded"


async def test_a_straggler_goes_to_the_catch_up_list_and_comes_back_when_its_window_opens(stage: Stage) -> None:
    stage.rows.config("calendars", "late", spec("deny", "tenant=b", event(-FAR, 7)))
    stage.rows.config("calendars", "never", spec("deny", "tenant=c", event(-FAR, FAR)))
    rollout = await begin(stage, ["a", "b", "c"], soak={"for": "PT14S", "samples": 1}, in_flight=3, wait="PT1S")
    states = "select tenant, state, code from targets where rollout_id = %s and tenant <> 'a' order by tenant"
    await until_rows(stage, rollout, states, [("b", "deferred", "window"), ("c", "deferred", "window")])
    assert await stage.over(rollout, within=60) == "succeeded"
    assert stage.targets(rollout) == {"a": "verified", "b": "verified", "c": "skipped"}
    told = (
        "select type from history where subject_id = %s and tenant = 'b'"
        " and (type like '%%-deferred%%' or type like '%%caught-up%%') order by seq"
    )
    assert [row[0].split(".")[3] for row in stage.rows.ask(told, str(rollout))] == [
        "target-deferred",
        "target-caught-up",
    ]


async def test_ways_back_ask_no_window(stage: Stage) -> None:
    rollout = await begin(stage, ["a"])
    assert await stage.over(rollout) == "succeeded"
    stage.rows.release("2.0")
    assert await stage.over(await stage.start("2.0", "kept")) == "succeeded"
    stage.rows.config("calendars", "peak", spec("deny", "", event(-FAR, FAR)))
    ask = Ask(RolloutRequest(kind="rollback", app="odoo", strategy="kept", to="lastVerified"))
    tools = RolloutTools(open=stage.transactions.platform, expander=ICalendars())
    assert (await prepare(tools, ask)).plan.waiting_for == ()
    from controlplane.services.rollouts.start import plan_and_start

    back = await plan_and_start(tools, ask, actor="mia", origin={"kind": "person"})
    assert await stage.over(back.id) == "succeeded"


async def test_a_plan_says_who_waits_until_when_and_which_wave_no_window_is_long_enough_for(stage: Stage) -> None:
    stage.rows.config("calendars", "lunch", spec("allow", "tenant=a", event(600, 660)))
    wave = {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT1H", "samples": 1}}
    stage.rows.config("strategies", "long", {"waves": [wave]})
    stage.rows.release("1.0")
    await stage.tenants(["a"])
    tools = RolloutTools(open=stage.transactions.platform, expander=ICalendars())
    plan = (await prepare(tools, Ask(RolloutRequest(release="odoo/1.0", strategy="long")), to_start=False)).plan
    waits = plan.waiting_for[0]
    assert (waits.tenant, waits.gate) == ("a", "window")
    assert waits.reason.startswith("opens ")
    assert waits.until is not None
    assert plan.waves[0].expected_by > waits.until
    assert "window-too-short" in [note.code for note in plan.notes]


async def test_who_was_put_off_by_its_owner_takes_its_turn_when_that_time_is_over(stage: Stage) -> None:
    stage.rows.config(
        "strategies",
        "kept",
        {"waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": SOAK}], "limits": {"inFlight": 2}},
    )
    stage.rows.release("1.0")
    await stage.tenants(["a", "b"])
    stage.rows.run("update tenant_apps set deferred_until = now() + interval '5 seconds' where tenant = 'a'")
    rollout = await stage.start("1.0", "kept")
    states = "select tenant, state, code from targets where rollout_id = %s and tenant = 'a'"
    await until_rows(stage, rollout, states, [("a", "deferred", "tenant-deferred")])
    assert await stage.over(rollout, within=60) == "succeeded"
    assert stage.targets(rollout) == {"a": "verified", "b": "verified"}
