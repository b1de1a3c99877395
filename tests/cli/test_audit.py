"""The audit trail on the command line: checked there, exported, checked again without anybody."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg

from tests.api.test_audit import trail
from tests.cli.conftest import Cli
from tests.plugins.api import Api
from tests.plugins.database import Database


async def test_the_command_line_verifies_exports_and_finds_an_edit_by_its_exit_code(
    api: Api, cli: Cli, database: Database, tmp_path: Path
) -> None:
    anchors, file = tmp_path / "anchors", tmp_path / "audit.ndjson"
    await trail(api, 4, anchors)
    auditor = Cli(cli.home, {"SEAWALL_URL": api.url, "SEAWALL_KEY": await api.key("auditor")})
    there = await auditor("audit", "verify")
    assert (there.code, there.out.split()[2], "anchored at 2" in there.out) == (0, "4", True), there.err
    file.write_text((await auditor("audit", "export")).out)
    offline = await cli("audit", "verify", "--file", str(file), "--anchors", str(anchors), "-o", "json")
    assert (offline.code, json.loads(offline.out)["anchored"]["seal"]) == (0, 4), offline.err
    file.write_text(file.read_text().replace("thing/2", "thing/9"))
    broken = await cli("audit", "verify", "--file", str(file))
    assert (broken.code, "BROKEN at 3" in broken.err) == (1, True)
    with psycopg.connect(database.owner) as owner:
        owner.execute("delete from audit where seal = 4")
    cut = await auditor("audit", "verify", "--anchors", str(anchors))
    assert (cut.code, "taken off its end" in cut.err) == (1, True)
    assert (await auditor("audit", "-o", "name")).out.split()[:2] == ["5", "3"]
    assert (await cli("audit", "verify", "--anchors", str(tmp_path / "none"))).code == 2
