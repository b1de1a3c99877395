"""Two rollouts on the same tenants, one of which breaks them: the guilty one is stopped, the other waits until they are well and goes on."""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from controlplane.adapters.icalendars import ICalendars
from controlplane.adapters.simulated.controllers import Controllers
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.illness import Ward, look
from controlplane.services.jury import Jury
from controlplane.services.rollouts.start import plan_and_start
from tests.adapters.test_icalendars import ics
from tests.contract.fleets import until_read
from tests.support.charts import DEPLOYMENT, chart
from tests.support.query_api import QueryApi, query_api, vector

from .conftest import Stage
from .test_driver import clean
from .test_windows import event

ILL, WELL = "abcd", "efgh"
SOON = {"for": "PT0S", "samples": 1}
LONG = {"for": "PT5S", "samples": 3}
SYNC = {"sync.yaml": DEPLOYMENT.replace("name: web", "name: sync").replace("app: web", "app: sync")}
FIRST_FOUR: dict[str, Any] = {
    "waves": [
        {
            "name": "first",
            "cut": {"count": 4},
            "soak": SOON,
            "after": [{"approval": {"group": "business", "count": 1}}],
        },
        {"name": "rest", "cut": {"percent": "100%"}, "soak": SOON},
    ],
    "limits": {"inFlight": 4},
}
WATCHED: dict[str, Any] = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": LONG}],
    "limits": {"inFlight": "100%"},
    "success": {"maxFailures": 0, "progressDeadline": "PT20S"},
    "during": [{"metric": {"query": "errors", "max": 0.01, "interval": "PT0.3S", "samples": 1}}],
}
IN_SOAK = {**WATCHED, "during": []}


async def start(stage: Stage, app: str, version: str, strategy: str) -> uuid.UUID:
    """Start a release, or without a version the values of now."""
    what = {"release": f"{app}/{version}"} if version else {"kind": "values", "app": app}
    ask = Ask(RolloutRequest.model_validate({**what, "strategy": strategy}))
    return (await plan_and_start(stage.tools, ask, actor="mia", origin={"kind": "person"})).id


def sync_release(stage: Stage, version: str) -> None:
    stage.rows.release(version, chart(SYNC, values={"release": version}, base=False), app="pos-sync")


@pytest.fixture
async def errors(stage: Stage) -> AsyncIterator[QueryApi]:
    """A metric source whose shops fail requests where `ill` says so."""
    async with query_api() as api:
        api.answer = healthy
        stage.metrics_url = api.url
        yield api


async def healthy(_request: web.Request) -> web.StreamResponse:
    return vector(**dict.fromkeys(ILL + WELL, "0.001"))


async def failing(_request: web.Request) -> web.StreamResponse:
    return vector(**dict.fromkeys(WELL, "0.001"), **dict.fromkeys(ILL, "0.3"))


@pytest.fixture
async def both(stage: Stage) -> Stage:
    """Eight tenants that run both apps; then rollouts of an hour ago are forgotten, as if they had been last week."""
    stage.rows.config("strategies", "first-four", FIRST_FOUR)
    stage.rows.config("strategies", "watched", WATCHED)
    stage.rows.config("strategies", "in-soak", IN_SOAK)
    stage.rows.config("apps", "pos-sync", {})
    stage.rows.release("1.0")
    sync_release(stage, "1.0")
    await stage.tenants(list(ILL + WELL))
    stage.rows.also(ILL + WELL, "pos-sync")
    for app in ("odoo", "pos-sync"):
        assert await stage.over(await start(stage, app, "1.0", "all")) == "succeeded"
    stage.rows.run("update history set at = at - interval '7 days'")
    stage.rows.release("2.0")
    sync_release(stage, "2.0")
    return stage


def states(stage: Stage, rollout: uuid.UUID, tenants: Collection[str]) -> set[str]:
    return {state for tenant, state in stage.targets(rollout).items() if tenant in tenants}


def told(stage: Stage, kind: str, subject: object, change: str) -> list[dict[str, Any]]:
    asked = "select data from history where subject_kind = %s and subject_id = %s and type = %s order by seq"
    return [data for (data,) in stage.rows.ask(asked, kind, str(subject), f"dev.seawall.{kind}.{change}.v1")]


async def half_changed(stage: Stage, version: str = "2.0", strategy: str = "first-four") -> uuid.UUID:
    """The rollout that will be guilty: its first four tenants run it, the other four wait for an approval."""
    guilty = await start(stage, "pos-sync", version, strategy)

    async def waits() -> bool:
        return states(stage, guilty, ILL) == {"verified"}

    await until_read(waits)
    return guilty


async def changed_too(stage: Stage, strategy: str = "watched") -> uuid.UUID:
    """The rollout that overlaps: all eight soak."""
    other = await start(stage, "odoo", "2.0", strategy)

    async def soaks() -> bool:
        return set(stage.targets(other).values()) == {"soak"}

    await until_read(soaks)
    return other


async def heard(stage: Stage, kind: str, subject: object, change: str) -> dict[str, Any]:
    """The first line of history of this kind, waited for."""

    async def said() -> bool:
        return told(stage, kind, subject, change) != []

    await until_read(said)
    return told(stage, kind, subject, change)[0]


@pytest.mark.parametrize("version", ["2.0", ""], ids=["release", "values"])
async def test_the_guilty_rollout_is_halted_and_goes_back_and_the_other_finishes_without_losing_a_target(
    both: Stage, errors: QueryApi, version: str
) -> None:
    if not version:
        both.rows.run("""update tenants set apps = jsonb_set(apps, '{pos-sync,values}', '{"replicas": 2}')""")
    guilty = await half_changed(both, version)
    good = await changed_too(both)
    errors.answer = failing

    async def gone_back() -> bool:
        return states(both, guilty, ILL) == {"rolledBack"}

    await until_read(gone_back)
    assert both.state(good) == "running"
    errors.answer = healthy
    assert await both.over(good) == "succeeded"
    assert both.state(guilty) == "failed"
    assert set(both.targets(good).values()) == {"verified"}
    assert states(both, guilty, WELL) == {"cancelled"}
    assert both.rows.ask("select outcome, memory->>'reason' from rollouts where id = %s", guilty)[0][0] == "blamed"
    blamed = told(both, "rollout", guilty, "blamed")[0]
    assert (blamed["act"], sorted(blamed["tenants"])) == ("stopped", list(ILL))
    assert blamed["votes"][0]["change"] == f"rollout/{guilty}"
    acquitted = told(both, "rollout", good, "acquitted")[0]
    assert acquitted["by"] == f"rollout/{guilty}"
    assert {data["cause"] for tenant in ILL for data in told(both, "tenant", tenant, "fellIll")} == {acquitted["what"]}
    assert acquitted["what"].startswith("deploy of pos-sync 2.0" if version else "values of pos-sync")
    assert [told(both, "tenant", tenant, "fellIll") for tenant in WELL] == [[]] * 4
    assert both.rows.ask("select app, version from holds") == ([("pos-sync", "2.0")] if version else [])
    assert both.rows.ask("select count(*) from commands where command = 'halt'") == [(1,)]
    clean(both)


def sicken(controllers: Controllers, namespaces: Collection[str], *, well: bool) -> None:
    """Let the pods of `web` there crash, or be well again: what another app's change may do to them."""
    for (namespace, kind, name), running in controllers._running.items():
        if namespace in namespaces and name == "web":
            for pod in running.pods:
                pod.crash_at = math.inf if well else 0.0
            controllers._wake((namespace, kind, name), 0.0)


async def test_targets_that_fall_ill_while_they_soak_are_held_let_the_guilty_one_go_back_and_are_verified_when_they_are_well(
    both: Stage,
) -> None:
    guilty = await half_changed(both)
    good = await changed_too(both, "in-soak")
    sicken(both.world.controllers, ILL, well=False)

    async def gone_back() -> bool:
        return states(both, guilty, ILL) == {"rolledBack"}

    await until_read(gone_back)
    assert states(both, good, ILL) == {"soak"}
    codes = "select distinct code from targets where rollout_id = %s and tenant = any(%s)"
    assert both.rows.ask(codes, good, list(ILL)) == [("disturbed",)]
    sicken(both.world.controllers, ILL, well=True)
    assert await both.over(good) == "succeeded"
    assert set(both.targets(good).values()) == {"verified"}
    clean(both)


async def test_a_campaign_that_goes_on_is_waited_out_and_then_the_rollout_goes_on(
    both: Stage, errors: QueryApi
) -> None:
    marked = {"effect": "none", "marks": "campaign", "selector": "tenant in (a,b,c,d)", "ics": ics(event(-1, 3600))}
    both.rows.config("calendars", "summer-sale", marked)
    good = await changed_too(both)
    errors.answer = failing

    async def waits() -> bool:
        return both.rows.ask("select verdict from gates where rollout_id = %s", good) == [("unknown",)]

    await until_read(waits)
    said = await heard(both, "rollout", good, "acquitted")
    assert (said["act"], said["what"]) == ("held", "campaign stocktaking (calendar summer-sale)")
    assert "does not count against this rollout" in both.rows.ask("select reason from gates")[0][0]
    errors.answer = healthy
    assert await both.over(good) == "succeeded"
    assert set(both.targets(good).values()) == {"verified"}
    assert "campaign stocktaking" in (await heard(both, "tenant", "a", "fellIll"))["reason"]


async def test_a_campaign_is_not_waited_out_for_longer_than_the_wave_bears_disturbances(
    both: Stage, errors: QueryApi
) -> None:
    success = {**WATCHED["success"], "disturbanceLimit": "PT1S"}
    both.rows.config("strategies", "watched", {**WATCHED, "success": success})
    marked = {"effect": "none", "marks": "campaign", "selector": "tenant in (a,b,c,d)", "ics": ics(event(-1, 3600))}
    both.rows.config("calendars", "summer-sale", marked)
    other = await changed_too(both)
    errors.answer = failing
    assert await both.over(other) == "failed"
    assert states(both, other, ILL) == {"rolledBack"}
    assert told(both, "rollout", other, "acquitted")[0]["act"] == "held"


@pytest.mark.parametrize("how", ["tied", "shown"])
async def test_a_vote_that_may_stop_nobody_is_told_and_the_failures_count_where_they_happened(
    both: Stage, errors: QueryApi, how: str
) -> None:
    both.rows.config("strategies", "first-four", {**FIRST_FOUR, "blame": "show" if how == "shown" else "stop"})
    if how == "tied":
        both.rows.config(
            "strategies",
            "watched",
            {**WATCHED, "waves": [{"name": "all", "cut": {"count": 4}, "soak": LONG}], "unmatched": "exclude"},
        )
    suspect = await half_changed(both)
    other = await changed_too(both)
    errors.answer = failing
    assert await both.over(other) == "failed"
    assert states(both, other, ILL) == {"rolledBack"}
    if how == "tied":
        among = told(both, "rollout", suspect, "suspected")[0]["among"]
        assert set(among) == {f"rollout/{suspect}", f"rollout/{other}"}
        assert told(both, "rollout", other, "suspected")
    else:
        blamed = told(both, "rollout", suspect, "blamed")[0]
        assert (blamed["act"], "only be shown" in blamed["why"]) == ("told", True)
    assert (both.state(suspect), states(both, suspect, ILL)) == ("running", {"verified"})
    assert both.rows.ask("select count(*) from commands where command = 'halt'") == [(0,)]
    await both.command(suspect, "abort")
    assert await both.over(suspect) == "aborted"
    clean(both)


async def test_tenants_that_fall_ill_while_no_rollout_looks_at_them_stop_the_one_that_is_to_blame(both: Stage) -> None:
    both.rows.config(
        "strategies", "in-soak", {**IN_SOAK, "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": SOON}]}
    )
    guilty = await half_changed(both)
    assert await both.over(await start(both, "odoo", "2.0", "in-soak")) == "succeeded"
    jury, ward = Jury(both.transactions, ICalendars()), Ward(timedelta(0))
    both.rows.run("update environments set health = 'healthy'")
    assert await look(both.transactions, jury, ward) == {}
    both.rows.run("update environments set health = 'unhealthy' where tenant = any(%s)", list(ILL))
    assert (await look(both.transactions, jury, ward)).keys() == set(ILL)
    assert await both.over(guilty) == "failed"
    assert states(both, guilty, ILL) == {"rolledBack"}
    assert both.rows.ask("select distinct asker::text from blame_verdicts") == [
        ("00000000-0000-0000-0000-000000000000",)
    ]
    clean(both)
