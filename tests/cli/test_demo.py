"""The demo as a user runs it. It judges itself; these tests hold it to what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Result

BROKEN = ("lumo-be", "nova-de", "riva-dk")


async def _demo(cli: Cli, data: Path, fleet: str) -> Result:
    return await cli("demo", "--data", str(data), "--fleet", fleet, "--port", "0", COLUMNS="200")


def _check(result: Result, title: str) -> None:
    assert result.code == 0, result.out[-3000:] + result.err[-3000:]
    out = result.out
    assert "NOT AS PROMISED" not in out
    assert re.search(r"odoo/17\.0\.4 .* succeeded", out)
    assert re.search(r"rest +12 +\. +12 +\. +\. +passed", out)
    assert re.search(r"odoo/17\.0\.5 .* failed", out)
    assert re.search(r"grow-2 +6 +\. +3 +3 +\. +HALTED", out)
    assert re.search(r"rest +12 +\. +\. +\. +12 +never started", out)
    assert f"broke      {', '.join(BROKEN)}: " in out
    assert "way back   3 tenants" in out
    assert "held       no trigger starts odoo/17.0.5" in out
    assert re.search(r"odoo/17\.0\.5 +9 tenants", out)
    assert re.search(r"odoo/17\.0\.4 +15 tenants", out)
    assert set(re.findall(r"fleet: (.*?)(?:,|$)", out, flags=re.MULTILINE)) == {title}
    assert [line for line in result.err.splitlines() if not line.startswith("  ")] == [], "only what is being started"


@pytest.mark.timeout(900)
async def test_on_the_simulated_fleet_three_go_back_and_the_rest_is_never_touched(cli: Cli, folder: Path) -> None:
    _check(await _demo(cli, folder / "demo", "simulated"), "SIMULATED")


@pytest.mark.cluster
@pytest.mark.timeout(1800)
async def test_on_a_real_kube_apiserver_it_ends_the_same(cli: Cli, folder: Path) -> None:
    _check(await _demo(cli, folder / "demo", "local"), "local kube-apiserver")


async def test_a_folder_that_is_not_a_demos_is_left_alone(cli: Cli, folder: Path) -> None:
    (folder / "precious").write_text("mine")
    result = await _demo(cli, folder, "simulated")
    assert result.code == 2
    assert (folder / "precious").read_text() == "mine"


async def test_an_unknown_fleet_is_a_usage_error_that_names_those_there_are(cli: Cli, folder: Path) -> None:
    result = await _demo(cli, folder / "demo", "imaginary")
    assert result.code == 2
    assert "simulated, local, kubeconfig" in result.err
