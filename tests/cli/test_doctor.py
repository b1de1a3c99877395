"""`doctor`: whether what this command line talks to is well."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.adapters.embedded.nats import EmbeddedNats
from controlplane.bootstrap import Container
from controlplane.cli.doctor import _clock
from tests.cli.conftest import Cli, Result
from tests.plugins.api import serving, settings_for
from tests.plugins.database import Database


def findings(result: Result) -> dict[str, bool]:
    return {one["check"]: one["well"] for one in json.loads(result.out)["items"]}


async def test_an_installation_that_no_worker_has_served_yet_is_well_and_every_check_is_named(admin: Cli) -> None:
    result = await admin("doctor", "-o", "json")
    assert result.code == 0, result.out
    assert {"address", "key", "clock", "postgresql", "version", "timeline"} <= set(findings(result))
    assert "no worker has looked at a cluster yet" in result.out
    table = await admin("doctor")
    assert "All is well." in table.err
    assert "BAD" not in table.out


async def test_a_wrong_key_is_one_bad_finding_among_good_ones(admin: Cli) -> None:
    result = await admin("doctor", "-o", "json", SEAWALL_KEY="sw_wrong")
    assert result.code == 1
    assert [check for check, well in findings(result).items() if not well] == ["key"]


async def test_nobody_at_the_address_is_one_bad_finding(cli: Cli) -> None:
    result = await cli("doctor", SEAWALL_URL="http://127.0.0.1:9", SEAWALL_KEY="sw_x")
    assert result.code == 1
    assert "BAD" in result.out
    assert "http://127.0.0.1:9" in result.out
    assert "Traceback" not in result.err


async def test_a_part_that_is_away_is_named(cli: Cli, database: Database, tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path / "nats") as nats:
        settings = settings_for(database).model_copy(update={"nats_url": nats.url, "fleet_name": "SIMULATED"})
        async with serving(Container(settings)) as api:
            nats.kill()
            key = await api.key("auditor")
            result = await cli("doctor", "-o", "json", SEAWALL_URL=api.url, SEAWALL_KEY=key)
    assert result.code == 1
    found = findings(result)
    assert (found["nats"], found["postgresql"], found["fleet"]) == (False, True, True)


@pytest.mark.parametrize(
    ("date", "well"),
    [
        ("Tue, 24 Nov 2026 12:00:20 GMT", True),
        ("Tue, 24 Nov 2026 11:59:59 GMT", True),
        ("Tue, 24 Nov 2026 11:59:50 GMT", False),
        ("Tue, 24 Nov 2026 12:00:40 GMT", False),
        (None, False),
    ],
)
def test_a_slow_answer_is_not_taken_for_another_time(date: str | None, well: bool) -> None:
    sent = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
    assert _clock(date, sent, sent + 30).well is well
