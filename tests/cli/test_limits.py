"""`budget` and `breaker`."""

from __future__ import annotations

import psycopg

from tests.cli.conftest import Cli
from tests.plugins.database import Database

LIMITS = """
apiVersion: seawall.dev/v1
kind: limit
metadata: {name: fleet}
spec: {inFlight: 60, moneyAtRisk: "50000.00", breaker: {failures: {count: 5}, quiet: PT30M}}
"""
OPEN = b"""
    update budgets set breaker = 'open', breaker_detail = '{"code": "failures", "reason": "9 targets failed", "by": "seawall"}'
    where scope = 'fleet/inFlight'
"""


async def test_limits_are_applied_from_a_file_and_read_as_budgets(admin: Cli) -> None:
    applied = await admin("apply", "-f", "-", stdin=LIMITS)
    assert (applied.code, applied.out) == (0, "limit/fleet created\n"), applied.err
    listed = await admin("budget", "list")
    rows = [line.split() for line in listed.out.splitlines()]
    assert ["fleet/inFlight", "0", "60"] in rows
    assert ["fleet/moneyAtRisk", "0", "50000"] in rows


async def test_an_open_breaker_says_why_and_a_person_lets_one_through_with_a_reason(
    admin: Cli, database: Database
) -> None:
    await admin("apply", "-f", "-", stdin=LIMITS)
    assert (await admin("breaker", "show", "-o", "name")).out == "closed\n"
    with psycopg.connect(database.owner) as connection:
        connection.execute(OPEN)
    shown = await admin("breaker", "show")
    assert "open" in shown.out
    assert "9 targets failed" in shown.out
    assert "opens at 5 within PT1H" in shown.out
    assert "after PT30M" in shown.out
    assert "breaker open" in (await admin("budget", "list")).out
    refused = await admin("breaker", "reset")
    assert (refused.code, "--reason" in refused.err) == (2, True)
    assert (await admin("breaker", "reset", "--reason", "mended")).out == "fleet halfOpen\n"
    assert (await admin("breaker", "reset", "--reason", "all is well", "--close")).out == "fleet closed\n"
    assert (await admin("breaker", "reset", "--reason", "again")).code == 1
