"""From an event to a rollout and a fate, on real PostgreSQL: twice, late, early, out of order, held, refused, poisoned."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.adapters.cel import Cel
from controlplane.adapters.postgres.database import Database, Urls
from controlplane.domain.events import CloudEvent
from controlplane.ports.stores.events import EventRecord, NewEvent
from controlplane.services.events.dead_letters import newest, redrive
from controlplane.services.events.process import MAX_CLAIMS, EventTools
from controlplane.services.events.receive import receive
from controlplane.services.rollouts.tools import RolloutTools
from tests.plugins.database import Database as DatabaseUrls
from tests.support.registry import Fleet
from workers.events import Events

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TRIGGER: dict[str, Any] = {
    "source": "/ci",
    "filter": "event.type == 'release.published' && !event.data.prerelease",
    "release": {"app": "odoo", "version": "${event.data.tag}"},
    "rollout": {"environment": "production", "selector": "", "strategy": "all"},
    "mode": "start",
}


def event(event_id: str, tag: str = "17.0.4", **changes: Any) -> CloudEvent:
    data = {"tag": tag, "prerelease": False}
    return CloudEvent(**{"id": event_id, "source": "/ci", "type": "release.published", "data": data} | changes)


class World:
    """The registry, and one worker's loop over its events."""

    def __init__(self, pools: Database, fleet: Fleet) -> None:
        self.pools = pools
        self.fleet = fleet
        self.tools = EventTools(RolloutTools(open=pools.engine), Cel())
        self.worker = Events(self.tools)

    def trigger(self, name: str = "odoo-stable", **changes: Any) -> None:
        self.fleet.config("triggers", name, {**TRIGGER, **changes})

    async def send(self, *events: CloudEvent, **how: Any) -> None:
        for one in events:
            async with self.pools.platform() as uow:
                await receive(uow, [NewEvent(one, **{"received_from": "api:ci", **how})])

    async def work(self) -> None:
        """Until nothing is due."""
        while await self.worker.step():
            pass

    async def record(self, event_id: str) -> EventRecord:
        async with self.pools.engine() as uow:
            found = await uow.events.get("/ci", event_id)
        assert found is not None
        return found

    async def fate(self, event_id: str) -> dict[str, Any]:
        """The one entry of an event's fate."""
        [entry] = (await self.record(event_id)).fate
        return entry

    def rollouts(self) -> list[tuple[Any, ...]]:
        return self.fleet.ask("select release_version, state, requested_by, origin->>'event' from rollouts order by id")

    def let_time_pass(self, by: timedelta) -> None:
        """Move every stored time of events back."""
        seconds = by.total_seconds()
        self.fleet.run(
            "update inbound_events set received_at = received_at - make_interval(secs => %s),"
            " due_at = due_at - make_interval(secs => %s)",
            seconds,
            seconds,
        )
        for source, event_id, fate in self.fleet.ask("select source, id, fate from inbound_events"):
            moved = [
                {**e, "until": (datetime.fromisoformat(e["until"]) - by).isoformat()} if "until" in e else e
                for e in fate
            ]
            self.fleet.run(
                "update inbound_events set fate = %s::jsonb where source = %s and id = %s",
                json.dumps(moved),
                source,
                event_id,
            )


@pytest.fixture
async def world(database: DatabaseUrls, fleet: Fleet) -> AsyncIterator[World]:
    pools = Database(Urls(platform=database.platform, tenant=database.tenant, engine=database.engine))
    yield World(pools, fleet)
    await pools.close()


async def test_an_event_starts_a_rollout_and_its_fate_names_it(world: World) -> None:
    world.trigger()
    await world.send(event("1"))
    await world.work()
    entry = await world.fate("1")
    assert entry["outcome"] == "started"
    assert world.rollouts() == [("17.0.4", "planned", "trigger:odoo-stable", "1")]
    assert world.fleet.ask("select id::text from rollouts") == [(entry["rollout"],)]
    assert (await world.record("1")).state == "done"


async def test_mode_plan_leaves_the_start_to_a_person(world: World) -> None:
    world.trigger(mode="plan")
    await world.send(event("1"))
    await world.work()
    assert (await world.fate("1"))["outcome"] == "planned"
    assert [row[1] for row in world.rollouts()] == ["draft"]


async def test_what_gives_a_way_back_up_is_left_to_a_person_whatever_the_triggers_mode(world: World) -> None:
    world.trigger()
    world.fleet.release("18.0.0", database={"change": "forward-only"})
    await world.send(event("1", tag="18.0.0"))
    await world.work()
    assert (await world.fate("1"))["outcome"] == "planned"
    assert [row[:2] for row in world.rollouts()] == [("18.0.0", "draft")]


async def test_an_event_seen_twice_starts_one_rollout_even_with_two_workers(world: World) -> None:
    world.trigger()
    await world.send(event("1"), event("1"))
    other = Events(world.tools)
    await asyncio.gather(world.worker.step(), other.step())
    await world.send(event("1"))
    await world.work()
    assert len(world.rollouts()) == 1


async def test_two_workers_that_both_planned_one_event_start_one_rollout(world: World) -> None:
    world.trigger()
    await world.send(event("1"))
    first = await claim(world)
    world.fleet.run("update inbound_events set due_at = now()")
    second = await claim(world)
    await asyncio.gather(*(Events(world.tools)._one(record) for record in (*first, *second)))
    assert len(world.rollouts()) == 1


async def claim(world: World) -> list[EventRecord]:
    async with world.pools.engine() as uow:
        return list(await uow.events.claim(10, uow.now + timedelta(seconds=30)))


async def test_a_worker_that_died_after_its_claim_leaves_the_event_to_the_next(world: World) -> None:
    world.trigger()
    await world.send(event("1"))
    assert len(await claim(world)) == 1
    assert await world.worker.step() == 0
    world.let_time_pass(timedelta(seconds=31))
    await world.work()
    assert len(world.rollouts()) == 1


async def test_a_filter_that_is_false_and_nobody_listening_are_said(world: World) -> None:
    world.trigger()
    await world.send(event("1", type="push"), event("2", source="/ci", data={"tag": "x", "prerelease": True}))
    await world.send(CloudEvent(id="3", source="/nobody", type="t"))
    await world.work()
    assert (await world.fate("1"))["outcome"] == "filtered"
    assert (await world.fate("2"))["outcome"] == "filtered"
    async with world.pools.engine() as uow:
        stranger = await uow.events.get("/nobody", "3")
    assert stranger is not None
    assert (stranger.state, stranger.fate[0]["outcome"]) == ("done", "unheard")
    assert "/ci" in stranger.fate[0]["reason"]
    assert world.rollouts() == []


async def test_two_triggers_each_have_their_line(world: World) -> None:
    world.trigger("a", mode="plan")
    world.trigger("b", filter="event.type == 'push'")
    await world.send(event("1"))
    await world.work()
    assert [(e["trigger"], e["outcome"]) for e in (await world.record("1")).fate] == [
        ("a", "planned"),
        ("b", "filtered"),
    ]


async def test_a_sender_bound_to_apps_starts_no_other(world: World) -> None:
    world.trigger()
    await world.send(event("1"), apps=frozenset({"pos-sync"}))
    await world.send(event("2"), apps=frozenset({"odoo"}))
    await world.work()
    assert (await world.fate("1"))["outcome"] == "not-allowed"
    assert (await world.fate("2"))["outcome"] == "started"


async def test_within_a_window_the_newest_event_wins_and_the_others_say_into_which(world: World) -> None:
    world.fleet.release("17.0.5")
    world.trigger(coalesce="PT5M")
    await world.send(event("1", time=NOON))
    await world.work()
    assert (await world.fate("1"))["outcome"] == "coalescing"
    await world.send(event("2", "17.0.5", time=NOON + timedelta(minutes=1)))
    await world.work()
    first = await world.fate("1")
    assert (first["outcome"], first["into"]) == ("coalesced", {"source": "/ci", "id": "2"})
    assert (await world.record("1")).state == "done"
    assert world.rollouts() == []
    world.let_time_pass(timedelta(minutes=5))
    await world.work()
    assert (await world.fate("2"))["outcome"] == "started"
    assert [row[0] for row in world.rollouts()] == ["17.0.5"]


async def test_the_window_ends_when_the_first_events_would_have(world: World) -> None:
    world.fleet.release("17.0.5")
    world.trigger(coalesce="PT5M")
    await world.send(event("1", time=NOON))
    await world.work()
    world.let_time_pass(timedelta(minutes=4))
    await world.send(event("2", "17.0.5", time=NOON + timedelta(minutes=4)))
    await world.work()
    world.let_time_pass(timedelta(minutes=1, seconds=1))
    await world.work()
    assert (await world.fate("2"))["outcome"] == "started"


async def test_an_older_event_that_arrives_later_gives_way(world: World) -> None:
    world.fleet.release("17.0.5")
    world.trigger(coalesce="PT5M")
    await world.send(event("newer", "17.0.5", time=NOON + timedelta(minutes=1)))
    await world.work()
    await world.send(event("older", "17.0.4", time=NOON))
    await world.work()
    assert (await world.fate("older"))["into"]["id"] == "newer"
    world.let_time_pass(timedelta(minutes=5))
    await world.work()
    assert [row[0] for row in world.rollouts()] == ["17.0.5"]


async def test_many_events_of_one_window_start_one_rollout_whatever_their_order(world: World) -> None:
    world.trigger(coalesce="PT5M")
    minutes = (3, 0, 4, 1, 2)
    await world.send(*(event(f"e{m}", time=NOON + timedelta(minutes=m)) for m in minutes))
    await asyncio.gather(world.worker.step(), Events(world.tools).step())
    world.let_time_pass(timedelta(minutes=5))
    await world.work()
    assert [row[3] for row in world.rollouts()] == ["e4"]
    assert [(await world.fate(f"e{m}"))["outcome"] for m in (0, 1, 2, 3)] == ["coalesced"] * 4


async def test_an_event_before_its_release_waits_for_it(world: World) -> None:
    world.trigger()
    await world.send(event("1", "18.0.0"))
    await world.work()
    entry = await world.fate("1")
    assert (entry["outcome"], entry["code"]) == ("waiting", "unknown-release")
    world.fleet.release("18.0.0")
    world.let_time_pass(timedelta(minutes=1))
    await world.work()
    assert (await world.fate("1"))["outcome"] == "started"


async def test_an_event_whose_release_never_comes_is_a_dead_letter_that_can_be_redriven(world: World) -> None:
    world.trigger()
    await world.send(event("1", "18.0.0"))
    await world.work()
    world.let_time_pass(timedelta(hours=1, seconds=1))
    await world.work()
    assert (await world.record("1")).state == "dead"
    async with world.pools.platform() as uow:
        [letter] = await newest(uow, None, 10)
    assert (letter.kind, letter.id) == ("event", "1")
    assert "18.0.0" in letter.reason
    world.fleet.release("18.0.0")
    async with world.pools.platform() as uow:
        assert await redrive(uow, "event", "/ci", "1", actor="key:1")
    await world.work()
    assert (await world.fate("1"))["outcome"] == "started"


async def test_a_held_release_is_not_started(world: World) -> None:
    world.trigger()
    world.fleet.run(
        "insert into holds (id, app, version, digest, reason, created_by, lifted_by, lift_reason)"
        " select gen_random_uuid(), app, version, digest, 'broke three shops', 'engine', '', '' from releases where version = '17.0.4'"
    )
    await world.send(event("1"))
    await world.work()
    entry = await world.fate("1")
    assert (entry["outcome"], entry["code"]) == ("held", "release-held")
    assert world.rollouts() == []


async def test_when_busy_reject_says_by_what(world: World) -> None:
    world.fleet.release("17.0.5")
    world.trigger(whenBusy="reject")
    await world.send(event("1"))
    await world.work()
    await world.send(event("2", "17.0.5"))
    await world.work()
    entry = await world.fate("2")
    assert (entry["outcome"], entry["code"]) == ("rejected", "busy")
    assert len(world.rollouts()) == 1


async def test_when_busy_queue_and_supersede_start_both(world: World) -> None:
    world.fleet.release("17.0.5")
    world.trigger(whenBusy="supersede")
    await world.send(event("1"))
    await world.work()
    await world.send(event("2", "17.0.5"))
    await world.work()
    assert [row[0] for row in world.rollouts()] == ["17.0.4", "17.0.5"]
    assert world.fleet.ask("select command from commands") == [("supersede",)]


async def test_when_every_target_is_left_out_there_is_nothing_to_do(world: World) -> None:
    world.trigger()
    world.fleet.run('update tenants set apps = jsonb_set(apps, \'{odoo,pin}\', \'{"reason":"audit","owner":"mia"}\')')
    await world.send(event("1"))
    await world.work()
    assert (await world.fate("1"))["outcome"] == "nothing-to-do"
    assert (await world.record("1")).state == "done"


async def test_a_trigger_that_names_what_does_not_exist_makes_a_dead_letter(world: World) -> None:
    world.trigger(rollout={"strategy": "nowhere"})
    await world.send(event("1"))
    await world.work()
    entry = await world.fate("1")
    assert (entry["outcome"], entry["code"]) == ("refused", "unknown-strategy")
    assert (await world.record("1")).state == "dead"


async def test_an_event_that_breaks_the_worker_is_a_dead_letter_in_the_end_and_holds_nobody_up(world: World) -> None:
    world.fleet.config("triggers", "broken", {"source": "/ci", "mode": "nonsense"})
    await world.send(event("1"))
    for _ in range(MAX_CLAIMS):
        await world.worker.step()
        world.let_time_pass(timedelta(seconds=31))
    assert (await world.record("1")).state == "dead"
    world.trigger("broken")
    async with world.pools.platform() as uow:
        assert await redrive(uow, "event", "/ci", "1", actor="key:1")
    await world.work()
    assert (await world.fate("1"))["outcome"] == "started"


async def test_a_trigger_deleted_while_an_event_waits_starts_nothing(world: World) -> None:
    world.trigger(coalesce="PT5M")
    await world.send(event("1"))
    await world.work()
    world.fleet.run("update config_current set deleted_at = now() where kind = 'triggers'")
    world.let_time_pass(timedelta(minutes=5))
    await world.work()
    assert (await world.fate("1"))["outcome"] == "filtered"
    assert world.rollouts() == []
