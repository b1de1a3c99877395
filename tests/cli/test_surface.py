"""The command line is the one that was promised: each command, its outputs, completion."""

from __future__ import annotations

import pytest

from controlplane.cli.options import TABLE, Format
from controlplane.cli.reference import commands
from tests.cli.conftest import Cli

PROMISED = """
    up demo serve work relay migrate deploy why freeze thaw apply get audit changes doctor login
    key create, key list, key revoke
    tenant onboard|list|show|status|suspend|resume|defer|rollback|offboard|export
    release register|list|show|lift
    rollout preview|start|list|show|watch|pause|resume|abort|retry|approve
    event send|show
"""
DATA = (
    "why get audit changes doctor",
    "key list, key create, tenant list, tenant show, tenant status, release list, release show",
    "rollout preview, rollout start, rollout list, rollout show, event show",
)


def promised() -> set[str]:
    """Every command by its words."""
    found: set[str] = set()
    for line in PROMISED.strip().splitlines():
        noun, _, verbs = line.strip().partition(" ")
        if "|" in verbs:
            found |= {f"{noun} {verb}" for verb in verbs.split("|")}
        elif "," in line:
            found |= {words.strip() for words in line.split(",")}
        else:
            found |= set(line.split())
    return found


def test_every_promised_command_is_there() -> None:
    assert promised() - set(commands()) == set()


def test_what_gives_data_gives_it_in_four_forms() -> None:
    assert {form.value for form in Format} == {"table", "json", "yaml", "name"}
    paths = [words.strip() for line in DATA for words in (line.split(",") if "," in line else line.split())]
    assert [
        p for p in paths if not any("-o" in one.opts and one.default is TABLE for one in commands()[p].params)
    ] == []


@pytest.mark.parametrize(("shell", "mark"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
async def test_completion_is_printed_for_each_shell(cli: Cli, shell: str, mark: str) -> None:
    result = await cli(_SEAWALL_COMPLETE=f"source_{shell}")
    assert result.code == 0, result.err
    assert mark in result.out
    assert "seawall" in result.out


async def test_completion_knows_nouns_verbs_and_options(cli: Cli) -> None:
    async def after(words: str) -> str:
        environ = {"_SEAWALL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()))}
        return (await cli(**environ)).out

    assert {"tenant", "rollout", "doctor"} <= set((await after("seawall ")).split())
    assert {"pause", "watch", "approve"} <= set((await after("seawall rollout ")).split())
