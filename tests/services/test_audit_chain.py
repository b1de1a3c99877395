"""The sealer on a real database: committed rows get a seal, edits are found."""

from __future__ import annotations

import asyncio

import psycopg

from controlplane.domain.audit_chain import Seal
from controlplane.services.audit_chain import seal_some, verify
from tests.plugins.api import Api
from tests.plugins.database import Database
from workers.housekeeping import keep


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
