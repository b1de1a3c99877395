"""The audit trail over HTTP and on the command line: checked in steps, exported, checked again without anybody."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg

from controlplane.domain.audit_lines import check_export
from tests.api.problems import problem
from tests.plugins.api import Api
from tests.plugins.database import Database
from workers.sealing import Sealer


async def trail(api: Api, count: int, anchors: Path | None = None) -> None:
    """So many rows of audit, sealed and anchored."""
    if anchors is not None:
        api.container.settings.audit_anchors = anchors
    async with api.container.database.platform() as uow:
        for number in range(count):
            await uow.audit("key:a", "test.act", f"thing/{number}", detail={"n": number, "text": "é", "f": 0.1})
    await Sealer(api.container).step()


async def test_the_chain_is_followed_in_steps_to_its_end(api: Api, tmp_path: Path) -> None:
    await trail(api, 25, tmp_path / "anchors")
    auditor = await api.as_("auditor")
    place: dict[str, int | str] = {}
    steps = 0
    while True:
        found = (await auditor.get("/v1/audit:verify", params={"limit": 10, **place})).json()
        steps += 1
        if found["done"]:
            break
        place = {"after": found["verifiedTo"]["seal"], "hash": found["verifiedTo"]["hash"]}
    assert (steps, found["verifiedTo"]["seal"], found["brokenAt"]) == (3, 25, None)
    assert found["anchored"]["seal"] == 25


async def test_an_edited_row_and_a_lie_about_the_step_before_are_found(api: Api, database: Database) -> None:
    await trail(api, 5)
    auditor = await api.as_("auditor")
    zeros = "sha256:" + "0" * 64
    lie = (await auditor.get("/v1/audit:verify", params={"after": 2, "hash": zeros})).json()
    assert lie["brokenAt"] == 3
    with psycopg.connect(database.owner) as owner:
        owner.execute("update audit set detail = '{}' where seal = 4")
    found = (await auditor.get("/v1/audit:verify")).json()
    assert (found["verifiedTo"]["seal"], found["brokenAt"], found["done"]) == (3, 4, True)


async def test_who_may_not_read_the_trail_may_not_check_or_export_it(api: Api) -> None:
    operator = await api.as_("operator")
    problem(await operator.get("/v1/audit:verify"), 404, "not-found")
    problem(await operator.get("/v1/audit:export"), 404, "not-found")
    problem(await (await api.as_("auditor")).get("/v1/audit:verify?after=3"), 422, "invalid")


async def test_an_export_holds_every_sealed_row_and_is_checked_without_the_api(api: Api) -> None:
    await trail(api, 1200)
    await Sealer(api.container).step()  # a second batch
    answer = await (await api.as_("auditor")).get("/v1/audit:export")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = answer.text.splitlines()
    assert (len(lines), json.loads(lines[-1])["end"]["seal"]) == (1202, 1200)
    assert check_export(lines)[0].head.number == 1200
