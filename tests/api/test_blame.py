"""A verdict of blame as the API, an owner and the console show it; and that the same vote acts once."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.services.jury import Jury
from controlplane.services.upgrades import note_upgrades
from tests.adapters.test_icalendars import ics
from tests.api.console.conftest import LogIn, log_in
from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.support.registry import Fleet

from .test_insight import NAMES, happened, started

__all__ = ["log_in"]
ILL = NAMES[:2]


def another(fleet: Fleet, like: str, app: str = "proxy") -> str:
    """A rollout of another app, otherwise like this one."""
    other = str(uuid.uuid4())
    fleet.run(
        "insert into rollouts select (jsonb_populate_record(r, jsonb_build_object('id', %s::text, 'app', %s::text,"
        " 'event_seq', 0))).* from rollouts r where id = %s",
        other,
        app,
        like,
    )
    fleet.run("insert into leases (subject_kind, subject_id, holder) values ('rollout', %s, '')", other)
    return other


def now(fleet: Fleet) -> datetime:
    found: datetime = fleet.ask("select now()")[0][0]
    return found.astimezone(UTC)


def halts(fleet: Fleet) -> list[Any]:
    return [one for (one,) in fleet.ask("select subject_id::text from commands where command = 'halt' order by seq")]


@pytest.fixture
async def overlap(api: Api, fleet: Fleet) -> tuple[str, str, Jury]:
    """odoo reached all four tenants, proxy only the two that are ill now."""
    odoo = await started(api)
    fleet.run("update rollouts set state = 'running', started_at = now() - interval '31 minutes'")
    proxy = another(fleet, odoo)
    for tenant in ILL:
        happened(fleet, proxy, tenant, "target-started", 30)
    for tenant in NAMES:
        happened(fleet, odoo, tenant, "target-started", 25)
    return odoo, proxy, Jury(api.container.database, api.container.calendars)


async def test_a_verdict_is_shown_on_both_rollouts_to_the_owner_and_on_the_page(
    api: Api, fleet: Fleet, overlap: tuple[str, str, Jury], log_in: LogIn
) -> None:
    odoo, proxy, jury = overlap
    found = await jury.weigh(uuid.UUID(odoo), dict.fromkeys(ILL, now(fleet)))
    assert found.keys() == set(ILL)
    fleet.run("update targets set state = 'soak', code = 'disturbed' where tenant = any(%s)", list(ILL))
    fleet.run("update waves set counts = null")
    manager = await api.as_("release-manager")
    mine = (await manager.get(f"/v1/rollouts/{odoo}")).json()
    assert (mine["blame"]["role"], mine["blame"]["act"], mine["blame"]["blamed"]) == (
        "acquitted",
        "stopped",
        [f"rollout/{proxy}"],
    )
    (waits,) = [one for one in mine["waitingFor"] if one["gate"] == "blame"]
    assert waits["targets"] == 2
    assert "deploy of proxy" in waits["reason"]
    its = (await manager.get(f"/v1/rollouts/{proxy}")).json()["blame"]
    assert (its["role"], its["tenants"], its["votes"][0]["change"]) == ("blamed", list(ILL), f"rollout/{proxy}")
    auditor = await api.as_("auditor")
    kept = (await auditor.get(f"/v1/rollouts/{odoo}/blame")).json()["verdicts"]
    assert [one["id"] for one in kept] == [its["id"]]
    owner = await api.as_("tenant-owner", tenants=[ILL[0]])
    history = (await owner.get(f"/v1/tenants/{ILL[0]}/history")).json()["items"]
    (line,) = [one for one in history if one["type"] == "dev.seawall.tenant.fellIll.v1"]
    assert line["data"]["reason"] == f"{line['data']['cause']} is the likely cause of its ill health"
    assert not any(other in str(history) for other in NAMES if other != ILL[0])
    browser = await log_in("operator")
    page = await browser.get(f"/console/rollouts/{odoo}")
    assert "another change is blamed" in page.text
    assert "deploy of proxy" in page.text


async def test_the_same_vote_stops_once_and_a_tenant_that_is_reached_again_is_new_evidence(
    fleet: Fleet, overlap: tuple[str, str, Jury]
) -> None:
    odoo, proxy, jury = overlap
    ill = dict.fromkeys(ILL, now(fleet))
    for _ in range(3):
        assert (await jury.weigh(uuid.UUID(odoo), ill)).keys() == set(ILL)
    assert halts(fleet) == [proxy]
    assert fleet.ask("select act from blame_verdicts") == [("stopped",)]
    happened(fleet, proxy, ILL[0], "target-started", 0)
    again = dict.fromkeys(ILL, now(fleet) + timedelta(seconds=1))
    assert (await jury.weigh(uuid.UUID(odoo), again)).keys() == set(ILL)
    assert halts(fleet) == [proxy, proxy]
    fleet.run(
        "update rollouts set state = 'failed', outcome = 'too-many-failures', ended_at = now() where id = %s", proxy
    )
    assert await jury.weigh(uuid.UUID(odoo), again) == {}, "what ended otherwise is taken back by a person"


async def test_two_who_take_the_same_vote_at_once_act_once(fleet: Fleet, overlap: tuple[str, str, Jury]) -> None:
    odoo, proxy, jury = overlap
    ill = dict.fromkeys(ILL, now(fleet))
    await asyncio.gather(*(jury.weigh(uuid.UUID(odoo), ill) for _ in range(4)))
    assert halts(fleet) == [proxy]
    assert fleet.ask("select count(*) from blame_verdicts") == [(1,)]


async def test_the_fleet_may_turn_it_off_and_a_single_change_is_no_matter_for_a_vote(
    fleet: Fleet, overlap: tuple[str, str, Jury]
) -> None:
    odoo, _, jury = overlap
    fleet.config("limits", "fleet", {"blame": "show"})
    assert await jury.weigh(uuid.UUID(odoo), dict.fromkeys(ILL, now(fleet))) == {}
    assert fleet.ask("select act from blame_verdicts") == [("told",)]
    assert halts(fleet) == []
    assert await jury.weigh(uuid.UUID(odoo), dict.fromkeys(NAMES[2:], now(fleet))) == {}
    assert fleet.ask("select count(*) from blame_verdicts") == [(1,)]


async def test_an_upgrade_that_makes_tenants_of_two_rollouts_ill_is_blamed_and_waited_out_while_it_goes_on(
    api: Api, fleet: Fleet
) -> None:
    odoo = await started(api)
    fleet.run("update rollouts set state = 'running', started_at = now() - interval '31 minutes'")
    proxy = another(fleet, odoo)
    async with api.container.database.engine() as uow:
        assert await note_upgrades(uow, {"aks-1": "node n1 is cordoned"}) == ["aks-1"]
        assert await note_upgrades(uow, {"aks-1": "node n1 is cordoned"}) == []
    fleet.run("update history set at = now() - interval '26 minutes' where subject_kind = 'upgrade'")
    for tenant in ILL:
        happened(fleet, odoo, tenant, "target-started", 25)
    for tenant in NAMES[2:]:
        happened(fleet, proxy, tenant, "target-started", 25)
        happened(fleet, proxy, tenant, "target-failed", 0, code="unhealthy")
    jury = Jury(api.container.database, api.container.calendars)
    found = await jury.weigh(uuid.UUID(odoo), dict.fromkeys(ILL, now(fleet)))
    assert found.keys() == set(ILL)
    assert "upgrade of cluster aks-1" in found[ILL[0]]
    assert fleet.ask("select act, blamed from blame_verdicts") == [("held", ["upgrade/aks-1@1"])]
    async with api.container.database.engine() as uow:
        assert await note_upgrades(uow, {"aks-1": ""}) == ["aks-1"]
    assert await jury.weigh(uuid.UUID(odoo), dict.fromkeys(ILL, now(fleet))) == {}
    auditor = await api.as_("auditor")
    votes = (await auditor.get(f"/v1/rollouts/{proxy}/blame")).json()["votes"]
    assert {vote["change"] for vote in votes} == {"upgrade/aks-1@1", f"rollout/{proxy}"}


async def test_a_calendar_that_only_marks_closes_no_window_and_says_what_it_marks(api: Api, fleet: Fleet) -> None:
    manager = await api.as_("release-manager")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    text = ics((f"DTSTART:{tomorrow:%Y%m%d}T080000", "DURATION:PT12H", "SUMMARY:sale"))
    vain = await manager.put("/v1/calendars/sales", json={"ics": text, "effect": "none"})
    assert pointers(problem(vain, 422, "invalid")) == [""]
    put = await manager.put("/v1/calendars/sales", json={"ics": text, "effect": "none", "marks": "campaign"})
    assert put.status_code == 201, put.text
    assert (await manager.get("/v1/calendars/sales/events", params={"days": 3})).json()["effect"] == "none"
    assert fleet.ask("select count(*) from tenants where tenant = 'acme-fr'") == [(1,)]
    window = (await manager.get("/v1/tenants/acme-fr/windows")).json()
    assert (window["open"], window["windows"]) == (True, [{"start": None, "end": None}])
