"""What a driver does when the registry went back, when its own rows are broken, and when the cluster says no for reasons of its own."""

from __future__ import annotations

from controlplane.ports.clusters import Fence

from .conftest import Stage
from .test_driver import clean, installed


async def test_an_owner_refused_by_a_higher_seal_goes_one_above_it(stage: Stage) -> None:
    await installed(stage, "abc")
    stage.rows.release("2.0")
    view = stage.cluster.namespace("b")
    assert view is not None
    seal = (1 << 60) + 7
    await stage.cluster.seal("b", view.uid, Fence(seal, "somebody"))
    rollout = await stage.start("2.0")
    assert await stage.over(rollout) == "succeeded"
    assert stage.rows.ask("select epoch from environments where tenant = 'b'") == [(seal + 1,)]
    sealed = stage.cluster.namespace("b")
    assert sealed is not None
    assert sealed.epoch == seal + 1
    clean(stage)


async def test_a_target_whose_content_is_missing_is_stuck_and_the_others_go_on(stage: Stage) -> None:
    await installed(stage, "abcd")
    stage.rows.release("2.0")
    freeze(stage)
    rollout = await stage.start("2.0")
    stage.rows.run(
        "delete from contents c using targets t where t.rollout_id = %s and t.tenant = 'b' and c.tenant = 'b'"
        " and not exists (select 1 from revisions r where r.tenant = 'b' and r.content_hash = c.hash)",
        rollout,
    )
    thaw(stage)
    await stage.over(rollout)
    assert stage.targets(rollout) == {"a": "verified", "b": "stuck", "c": "verified", "d": "verified"}
    code, reason = stage.rows.ask("select code, reason from targets where rollout_id = %s and tenant = 'b'", rollout)[0]
    assert code == "content-missing"
    assert "is not stored" in reason
    assert stage.rows.ask("select count(*) from holds") == [(0,)]
    clean(stage)


async def test_a_row_that_postgresql_refuses_is_found_and_only_its_target_is_stuck(stage: Stage) -> None:
    await installed(stage, "abcdefg")
    stage.rows.release("2.0")
    freeze(stage)
    rollout = await stage.start("2.0")
    stage.rows.run(  # the number that its next revision would get is taken
        "insert into revisions (tenant, environment, app, revision, release_version, content_hash, values_hash, values, base_revision,"
        " state) select tenant, environment, app, 2, release_version, content_hash, values_hash, values, 1, 'left' from revisions"
        " where tenant = 'e'"
    )
    thaw(stage)
    await stage.over(rollout)
    states = stage.targets(rollout)
    assert states.pop("e") == "stuck"
    assert states == dict.fromkeys("abcdfg", "verified")
    assert stage.rows.ask("select code from targets where rollout_id = %s and tenant = 'e'", rollout) == [
        ("data-fault",)
    ]
    clean(stage)


def freeze(stage: Stage) -> None:
    """Let nothing start yet."""
    stage.rows.run(
        "insert into freezes (id, selector, reason, created_by, lifted_by) values (gen_random_uuid(), '', 'peak', 'mia', '')"
    )


def thaw(stage: Stage) -> None:
    """Let things start."""
    stage.rows.run("update freezes set lifted_at = now()")
    stage.rows.run("update budgets set version = version + 1 where scope = 'fleet/inFlight'")
