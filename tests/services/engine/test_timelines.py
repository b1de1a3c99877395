"""A registry that went back, on real PostgreSQL and the simulated fleet: what the world has is found, written, told; then work goes on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.adapters.postgres.timelines import PostgresTimelines, timeline_part
from controlplane.domain.manifests import mark
from controlplane.ports.clusters import Fence
from controlplane.ports.leases import HeldLease, LeaseLostError
from controlplane.services.fleet import Fleet
from controlplane.services.timelines import Timelines
from tests.contract.fleets import until_read
from tests.services.engine.conftest import CLUSTER, OneCluster, Stage

from .test_driver import clean, installed


def begin_a_timeline(stage: Stage) -> None:
    """What was noted so far belongs to an older timeline: the present one is new."""
    stage.rows.run("delete from timelines")
    stage.rows.run("insert into timelines (timeline, cluster, environments, differences) values (0, '', 0, 0)")


async def lost_change(stage: Stage, tenant: str, revision: str, step: str = "") -> None:
    """Somebody changed the tenant under a revision and a step that the registry does not have any more."""
    view = await stage.cluster.read_namespace(tenant)
    assert view is not None
    fence = Fence(view.epoch + 5, step or str(uuid.uuid4()), revision)
    await stage.cluster.seal(tenant, view.uid, fence)
    if revision:
        extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lost", "namespace": tenant}}
        await stage.cluster.apply(tenant, mark([extra], tenant, "production", "odoo")[0], fence)


def found(stage: Stage) -> list[tuple[Any, ...]]:
    return stage.rows.ask("select namespace, kind, revision from timeline_differences order by namespace")


@pytest.fixture
async def fleet(stage: Stage) -> AsyncIterator[Fleet]:
    """A worker's fleet that compares."""
    made = Fleet(OneCluster(stage.cluster), None, Timelines(PostgresTimelines(stage.transactions)))
    yield made
    await made.close()


async def test_on_the_first_timeline_there_is_nothing_to_compare(stage: Stage, fleet: Fleet) -> None:
    await installed(stage, "a")
    await fleet.proven(CLUSTER)
    assert stage.rows.ask("select count(*) from timelines") == [(1,)]


async def test_what_the_registry_lost_is_a_revision_again_and_the_next_release_goes_from_there(
    stage: Stage, fleet: Fleet
) -> None:
    await installed(stage, "abc")
    await lost_change(stage, "b", "2")
    await lost_change(stage, "c", "")
    begin_a_timeline(stage)
    await fleet.proven(CLUSTER)
    assert found(stage) == [("b", "revision-unknown", 2), ("c", "change-unknown", 0)]
    assert stage.rows.ask("select revision, last_number, verified_revision from tenant_apps where tenant = 'b'") == [
        (2, 2, 1)
    ]
    told = stage.rows.ask("select tenant, data->>'kind' from history where type like '%%registryDiffered%%' order by 1")
    assert told == [("b", "revision-unknown"), ("c", "change-unknown")]
    part = await timeline_part(stage.transactions.pool("platform"))
    assert (part.state, "3 environments compared, 2 differences" in part.detail) == ("ok", True)
    stage.rows.release("2.0")
    assert await stage.over(await stage.start("2.0")) == "succeeded"
    assert await stage.cluster.list_objects("b", [("v1", "ConfigMap")]) == [], "the new release has no such object"
    clean(stage)


async def test_an_unfinished_change_that_a_lost_one_came_after_is_left_to_a_person(stage: Stage, fleet: Fleet) -> None:
    await installed(stage, "a")
    stage.rows.config(
        "strategies",
        "long",
        {"waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT1H"}}], "limits": {"inFlight": 1}},
    )
    stage.rows.release("2.0")
    rollout = await stage.start("2.0", "long")

    async def soaks() -> bool:
        return stage.targets(rollout) == {"a": "soak"}

    await until_read(soaks)
    await stage.runners[0].drain()
    await lost_change(stage, "a", "3")
    begin_a_timeline(stage)
    heir = stage.worker("heir", fleet)
    sweep = asyncio.create_task(heir.sweep_forever())
    assert await stage.over(rollout) == "failed"
    assert stage.targets(rollout) == {"a": "stuck"}
    assert stage.rows.ask("select code from targets where rollout_id = %s", rollout) == [("registry-went-back",)]
    assert stage.rows.ask("select dirty, slot_id from environments") == [(True, None)]
    heir.draining.set()
    await sweep


async def test_a_seal_of_a_step_that_is_repeated_raises_the_epoch_and_nothing_else(stage: Stage, fleet: Fleet) -> None:
    await installed(stage, "a")
    step = stage.rows.ask("select step_id::text from steps where phase = 'apply' limit 1")[0][0]
    await lost_change(stage, "a", "", step)
    begin_a_timeline(stage)
    await fleet.proven(CLUSTER)
    assert found(stage) == [("a", "epoch-behind", 0)]
    view = stage.cluster.namespace("a")
    assert view is not None
    assert stage.rows.ask("select epoch from environments") == [(view.epoch,)]


async def test_two_workers_that_compare_at_once_write_it_once(stage: Stage, fleet: Fleet) -> None:
    await installed(stage, "a")
    await lost_change(stage, "a", "2")
    begin_a_timeline(stage)
    other = Timelines(PostgresTimelines(stage.transactions))
    standings = await asyncio.gather(other.settle(stage.cluster), other.settle(stage.cluster), fleet.proven(CLUSTER))
    assert standings[0] == standings[1]
    assert found(stage) == [("a", "revision-unknown", 2)]


async def test_a_lease_of_an_older_timeline_is_lost(stage: Stage) -> None:
    await installed(stage, "a")
    leases = PostgresLeases(stage.transactions)
    rollout = stage.rows.ask("select id from rollouts")[0][0]
    # Its driver lets go a moment after the rollout is over.
    held = await until_read(lambda: leases.take("rollout", rollout, "me"))
    assert held is not None
    await leases.renew(held)
    older = HeldLease(held.kind, held.subject_id, held.holder, held.epoch, 0, timeline=held.timeline + 1)
    with pytest.raises(LeaseLostError, match="timeline"):
        await leases.renew(older)
    await leases.release(held)
