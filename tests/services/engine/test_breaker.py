"""The breaker on real PostgreSQL and the simulated fleet: what opens it stops everybody, what was let through closes it."""

from __future__ import annotations

from typing import Any

import psycopg

from controlplane.adapters.simulated.profile import Profile
from controlplane.services.breakers import keep_breakers, reset_breaker
from tests.contract.fleets import until_read

from .conftest import Stage
from .test_driver import CAREFUL, QUICK, broken, clean, installed

RULES: dict[str, Any] = {
    "breaker": {"failures": {"count": 2, "within": "PT1H"}, "unhealthy": None, "unhealthyOnCluster": None}
}
BOLD: dict[str, Any] = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, **QUICK}],
    "limits": {"inFlight": 3},
    "success": {"min": 1, "maxFailures": "100%", "progressDeadline": "PT1S"},
}
ONE_BY_ONE: dict[str, Any] = {**CAREFUL, "limits": {"inFlight": 1}}


def breaker(stage: Stage, scope: str = "fleet/inFlight") -> tuple[str, str]:
    """(state, code)."""
    rows = stage.rows.ask("select breaker, breaker_detail->>'code' from budgets where scope = %s", scope)
    return (rows[0][0], rows[0][1] or "") if rows else ("", "")


async def keep(stage: Stage) -> None:
    async with stage.transactions.engine() as uow:
        await keep_breakers(uow)


async def reset(stage: Stage, to: Any = "halfOpen") -> None:
    async with stage.transactions.platform() as uow:
        await reset_breaker(uow, "fleet", to=to, reason="we mended the database", actor="ola")


async def opened(stage: Stage, healthy: str = "mnopqr") -> Any:
    """A fleet whose breaker a bad release opened while another rollout waits to go on; returns that rollout."""
    stage.rows.config("limits", "fleet", RULES)
    stage.rows.config("strategies", "bold", BOLD)
    stage.rows.config("strategies", "single", ONE_BY_ONE)
    await installed(stage, "abcdef" + healthy)
    stage.rows.release("2.0")
    broken(stage, "2.0", *"abcdef")
    stage.rows.run("update tenants set labels = '{\"half\": \"bad\"}' where tenant < 'm'")
    stage.rows.run("update tenants set labels = '{\"half\": \"good\"}' where tenant >= 'm'")
    bad = await stage.start("2.0", "bold", selector="half=bad")

    async def trips() -> bool:
        return breaker(stage)[0] == "open"

    await until_read(trips)
    stage.world.profile = Profile()
    stage.rows.release("3.0")
    other = await stage.start("3.0", "single", selector="half=good")
    await _seen_stopped(stage, other)
    await stage.command(bad, "abort", inFlight="finish")
    assert await stage.over(bad) == "aborted"
    return other


async def _seen_stopped(stage: Stage, rollout: Any) -> None:
    """Its driver runs, knows the breaker, and has started nobody."""

    async def runs() -> bool:
        return stage.state(rollout) == "running"

    await until_read(runs)
    assert stage.targets(rollout) == dict.fromkeys(stage.targets(rollout), "pending")


async def test_failures_over_all_rollouts_open_it_and_nothing_forward_is_issued_anywhere_after_it(stage: Stage) -> None:
    other = await opened(stage)
    assert breaker(stage) == ("open", "failures")
    at = stage.rows.ask("select (breaker_detail->>'since')::timestamptz from budgets where scope = 'fleet/inFlight'")[
        0
    ][0]
    late = stage.rows.ask("select tenant from steps where phase = 'apply' and issued_at > %s", at)
    assert late == []
    assert (
        stage.rows.ask("select taken from budget_moves where closed and taken > 0 and scope = 'fleet/inFlight'") == []
    )
    told = stage.rows.ask("select type, data->>'code' from history where subject_kind = 'breaker'")
    assert told == [("dev.seawall.breaker.opened.v1", "failures")]
    assert set(stage.targets(other).values()) == {"pending"}


async def test_ways_back_go_on_while_it_is_open(stage: Stage) -> None:
    await opened(stage)
    assert breaker(stage)[0] == "open"
    bad = "select max(id::text)::uuid from rollouts where release_version = '2.0'"
    states = stage.rows.ask(f"select distinct state from targets where rollout_id = ({bad})")
    assert {state for (state,) in states} == {"rolledBack", "cancelled"}
    assert stage.rows.ask("select count(*) from steps where phase = 'back' and outcome <> 'ok'") == [(0,)]


async def test_half_open_lets_one_target_through_and_closes_when_it_is_verified(stage: Stage) -> None:
    other = await opened(stage)
    await reset(stage)

    async def probing() -> bool:
        return breaker(stage)[0] == "probing"

    await until_read(probing)

    async def verified() -> bool:
        return sorted(stage.targets(other).values()) == ["pending"] * 5 + ["verified"]

    await until_read(verified)
    await keep(stage)
    assert breaker(stage) == ("", "")
    assert await stage.over(other) == "succeeded"
    audited = stage.rows.ask("select actor, detail->>'reason' from audit where action = 'breakers.reset'")
    assert audited == [("ola", "we mended the database")]
    changes = [
        t.split(".")[3]
        for (t,) in stage.rows.ask("select type from history where subject_kind = 'breaker' order by seq")
    ]
    assert changes == ["opened", "halfOpened", "closed"]


async def test_a_probe_that_fails_opens_it_again(stage: Stage) -> None:
    other = await opened(stage)
    broken(stage, "3.0", *"mnopqr")
    await reset(stage)

    async def again() -> bool:
        told = stage.rows.ask("select type from history where subject_kind = 'breaker' order by seq")
        return [t.split(".")[3] for (t,) in told] == ["opened", "halfOpened", "opened"]

    await until_read(again)
    assert breaker(stage)[0] == "open"
    assert await stage.over(other) == "failed"


async def test_it_tries_again_by_itself_after_the_quiet_time(stage: Stage) -> None:
    other = await opened(stage)
    await keep(stage)
    assert breaker(stage)[0] == "open"
    stage.rows.config("limits", "fleet", {"breaker": {**RULES["breaker"], "quiet": "PT0S"}})
    await keep(stage)

    async def closed() -> bool:
        await keep(stage)
        return breaker(stage)[0] == ""

    await until_read(closed)
    assert await stage.over(other) == "succeeded"


async def test_a_breaker_that_opens_between_the_look_and_the_grant_stops_the_grant(stage: Stage) -> None:
    """Whoever opens it first holds the row's lock: the driver that waits for it grants nothing when it gets it."""
    await installed(stage, "abc")
    stage.rows.release("2.0")
    with psycopg.connect(stage.rows.url) as db:
        db.execute("select 1 from budgets where scope = 'fleet/inFlight' for update")
        rollout = await stage.start("2.0")

        async def waits_for_the_row() -> bool:
            return bool(
                stage.rows.ask(
                    "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%%from budgets%%'"
                )
            )

        await until_read(waits_for_the_row)
        db.execute("update budgets set breaker = 'open', version = version + 1 where scope = 'fleet/inFlight'")
    await _seen_stopped(stage, rollout)
    assert stage.rows.ask("select count(*) from steps where subject_id = %s", rollout) == [(0,)]
    async with stage.transactions.platform() as uow:
        await reset_breaker(uow, "fleet", to="closed", reason="false alarm", actor="ola")
    assert await stage.over(rollout) == "succeeded"
    clean(stage)
