"""The stop button."""

from __future__ import annotations

from tests.cli.conftest import Cli


async def test_a_freeze_is_listed_until_it_is_thawed(admin: Cli) -> None:
    frozen = await admin("freeze", "-l", "country=fr", "--reason", "Black Friday", "--until", "4h", "-o", "name")
    freeze_id = frozen.out.strip()
    listed = await admin("freeze")
    assert freeze_id in listed.out
    assert "Black Friday" in listed.out
    assert (await admin("thaw", freeze_id)).code == 0
    assert (await admin("freeze")).err == "There is none.\n"


async def test_a_freeze_without_a_reason_is_refused(admin: Cli) -> None:
    result = await admin("freeze", "--all")
    assert result.code == 2
    assert "--reason" in result.err


async def test_thaw_all_ends_every_freeze(admin: Cli) -> None:
    for selector in ("country=fr", "country=de"):
        await admin("freeze", "-l", selector, "--reason", "trying")
    assert (await admin("thaw", "--all")).err.count("Thawed") == 2
    assert (await admin("freeze")).out == ""
