"""The sealer on a real database: committed rows get a seal, edits are found."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from controlplane.adapters.anchor_file import AnchorFile
from controlplane.domain.audit_chain import Anchor, Seal
from controlplane.domain.errors import DependencyError
from controlplane.domain.events_out import Change
from controlplane.services.audit_chain import remove_old, seal_some, verify, verify_some
from tests.plugins.api import Api
from tests.plugins.database import Database
from workers.housekeeping import keep
from workers.sealing import Sealer


async def _work(api: Api, count: int) -> None:
    for number in range(count):
        async with api.container.database.platform() as uow:
            await uow.audit("key:a", "test.act", f"thing/{number}", detail={"number": number, "text": "é"})


async def test_what_is_committed_is_sealed_and_the_chain_holds(api: Api, database: Database) -> None:
    await _work(api, 5)
    await keep(api.container)
    found = await verify(api.container.database.platform)
    assert (found.head.number, found.broken_at) == (5, None)
    admin = await api.as_("platform-admin")
    assert (await admin.get("/v1/audit?action=test.act")).json()["items"][0]["seal"] == 5


async def test_a_row_that_commits_late_with_a_lower_id_is_sealed_too(api: Api, database: Database) -> None:
    with psycopg.connect(database.owner) as late:
        late.execute("insert into audit (actor, action, subject, trace_id) values ('a', 'late', 's', '')")
        await _work(api, 2)
        await keep(api.container)
        late.commit()
    await keep(api.container)
    found = await verify(api.container.database.platform)
    assert (found.head.number, found.broken_at) == (3, None)


async def test_two_sealers_at_once_make_one_chain(api: Api) -> None:
    await _work(api, 20)
    await asyncio.gather(*(keep(api.container) for _ in range(4)))
    await keep(api.container)
    found = await verify(api.container.database.platform)
    assert (found.head.number, found.broken_at) == (20, None)


async def test_an_operator_who_edits_history_is_found(api: Api, database: Database) -> None:
    await _work(api, 5)
    await keep(api.container)
    with psycopg.connect(database.owner) as owner:
        owner.execute("update audit set actor = 'somebody else' where seal = 3")
    found = await verify(api.container.database.platform)
    assert found.broken_at == 3
    assert "was changed" in found.problem


async def test_a_chain_made_anew_or_cut_short_is_found_by_its_anchor(api: Api, database: Database) -> None:
    await _work(api, 5)
    async with api.container.database.engine() as uow:
        anchor = await seal_some(uow)
    assert anchor is not None
    with psycopg.connect(database.owner) as owner:
        owner.execute("delete from audit where seal = 5")
    cut = await verify(api.container.database.platform, anchors=(anchor,))
    assert (cut.broken_at, "taken off its end" in cut.problem) == (5, True)
    with psycopg.connect(database.owner) as owner:
        owner.execute("update audit set actor = 'forged', seal = null, hash = null")
    await _work(api, 1)
    await keep(api.container)
    forged = await verify(api.container.database.platform, anchors=(anchor,))
    assert (forged.broken_at, "made anew" in forged.problem) == (5, True)
    assert (await verify(api.container.database.platform, anchors=(Seal(2, forged.head.hash),))).broken_at == 2


async def test_the_api_can_write_audit_rows_but_never_change_them(database: Database) -> None:
    for url in (database.platform, database.tenant):
        with psycopg.connect(url) as connection:
            try:
                connection.execute("update audit set actor = 'x'")
            except psycopg.errors.InsufficientPrivilege:
                continue
        raise AssertionError(url)


async def _aged(api: Api, database: Database, count: int) -> None:
    """Rows of two years ago, sealed."""
    with psycopg.connect(database.owner) as owner:
        for n in range(count):
            owner.execute(
                "insert into audit (actor, action, subject, trace_id, at) values ('a', 'old', %s, '', now() - interval '2 years')",
                (f"thing/{n}",),
            )
    await keep(api.container)


async def test_old_rows_leave_behind_an_anchored_checkpoint_and_the_rest_can_still_be_checked(
    api: Api, database: Database, tmp_path: Path
) -> None:
    anchors = AnchorFile(tmp_path / "anchors")
    open_ = api.container.database.engine
    await _aged(api, database, 4)
    await _work(api, 3)
    await keep(api.container)
    assert await remove_old(open_, anchors, timedelta(days=365)) == 4
    await keep(api.container)
    with psycopg.connect(database.owner) as owner:
        left = owner.execute("select action from audit order by seal").fetchall()
    assert [row[0] for row in left] == ["test.act"] * 3 + ["audit.remove"]
    found = await verify_some(open_, None, await anchors.read(), 100)
    assert (found.found.head.number, found.found.broken_at, found.done) == (8, None, True)
    assert found.checkpoint is not None
    assert (found.checkpoint.seal.number, found.checkpoint.rows) == (4, 4)
    assert await remove_old(open_, anchors, timedelta(days=365)) == 0


async def test_a_beginning_that_the_owner_cut_off_is_found_although_he_wrote_a_checkpoint(
    api: Api, database: Database
) -> None:
    await _work(api, 6)
    await keep(api.container)
    with psycopg.connect(database.owner) as owner:
        early, forged = owner.execute("select seal, hash from audit where seal in (1, 4) order by seal").fetchall()
        owner.execute("insert into audit_checkpoints (seal, hash, rows) values (%s, %s, 4)", forged)
        owner.execute("delete from audit where seal <= 4")
    found = await verify_some(api.container.database.platform, None, [Anchor(Seal(*early))], 100)
    assert "no anchored checkpoint" in found.found.problem


async def test_without_its_anchor_nothing_is_removed(api: Api, database: Database, tmp_path: Path) -> None:
    await _aged(api, database, 2)
    with pytest.raises(DependencyError) as refused:
        await remove_old(api.container.database.engine, AnchorFile(tmp_path / "no" / "anchors"), timedelta(days=365))
    assert refused.value.code == "anchor-unavailable"
    with psycopg.connect(database.owner) as owner:
        assert owner.execute("select count(*) from audit").fetchone() == (2,)


@pytest.mark.parametrize(
    ("before", "upto", "hash_", "why"),
    [
        ("now()", 2, None, "younger than 30 days"),
        ("now() - interval '400 days'", 2, "sha256:x", "not there with this hash"),
        ("now() - interval '400 days'", 3, None, "younger than the policy"),
    ],
)
async def test_a_stolen_worker_key_removes_no_row_that_the_policy_keeps(
    api: Api, database: Database, before: str, upto: int, hash_: str | None, why: str
) -> None:
    await _aged(api, database, 2)
    await _work(api, 1)
    await keep(api.container)
    with psycopg.connect(database.engine) as worker:
        found = worker.execute("select hash from audit where seal = %s", (upto,)).fetchone()
        assert found is not None
        statement = f"select remove_audit(%s, %s, {before})"
        with pytest.raises(psycopg.errors.RaiseException, match=why):
            worker.execute(statement.encode(), (upto, hash_ or found[0]))
        worker.rollback()
        for forbidden in ("delete from audit", "delete from audit_checkpoints", "update audit set actor = 'x'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                worker.execute(forbidden.encode())
            worker.rollback()


async def test_a_worker_anchors_each_head_and_what_the_anchor_missed_comes_later(
    api: Api, database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "volume" / "anchors"
    api.container.settings.audit_anchors = path
    sealer = Sealer(api.container)
    await _work(api, 2)
    with pytest.raises(DependencyError):
        await sealer.step()  # the volume is not there
    path.parent.mkdir()
    await sealer.step()
    await _work(api, 1)
    await sealer.step()
    assert [anchor.seal.number for anchor in await AnchorFile(path).read()] == [2, 3]
    await Sealer(api.container).step()  # a process that starts anchors where the chain stands
    assert [anchor.seal.number for anchor in await AnchorFile(path).read()] == [2, 3, 3]


async def test_each_sealed_row_goes_out_as_an_event_with_its_seal_and_hash(api: Api, database: Database) -> None:
    await _work(api, 2)
    await keep(api.container)
    with psycopg.connect(database.owner) as owner:
        rows = owner.execute(
            "select subject, payload from outbox where subject like '%%.audit.%%' order by id"
        ).fetchall()
        hashes = [row[0] for row in owner.execute("select hash from audit order by seal").fetchall()]
    changes = [Change.of(payload) for _, payload in rows]
    assert {subject for subject, _ in rows} == {"sw.event._fleet.audit.recorded"}
    assert [(c.attributes()["sequence"], c.data["hash"]) for c in changes] == [("1", hashes[0]), ("2", hashes[1])]
    async with api.container.database.engine() as uow:
        await uow.deliveries.add("siem", changes)
        due = await uow.deliveries.claim(10, uow.now + timedelta(seconds=60))
    assert [dict(row.change.data) for row in due] == [dict(changes[0].data)]
    assert due[0].change.structured() == changes[0].structured()
