"""The emergency lane on the simulated fleet: beside a running rollout, in its way, past a freeze, never past a cap."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest

from controlplane.adapters.simulated.profile import FaultRule, Profile
from controlplane.domain.emergencies import EmergencyRequest
from controlplane.domain.errors import ConflictError, ForbiddenError, InvalidError
from controlplane.domain.identity import Principal
from controlplane.ports.stores.emergencies import EmergencyFilter
from controlplane.services.emergencies import Looker, check_may_take_lane, review
from controlplane.services.freezes import FreezeWish, freeze
from tests.contract.fleets import until_read
from tests.plugins.database import Database
from tests.support.charts import chart

from .conftest import Stage

SLOW: dict[str, Any] = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT1H", "samples": 1}}],
    "limits": {"inFlight": 2},
}
FAST: dict[str, Any] = {
    "waves": [
        {
            "name": "all",
            "cut": {"percent": "100%"},
            "soak": {"for": "PT0S", "samples": 1},
            "before": [{"approval": {"group": "business"}}],
        }
    ],
    "limits": {"inFlight": 1},
}
REASON = "wrong VAT on every receipt since midnight"


def lane(**changes: Any) -> dict[str, Any]:
    return {"criterion": "tax", "reason": REASON, "skip": ["approval"], **changes}


async def fleet(stage: Stage, **criterion: Any) -> uuid.UUID:
    """Shops in two countries, a slow rollout over all of them in the middle of its soak, and a criterion."""
    stage.rows.config("strategies", "slow", SLOW)
    stage.rows.config("strategies", "fast", FAST)
    spec = {"description": "A wrong tax rate", "skip": ["approval"], **criterion}
    stage.rows.config("criteria", "tax", spec)
    stage.rows.release("0.9", chart(values={"release": "0.9"}))
    stage.rows.release("1.0")
    stage.rows.release("1.1", chart(values={"release": "1.1"}))
    await stage.tenants(["fr-1", "fr-2"], labels={"country": "fr"})
    await stage.tenants(["it-1", "it-2"], labels={"country": "it"})
    assert await stage.over(await stage.start("0.9")) == "succeeded"
    slow = await stage.start("1.0", "slow", selector="country=it")
    await states(stage, slow, {"it-1": "soak", "it-2": "soak"})
    return slow


async def states(stage: Stage, rollout: uuid.UUID, wanted: dict[str, str]) -> None:
    async def there() -> bool:
        return stage.targets(rollout) == wanted

    await until_read(there)


async def urgent(stage: Stage, selector: str, **changes: Any) -> uuid.UUID:
    return await stage.start("1.1", "fast", selector=selector, emergency=lane(**changes), changeRef="CHG9")


async def test_an_urgent_subset_goes_while_the_others_trade_and_their_rollout_goes_on(stage: Stage) -> None:
    slow = await fleet(stage)
    rollout = await urgent(stage, "country=fr")
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(rollout) == {"fr-1": "verified", "fr-2": "verified"}
    assert stage.targets(slow) == {"it-1": "soak", "it-2": "soak"}
    assert stage.rows.ask("select max(reserved) from budget_moves where scope = %s", f"rollout:{rollout}/inFlight") == [
        (1,)
    ]
    await stage.command(slow, "abort", inFlight="finish")


async def test_it_goes_before_targets_that_soak_and_leaves_the_rest_of_that_rollout_alone(stage: Stage) -> None:
    slow = await fleet(stage)
    rollout = await urgent(stage, "tenant=it-1")
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(slow) == {"it-1": "skipped", "it-2": "soak"}
    assert stage.rows.ask("select code, reason from targets where rollout_id = %s and tenant = 'it-1'", slow) == [
        ("preempted", f"an emergency went before it (rollout {rollout})")
    ]
    runs = "select release_version from revisions r join tenant_apps a using (tenant, environment, app, revision) where tenant = 'it-1'"
    assert stage.rows.ask(runs) == [("1.1",)]
    assert stage.rows.ask("select slot_id, dirty from environments where tenant = 'it-1'") == [(None, False)]
    await stage.command(slow, "abort", inFlight="finish")


async def test_it_goes_before_what_is_pending_even_in_a_rollout_that_starts_later(stage: Stage) -> None:
    slow = await fleet(stage)
    waiting = await stage.start("1.0", "slow", selector="country=fr", notBefore="2099-01-01T00:00:00Z")
    rollout = await urgent(stage, "tenant=fr-1")
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(waiting) == {"fr-1": "skipped", "fr-2": "pending"}
    await stage.command(slow, "abort", inFlight="finish")


async def test_from_backup_to_verify_it_waits_and_says_for_what_then_goes_at_soak(stage: Stage) -> None:
    slow = await fleet(stage)
    slowly = FaultRule(namespace="fr-1", image="*", fault="slow-start")
    stage.world.profile = Profile(slow=(3.0, 3.0), faults=(slowly,))
    other = await stage.start("1.0", "slow", selector="tenant=fr-1")
    await states(stage, other, {"fr-1": "verify"})
    rollout = await urgent(stage, "tenant=fr-1")

    async def says() -> str:
        found = stage.rows.ask(
            "select reason from targets where rollout_id = %s and reason like '%%is at verify'", rollout
        )
        return str(found[0][0]) if found else ""

    assert "deploy odoo/1.0 is at verify" in await until_read(says)
    assert stage.targets(other) == {"fr-1": "verify"}
    stage.world.profile = Profile()
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(other) == {"fr-1": "skipped"}
    await stage.command(slow, "abort", inFlight="finish")


async def test_it_does_not_go_before_a_way_back_or_another_emergency(stage: Stage) -> None:
    slow = await fleet(stage)
    first = await urgent(stage, "country=fr", skip=[])
    async with stage.transactions.platform() as uow:
        (older,) = await uow.rollouts.busy("odoo", "production", ["fr-1"])
    assert (older.id, older.yields) == (first, False)
    second = await stage.start("1.0", "fast", selector="country=fr", emergency=lane())
    await stage.command(first, "abort")
    assert await stage.over(first) == "aborted"
    assert await stage.over(second) == "succeeded"
    await stage.command(slow, "abort", inFlight="finish")


async def test_a_freeze_holds_it_unless_the_criterion_passes_freezes_and_this_one_is_named(stage: Stage) -> None:
    slow = await fleet(stage, freezes=True)
    async with stage.transactions.platform() as uow:
        stop = await freeze(uow, FreezeWish(None, "Black Friday"), actor="zoe")
    held = await urgent(stage, "tenant=fr-1")
    await _running(stage, held)
    rollout = await urgent(stage, "tenant=fr-2", freezes=[str(stop.id)])
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(held) == {"fr-1": "pending"}
    async with stage.transactions.platform() as uow:
        await freeze(uow, FreezeWish("country=fr", "stop everything, really"), actor="zoe")
    later = await urgent(stage, "tenant=it-1", freezes=[str(stop.id)])
    assert await stage.over(later) == "succeeded"
    blocked = await stage.start("1.0", "fast", selector="tenant=fr-2", emergency=lane(freezes=[str(stop.id)]))
    for one in (held, blocked):
        await _running(stage, one)
        await stage.command(one, "abort")
        assert await stage.over(one) == "aborted"
        assert set(stage.targets(one).values()) == {"cancelled"}
    await stage.command(slow, "abort", inFlight="finish")


async def _running(stage: Stage, rollout: uuid.UUID) -> None:
    async def look() -> bool:
        return stage.state(rollout) == "running"

    await until_read(look)


async def test_an_open_breaker_holds_it_whatever_else_it_may_pass(stage: Stage) -> None:
    slow = await fleet(stage, freezes=True)
    async with stage.transactions.platform() as uow:
        stop = await freeze(uow, FreezeWish(None, "Black Friday"), actor="zoe")
    stage.rows.run("update budgets set breaker = 'open', version = version + 1 where scope = 'fleet/inFlight'")
    rollout = await urgent(stage, "tenant=fr-1", freezes=[str(stop.id)])
    await _running(stage, rollout)
    await stage.command(rollout, "pause")
    assert stage.rows.ask("select count(*) from steps where subject_id = %s", rollout) == [(0,)]
    stage.rows.run("update budgets set breaker = '', version = version + 1 where scope = 'fleet/inFlight'")
    await stage.command(rollout, "resume")
    assert await stage.over(rollout) == "succeeded"
    await stage.command(slow, "abort", inFlight="finish")


async def test_a_cap_of_the_fleet_holds_it_until_there_is_room(stage: Stage) -> None:
    slow = await fleet(stage, freezes=True)
    stage.rows.run("update budgets set cap = 2, version = version + 1 where scope = 'fleet/inFlight'")
    rollout = await urgent(stage, "tenant=fr-1")
    for command, state in (("pause", "paused"), ("resume", "running")) * 3:  # each passes over what could start
        await stage.command(rollout, command)

        async def there(state: str = state) -> bool:
            return stage.state(rollout) == state

        await until_read(there)
    assert stage.rows.ask("select state from waves where rollout_id = %s", rollout) == [("running",)]
    await stage.command(rollout, "pause")
    assert stage.targets(rollout) == {"fr-1": "pending"}
    assert stage.rows.ask("select count(*) from steps where subject_id = %s", rollout) == [(0,)]
    assert stage.rows.ask("select reserved from budgets where scope = 'fleet/inFlight'") == [(2,)]
    stage.rows.run("update budgets set cap = 3, version = version + 1 where scope = 'fleet/inFlight'")
    await stage.command(rollout, "resume")
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(slow) == {"it-1": "soak", "it-2": "soak"}
    await stage.command(slow, "abort", inFlight="finish")


async def test_what_may_not_be_left_out_is_refused_before_anything_starts(stage: Stage) -> None:
    slow = await fleet(stage, maxTargets=1)
    before = stage.rows.ask("select count(*) from rollouts")
    for selector, changes, code in (
        ("country=fr", {}, "emergency-refused"),
        ("tenant=fr-1", {"skip": ["metric"]}, "emergency-refused"),
        ("tenant=fr-1", {"freezes": [str(uuid.uuid4())]}, "unknown-freeze"),
        ("tenant=fr-1", {"criterion": "nobody"}, "unknown-criterion"),
    ):
        with pytest.raises(InvalidError) as refused:
            await urgent(stage, selector, **changes)
        assert refused.value.code == code
    assert stage.rows.ask("select count(*) from rollouts") == before
    await stage.command(slow, "abort", inFlight="finish")


async def test_without_the_skip_its_gates_ask_as_ever(stage: Stage) -> None:
    slow = await fleet(stage)
    rollout = await urgent(stage, "tenant=fr-1", skip=[])

    async def asks() -> bool:
        return stage.rows.ask("select 1 from gates where rollout_id = %s and who <> ''", rollout) != []

    await until_read(asks)
    assert stage.targets(rollout) == {"fr-1": "pending"}
    for one in (rollout, slow):
        await stage.command(one, "abort", inFlight="finish")


async def test_it_stays_open_until_somebody_else_has_looked_at_it(stage: Stage, database: Database) -> None:
    slow = await fleet(stage)
    rollout = await urgent(stage, "tenant=fr-1")
    async with stage.transactions.platform() as uow:
        (record,) = await uow.emergencies.page(EmergencyFilter(), None, 10)
        assert (record.person, record.criterion, record.reason, record.change_ref) == ("mia", "tax@1", REASON, "CHG9")
        assert record.left_out["gates"] == [{"wave": "all", "place": "before", "kind": "approval"}]
        with pytest.raises(ForbiddenError) as own:
            await review(uow, rollout, "justified", "all fine", Looker("MIA"))
        with pytest.raises(InvalidError):
            await review(uow, rollout, "justified", " ", Looker("zoe"))
    assert own.value.code == "own-change"
    async with stage.transactions.platform() as uow:
        done = await review(uow, rollout, "not-justified", "the deadline was known for weeks", Looker("zoe"))
    assert (done.finding, done.reviewed_by) == ("not-justified", "zoe")
    async with stage.transactions.platform() as uow:
        with pytest.raises(ConflictError) as again:
            await review(uow, rollout, "justified", "I differ", Looker("ben"))
    assert again.value.code == "reviewed-already"
    for url in (database.platform, database.engine):
        for table in ("emergencies", "emergency_reviews"):
            with psycopg.connect(url) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(f"delete from {table}".encode())
    await stage.command(slow, "abort", inFlight="finish")


async def test_a_criterion_is_for_its_roles_and_its_people_by_any_of_their_names(stage: Stage) -> None:
    stage.rows.config("people", "ann", {"names": ["ann@acme.example", "oidc:https://login#1"]})
    stage.rows.config("criteria", "tax", {"description": "x", "roles": ["operator"], "people": ["ann@acme.example"]})
    wish = EmergencyRequest.model_validate({"criterion": "tax", "reason": REASON})
    async with stage.transactions.platform() as uow:
        ann = Principal(id="oidc:https://login#1", roles=frozenset({"operator"}))
        await check_may_take_lane(uow, wish, ann)
        for other in (
            Principal(id="oidc:https://login#2", roles=frozenset({"operator"})),
            Principal(id="oidc:https://login#1", roles=frozenset({"release-manager"})),
        ):
            with pytest.raises(ForbiddenError) as refused:
                await check_may_take_lane(uow, wish, other)
            assert refused.value.code == "not-for-you"
