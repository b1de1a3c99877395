"""Votes on PostgreSQL with a driver at work: races, refusals, and a record that outlives what it was about."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Literal

import psycopg
import pytest

from controlplane.adapters.postgres.database import Database as Transactions
from controlplane.adapters.postgres.database import Urls
from controlplane.domain.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from controlplane.services.approvals import Ballot, Voter, void_votes_of, vote, votes_of, withdraw
from controlplane.services.freezes import FreezeWish, freeze, thaw
from tests.contract.fleets import until_read
from tests.plugins.database import Database

from .conftest import Stage

SOAK = {"for": "PT0S", "samples": 1}


def asked(**approval: Any) -> dict[str, Any]:
    """One tenant first, then a gate, then the others."""
    gate = {"approval": {"group": "business", **approval}}
    return {
        "waves": [
            {"name": "pilot", "cut": {"count": 1}, "soak": SOAK},
            {"name": "rest", "cut": {"percent": "100%"}, "soak": SOAK, "before": [gate]},
        ]
    }


async def started(stage: Stage, strategy: dict[str, Any], **request: Any) -> uuid.UUID:
    stage.rows.config("strategies", "asked", strategy)
    stage.rows.release("1.0", provenance={"repository": "r", "commit": "4c1d", "authors": ["leo@acme.example"]})
    await stage.tenants(["a", "b", "c"])
    return await stage.start("1.0", "asked", **request)


async def says(stage: Stage, rollout: uuid.UUID, start: str) -> str:
    """Wait until the gate's reason begins like this."""

    async def look() -> str:
        found = stage.rows.ask(
            "select reason from gates where rollout_id = %s and reason like %s", rollout, f"{start}%"
        )
        return str(found[0][0]) if found else ""

    return await until_read(look)


async def cast(
    stage: Stage,
    rollout: uuid.UUID,
    person: str,
    word: Literal["approve", "reject"] = "approve",
    *,
    group: str = "business",
    reason: str = "",
    on: Transactions | None = None,
    email: str = "",
) -> int:
    planned = stage.rows.ask("select plan_hash from rollouts where id = %s", rollout)[0][0]
    async with (on or stage.transactions).platform() as uow:
        ballot = Ballot(group, None, planned, reason, word)
        return len(await vote(uow, rollout, ballot, Voter(person, email, {group})))


def events(stage: Stage, rollout: uuid.UUID, change: str) -> list[dict[str, Any]]:
    kind = f"dev.seawall.rollout.{change}.v1"
    return [
        row[0]
        for row in stage.rows.ask(
            "select data from history where subject_id = %s and type = %s order by seq", str(rollout), kind
        )
    ]


@pytest.fixture
async def second(database: Database) -> AsyncIterator[Transactions]:
    """A second API process: connections of its own."""
    transactions = Transactions(Urls(platform=database.platform))
    yield transactions
    await transactions.close()


async def test_two_approvers_in_the_same_instant_both_count_and_the_gate_opens_once(
    stage: Stage, second: Transactions
) -> None:
    rollout = await started(stage, asked(count=2), changeRef="CHG1")
    await says(stage, rollout, "0 of 2")
    cast_now = await asyncio.gather(cast(stage, rollout, "ann"), cast(stage, rollout, "ben", on=second))
    assert list(cast_now) == [1, 1]
    assert await stage.over(rollout) == "succeeded"
    assert stage.rows.ask("select reason from gates") == [("approved by ann, ben",)]
    assert [e["changeRef"] for e in events(stage, rollout, "gate-asked")] == ["CHG1"]
    assert sorted(e["person"] for e in events(stage, rollout, "vote-cast")) == ["ann", "ben"]


async def test_one_person_on_two_connections_at_once_has_one_vote(stage: Stage, second: Transactions) -> None:
    rollout = await started(stage, asked(count=2))
    await says(stage, rollout, "0 of 2")
    cast_now = await asyncio.gather(cast(stage, rollout, "ann"), cast(stage, rollout, "ann", on=second))
    assert sorted(cast_now) == [0, 1]
    assert await says(stage, rollout, "1 of 2")
    await stage.command(rollout, "abort")
    assert await stage.over(rollout) == "aborted"


async def test_a_vote_taken_back_in_the_instant_its_gate_would_open_is_refused_or_keeps_it_closed(
    stage: Stage, second: Transactions
) -> None:
    rollout = await started(stage, asked())
    await says(stage, rollout, "0 of 1")
    await cast(stage, rollout, "ann")
    (mine,) = stage.rows.ask("select id from votes")[0]
    async with second.platform() as uow:
        refused = await _refusal(withdraw(uow, rollout, mine, Voter("ann")))
    if refused:
        assert refused == "gate-decided"
        assert await stage.over(rollout) == "succeeded"
        return
    await says(stage, rollout, "0 of 1")
    assert stage.targets(rollout)["b"] == "pending"
    await cast(stage, rollout, "ben")
    assert await stage.over(rollout) == "succeeded"
    assert stage.rows.ask("select reason from gates") == [("approved by ben",)]


async def _refusal(doing: Awaitable[None]) -> str:
    try:
        await doing
    except ConflictError as error:
        return error.code
    return ""


async def test_a_vote_can_not_be_taken_back_once_the_gate_has_opened(stage: Stage) -> None:
    rollout = await started(
        stage, {**asked(), "waves": [*asked()["waves"], {"name": "last", "cut": {"selector": "x=y"}}][:2]}
    )
    await says(stage, rollout, "0 of 1")
    await cast(stage, rollout, "ann")
    await says(stage, rollout, "approved")
    (mine,) = stage.rows.ask("select id from votes")[0]
    with pytest.raises(ConflictError) as late:
        async with stage.transactions.platform() as uow:
            await withdraw(uow, rollout, mine, Voter("ann"))
    assert late.value.code in ("gate-decided", "rollout-over")
    await stage.over(rollout)


async def test_a_no_fails_the_gate_holds_the_release_and_starts_nothing_more(stage: Stage) -> None:
    rollout = await started(stage, asked())
    await says(stage, rollout, "0 of 1")
    with pytest.raises(InvalidError) as silent:
        await cast(stage, rollout, "zoe", "reject")
    assert silent.value.code == "reason-needed"
    await cast(stage, rollout, "zoe", "reject", reason="prices are not signed")
    assert await stage.over(rollout) == "failed"
    assert sorted(stage.targets(rollout).values()) == ["cancelled", "cancelled", "verified"]
    assert stage.rows.ask("select verdict, reason from gates") == [
        ("fail", "rejected by zoe (business): prices are not signed")
    ]
    assert stage.rows.ask("select count(*) from holds where lifted_at is null") == [(1,)]
    with pytest.raises(ConflictError) as over:
        await cast(stage, rollout, "ann")
    assert over.value.code == "rollout-over"


async def test_nobody_is_asked_while_the_rollout_is_paused_or_everything_is_frozen(stage: Stage) -> None:
    rollout = await started(stage, asked())
    await says(stage, rollout, "0 of 1")
    async with stage.transactions.platform() as uow:
        stop = await freeze(uow, FreezeWish(None, "Black Friday"), actor="mia")
    assert await says(stage, rollout, "not asked yet: everything is frozen (Black Friday)")
    with pytest.raises(ConflictError) as frozen:
        await cast(stage, rollout, "ann")
    assert (frozen.value.code, "Black Friday" in frozen.value.detail) == ("not-asked-yet", True)
    async with stage.transactions.platform() as uow:
        await thaw(uow, stop.id, actor="mia")
    await says(stage, rollout, "0 of 1")
    assert len(events(stage, rollout, "gate-asked")) == 2
    await cast(stage, rollout, "ann")
    assert await stage.over(rollout) == "succeeded"


async def test_a_vote_before_its_wave_has_come_is_refused_unless_the_gate_takes_early_ones(stage: Stage) -> None:
    rollout = await started(stage, asked(early=True), notBefore="2099-01-01T00:00:00Z")
    assert await cast(stage, rollout, "ann") == 1
    stage.rows.config("strategies", "asked", asked())
    other = await stage.start("1.0", "asked", notBefore="2099-01-01T00:00:00Z")
    with pytest.raises(ConflictError) as early:
        await cast(stage, other, "ann")
    assert (early.value.code, "its wave has not come to it" in early.value.detail) == ("not-asked-yet", True)
    stage.rows.run("update rollouts set not_before = null, due_at = now() where id = %s", rollout)
    assert await stage.over(rollout) == "succeeded"


async def test_a_person_of_two_groups_votes_for_one_of_them(stage: Stage) -> None:
    gate = {"approval": {"groups": {"business": 1, "platform": 1}}}
    strategy = {"waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": SOAK, "before": [gate]}]}
    rollout = await started(stage, strategy)
    await says(stage, rollout, "approvals: business 0 of 1")
    await cast(stage, rollout, "ann")
    with pytest.raises(ConflictError) as twice:
        await cast(stage, rollout, "ann", group="platform")
    assert twice.value.code == "already-voted"
    await cast(stage, rollout, "ben", group="platform")
    assert await stage.over(rollout) == "succeeded"


async def test_votes_of_a_revoked_key_do_not_open_a_gate(stage: Stage) -> None:
    rollout = await started(stage, asked(count=2))
    await says(stage, rollout, "0 of 2")
    await cast(stage, rollout, "key:7")
    await says(stage, rollout, "1 of 2")
    async with stage.transactions.platform() as uow:
        assert await void_votes_of(uow, "key:7", by="admin", reason="the key was revoked") == 1
    await says(stage, rollout, "0 of 2")
    await asyncio.gather(cast(stage, rollout, "ann"), cast(stage, rollout, "ben"))
    assert await stage.over(rollout) == "succeeded"


async def test_an_administrator_takes_back_a_vote_of_somebody_who_lost_the_role_with_a_reason(stage: Stage) -> None:
    rollout = await started(stage, asked(count=2))
    await says(stage, rollout, "0 of 2")
    await cast(stage, rollout, "ann")
    (hers,) = stage.rows.ask("select id from votes")[0]
    async with stage.transactions.platform() as uow:
        with pytest.raises(NotFoundError):
            await withdraw(uow, rollout, hers, Voter("ben"))
        with pytest.raises(InvalidError):
            await withdraw(uow, rollout, hers, Voter("admin"), any_vote=True)
        await withdraw(uow, rollout, hers, Voter("admin"), any_vote=True, reason="she left the company")
    await says(stage, rollout, "0 of 2")
    line = events(stage, rollout, "vote-withdrawn")[0]
    assert (line["person"], line["reason"]) == ("ann", "she left the company")
    await stage.command(rollout, "abort")
    assert await stage.over(rollout) == "aborted"


async def test_an_author_known_by_her_login_at_the_forge_may_not_approve_under_her_e_mail_address(stage: Stage) -> None:
    rollout = await started(stage, asked())
    stage.rows.run("update releases set on_behalf_of = 'ann-gh'")
    stage.rows.config("people", "ann", {"names": ["ann-gh", "ann@acme.example"]})
    await says(stage, rollout, "0 of 1")
    with pytest.raises(ForbiddenError) as own:
        await cast(stage, rollout, "oidc:https://login#1", email="ann@acme.example")
    assert own.value.code == "own-change"
    await cast(stage, rollout, "oidc:https://login#2", email="ben@acme.example")
    assert await stage.over(rollout) == "succeeded"


async def test_whoever_changed_the_values_may_not_approve_their_rollout(stage: Stage) -> None:
    rollout = await started(stage, asked())
    await says(stage, rollout, "0 of 1")
    stage.rows.run("update rollouts set kind = 'values'")
    async with stage.transactions.platform() as uow:
        detail = {"environment": "production", "app": "odoo", "keys": ["web"]}
        await uow.audit("ann", "values.change", "tenant/b", tenant="b", detail=detail)
        await uow.audit("ben", "values.change", "tenant/b", tenant="b", detail={**detail, "app": "pos-sync"})
    with pytest.raises(ForbiddenError) as own:
        await cast(stage, rollout, "ann")
    assert own.value.code == "own-change"
    await cast(stage, rollout, "ben")
    assert await stage.over(rollout) == "succeeded"


async def test_unknown_authors_and_a_missing_change_are_refused_before_anything_starts(stage: Stage) -> None:
    stage.rows.config("strategies", "asked", asked(knownAuthors=True, needsChangeRef=True))
    stage.rows.release("1.0")
    await stage.tenants(["a", "b"])
    with pytest.raises(InvalidError) as nobody:
        await stage.start("1.0", "asked", changeRef="CHG1")
    assert (nobody.value.code, "provenance.authors" in nobody.value.detail) == ("authors-unknown", True)
    stage.rows.run("update releases set on_behalf_of = 'ann-gh'")
    with pytest.raises(InvalidError) as unnumbered:
        await stage.start("1.0", "asked")
    assert unnumbered.value.code == "change-ref-missing"
    rollout = await stage.start("1.0", "asked", changeRef="CHG1", notBefore="2099-01-01T00:00:00Z")
    assert stage.state(rollout) == "planned"


async def test_the_record_outlives_its_rollout_and_no_role_may_change_it(stage: Stage, database: Database) -> None:
    rollout = await started(stage, asked(), changeRef="CHG1")
    await says(stage, rollout, "0 of 1")
    await cast(stage, rollout, "ann", reason="seen the pilot")
    await stage.over(rollout)
    for table in ("gates", "reservations", "targets", "waves", "commands", "leases"):
        key = "subject_id" if table in ("commands", "leases") else "rollout_id"
        stage.rows.run(f"delete from {table} where {key} = %s", rollout)
    stage.rows.run("delete from rollouts where id = %s", rollout)
    async with stage.transactions.platform() as uow:
        (kept,) = await votes_of(uow, rollout)
    assert (kept.person, kept.wave_name, kept.version, kept.change_ref) == ("ann", "rest", "1.0", "CHG1")
    for url in (database.platform, database.engine, database.tenant):
        for statement in ("update votes set person = 'zoe'", "delete from votes", "truncate votes"):
            with psycopg.connect(url) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement.encode())
