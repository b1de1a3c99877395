"""Pause, resume, abort, retry, drafts: what is answered holds from the commit on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.problems import problem
from tests.plugins.api import Api
from tests.support.registry import Fleet

DEPLOY = {"release": "odoo/17.0.4", "strategy": "all"}


async def running(api: Api, fleet: Fleet, state: str = "running") -> tuple[httpx.AsyncClient, str]:
    """A rollout that a driver has taken up."""
    client = await api.as_("operator")
    rollout = str((await client.post("/v1/rollouts", json=DEPLOY)).json()["id"])
    fleet.run("update rollouts set state = %s, due_at = 'infinity'", state)
    fleet.run("delete from outbox")
    return client, rollout


def finish(fleet: Fleet, outcome: str = "failed") -> None:
    """What a driver would have written at the end: one target failed, one skipped, two verified."""
    fleet.run("update targets set state = 'verified', ended_at = now()")
    fleet.run("update targets set state = 'rolledBack', code = 'not-ready' where tenant = 'acme-fr'")
    fleet.run("update targets set state = 'skipped', code = 'halted' where tenant = 'zed-fr'")
    fleet.run("update rollouts set state = %s, outcome = %s, ended_at = now(), due_at = null", outcome, outcome)


@pytest.mark.parametrize(
    ("word", "body"),
    [
        ("pause", {"reason": "orders are down"}),
        ("resume", {"reason": ""}),
        ("abort", {"inFlight": "rollBack", "reason": "wrong release"}),
        ("retry", {"tenants": ["acme-fr"]}),
        ("retry", {"tenants": ["acme-fr"], "reason": "the node is back", "acceptNoWayBack": "the business signed"}),
    ],
)
async def test_a_command_raises_the_number_every_driver_compares_and_wakes_one(
    api: Api, fleet: Fleet, word: str, body: dict[str, Any]
) -> None:
    client, rollout = await running(api, fleet)
    answer = await client.post(f"/v1/rollouts/{rollout}:{word}", json=body)
    assert (answer.status_code, answer.json()["commandSeq"]) == (202, 1), answer.text
    assert answer.headers["operation-location"].endswith(f"/v1/rollouts/{rollout}")
    assert fleet.ask("select command_seq from leases") == [(1,)]
    assert fleet.ask("select seq, command, body, applied_at from commands") == [(1, word, body, None)]
    assert fleet.ask("select due_at <= now() from rollouts") == [(True,)]
    assert fleet.ask("select subject from outbox") == [("sw.intent._fleet.rollout",)]
    assert ("rollout." + word,) in fleet.ask("select action from audit")


async def test_a_pause_shows_at_once_even_before_the_driver_took_it_up(api: Api, fleet: Fleet) -> None:
    client, rollout = await running(api, fleet)
    await client.post(f"/v1/rollouts/{rollout}:pause")
    body = (await client.get(f"/v1/rollouts/{rollout}")).json()
    assert (body["state"], body["paused"]) == ("running", True)
    assert [w["gate"] for w in body["waitingFor"]] == ["command"]
    await client.post(f"/v1/rollouts/{rollout}:resume")
    assert (await client.get(f"/v1/rollouts/{rollout}")).json()["paused"] is False


async def test_pausing_what_is_paused_changes_nothing_and_is_answered_alike(api: Api, fleet: Fleet) -> None:
    client, rollout = await running(api, fleet, "paused")
    answer = await client.post(f"/v1/rollouts/{rollout}:pause")
    assert (answer.status_code, answer.json()["state"]) == (202, "paused")
    assert fleet.ask("select count(*) from commands") == [(0,)]


async def test_an_action_never_asks_for_if_match(api: Api, fleet: Fleet) -> None:
    client, rollout = await running(api, fleet)
    answer = await client.post(f"/v1/rollouts/{rollout}:abort", headers={"If-Match": '"old"'})
    assert answer.status_code == 202


@pytest.mark.parametrize("word", ["pause", "resume", "abort", "start"])
async def test_a_rollout_that_is_over_takes_no_command(api: Api, fleet: Fleet, word: str) -> None:
    client, rollout = await running(api, fleet)
    finish(fleet)
    problem(await client.post(f"/v1/rollouts/{rollout}:{word}"), 409, "rollout-over")
    assert fleet.ask("select count(*) from commands") == [(0,)]


async def test_a_rollout_that_waits_for_its_hour_can_only_be_aborted(api: Api, fleet: Fleet) -> None:
    client = await api.as_("operator")
    later = {**DEPLOY, "notBefore": "2099-01-01T00:00:00Z"}
    rollout = (await client.post("/v1/rollouts", json=later)).json()["id"]
    problem(await client.post(f"/v1/rollouts/{rollout}:pause"), 409, "not-started")
    assert (await client.post(f"/v1/rollouts/{rollout}:abort")).status_code == 202


async def test_a_retry_after_the_end_is_a_new_rollout_with_identical_content_for_those_left_over(
    api: Api, fleet: Fleet
) -> None:
    client, rollout = await running(api, fleet)
    finish(fleet)
    fleet.release("17.0.6")
    answer = await client.post(f"/v1/rollouts/{rollout}:retry", json={"reason": "the node is back"})
    assert answer.status_code == 202, answer.text
    again = answer.json()["id"]
    assert answer.headers["location"].endswith(again)
    given = "select tenant, memory ->> 'content', release_version, values_hash from targets where rollout_id = %s order by 1"
    old = [row for row in fleet.ask(given, rollout) if row[0] in ("acme-fr", "zed-fr")]
    assert fleet.ask(given, again) == old
    assert fleet.ask("select distinct attempt from targets where rollout_id = %s", again) == [(2,)]
    origin = (await client.get(f"/v1/rollouts/{again}")).json()["origin"]
    assert (origin["kind"], origin["retryOf"]) == ("retry", rollout)


async def test_a_retry_while_the_rollout_ends_is_put_off_until_it_is_over(api: Api, fleet: Fleet) -> None:
    client, rollout = await running(api, fleet)
    await client.post(f"/v1/rollouts/{rollout}:abort")
    problem(await client.post(f"/v1/rollouts/{rollout}:retry"), 409, "rollout-ending")


async def test_a_retry_with_nothing_left_over_is_refused(api: Api, fleet: Fleet) -> None:
    client, rollout = await running(api, fleet)
    finish(fleet, "succeeded")
    fleet.run("update targets set state = 'verified'")
    problem(await client.post(f"/v1/rollouts/{rollout}:retry"), 409, "nothing-to-retry")


async def test_a_retry_of_a_held_release_asks_for_the_hold_to_be_lifted_first(api: Api, fleet: Fleet) -> None:
    client, rollout = await running(api, fleet)
    finish(fleet)
    fleet.run(
        "insert into holds (id, app, version, digest, reason, created_by, lifted_by, lift_reason)"
        " select gen_random_uuid(), app, version, digest, 'broke one', 'engine', '', '' from releases where version = '17.0.4'"
    )
    body = problem(await client.post(f"/v1/rollouts/{rollout}:retry"), 409, "release-held")
    assert "lift" in body["detail"]


async def test_a_draft_starts_when_a_person_says_so_and_only_as_it_was_planned(api: Api, fleet: Fleet) -> None:
    client = await api.as_("release-manager")
    draft = (await client.post("/v1/rollouts", json={**DEPLOY, "mode": "plan"})).json()
    assert draft["state"] == "draft"
    body = (await client.get(f"/v1/rollouts/{draft['id']}")).json()
    assert [w["gate"] for w in body["waitingFor"]] == ["start"]
    problem(await client.post(f"/v1/rollouts/{draft['id']}:pause"), 409, "not-started")
    answer = await client.post(f"/v1/rollouts/{draft['id']}:start")
    assert (answer.status_code, answer.json()["state"]) == (202, "planned"), answer.text
    assert fleet.ask("select state from rollouts") == [("planned",)]
    assert (await client.post(f"/v1/rollouts/{draft['id']}:start")).status_code == 202
    other = (await client.post("/v1/rollouts", json={**DEPLOY, "mode": "plan"})).json()
    fleet.runs(["acme-fr"], "17.0.3", moved="yes")
    problem(await client.post(f"/v1/rollouts/{other['id']}:start"), 409, "plan-changed")


async def test_a_draft_that_meets_an_unfinished_rollout_does_as_when_busy_says(api: Api, fleet: Fleet) -> None:
    client = await api.as_("release-manager")
    reject = (await client.post("/v1/rollouts", json={**DEPLOY, "mode": "plan", "whenBusy": "reject"})).json()["id"]
    take = (await client.post("/v1/rollouts", json={**DEPLOY, "mode": "plan", "whenBusy": "supersede"})).json()["id"]
    older = (await client.post("/v1/rollouts", json=DEPLOY)).json()["id"]
    problem(await client.post(f"/v1/rollouts/{reject}:start"), 409, "busy")
    assert (await client.post(f"/v1/rollouts/{take}:start")).status_code == 202
    given = fleet.ask("select cast(subject_id as text), command, body from commands")
    assert given == [(older, "supersede", {"rollout": take})]


async def test_an_aborted_draft_is_over_and_nothing_of_it_ever_ran(api: Api, fleet: Fleet) -> None:
    client = await api.as_("release-manager")
    draft = (await client.post("/v1/rollouts", json={**DEPLOY, "mode": "plan"})).json()["id"]
    assert (await client.post(f"/v1/rollouts/{draft}:abort")).json()["state"] == "aborted"
    body = (await client.get(f"/v1/rollouts/{draft}")).json()
    assert (body["state"], body["counts"]) == ("aborted", {"cancelled": 4})


async def test_a_rollout_s_history_is_a_list_and_a_stream_that_goes_on_after_the_last_id(
    api: Api, fleet: Fleet
) -> None:
    client, rollout = await running(api, fleet)
    for number in range(2, 6):
        fleet.run(
            "insert into history (subject_kind, subject_id, seq, type, data) values ('rollout', %s, %s, 'dev.seawall.rollout.x.v1', '{}')",
            rollout,
            number,
        )
    finish(fleet)
    url = f"/v1/rollouts/{rollout}/events"
    first = (await client.get(f"{url}?limit=3")).json()
    assert [e["id"] for e in first["items"]] == [1, 2, 3]
    assert first["items"][0]["type"] == "dev.seawall.rollout.planned.v1"
    assert [e["id"] for e in (await client.get(first["next"])).json()["items"]] == [4, 5]
    stream = await client.get(url, headers={"Accept": "text/event-stream", "Last-Event-ID": "3"})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert [line for line in stream.text.splitlines() if line.startswith("id:")] == ["id: 4", "id: 5"]


async def test_a_stream_gives_an_event_that_comes_while_it_is_open(api: Api, fleet: Fleet) -> None:
    client, rollout = await running(api, fleet)
    seen: list[str] = []
    async with client.stream(
        "GET", f"/v1/rollouts/{rollout}/events", headers={"Accept": "text/event-stream"}
    ) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id:"):
                seen.append(line)
                if len(seen) == 1:
                    fleet.run(
                        "insert into history (subject_kind, subject_id, seq, type, data)"
                        " values ('rollout', %s, 2, 'dev.seawall.rollout.paused.v1', '{}')",
                        rollout,
                    )
                    finish(fleet)
    assert seen == ["id: 1", "id: 2"]


async def test_history_that_is_no_longer_kept_is_gone_and_says_where_to_go_on(api: Api, fleet: Fleet) -> None:
    client, rollout = await running(api, fleet)
    fleet.run("update history set seq = seq + 10")
    answer = await client.get(f"/v1/rollouts/{rollout}/events", headers={"Last-Event-ID": "3"})
    problem(answer, 410, "events-expired")


async def test_a_stream_ends_when_the_process_drains_and_goes_on_elsewhere_after_the_last_id(
    api: Api, fleet: Fleet
) -> None:
    client, rollout = await running(api, fleet)
    headers = {"Accept": "text/event-stream"}
    async with client.stream("GET", f"/v1/rollouts/{rollout}/events", headers=headers) as answer:
        seen = []
        async for line in answer.aiter_lines():
            if line.startswith("id:"):
                seen.append(line)
                api.container.draining.set()
    assert seen == ["id: 1"]


async def test_changes_say_of_a_rollout_what_where_and_how_back_as_it_stands_now(api: Api, fleet: Fleet) -> None:
    client, rollout = await running(api, fleet)
    ((total,),) = fleet.ask("select count(*) from targets")
    finish(fleet)
    items = (await client.get("/v1/changes?since=PT1H")).json()["items"]
    mine = next(item for item in items if item["kind"] == "rollout" and item["id"] == rollout)
    assert mine["what"] == "deploy of odoo/17.0.4 in production"
    assert mine["where"] == ["aks-1"]
    assert mine["wayBack"] == (
        f"1 tenant went back already; a rollout of kind rollback takes {total - 2} tenants back that run it"
    )
