"""The demo as a user runs it. It judges itself; these tests hold it to what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controlplane.adapters.kubernetes.local import LocalControlPlane
from controlplane.cli.failures import UsageError
from controlplane.cli.here.fleets import GivenCluster, kubeconfig_of
from tests.cli.conftest import Cli, Result
from tests.cli.running import running
from tests.cluster.kube import Kube

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


@pytest.mark.timeout(1800)
async def test_on_the_cluster_of_a_kubeconfig_it_ends_the_same(
    control_plane: LocalControlPlane, cli: Cli, folder: Path
) -> None:
    words = ("demo", "--data", str(folder / "demo"), "--fleet", "kubeconfig", "--port", "0", "--yes")
    before = namespaces(control_plane)
    try:
        result = await cli(*words, COLUMNS="200", KUBECONFIG=str(control_plane.kubeconfig))
        asked, result = _without_announcement(result)
        assert asked.startswith("Seawall will write to cluster ")
        _check(result, re.findall("Seawall will write to (cluster .*) at ", asked)[0])
        assert "24 namespaces" in result.out, "it says what stays there"
    finally:
        admin = Kube.from_kubeconfig(control_plane.kubeconfig)
        made = {name for name in namespaces(control_plane) - before if not name.startswith("seawall-")}
        for name in made:
            assert admin.delete(f"/api/v1/namespaces/{name}").is_success
    assert len(made) == 24


def namespaces(control_plane: LocalControlPlane) -> set[str]:
    found = Kube.from_kubeconfig(control_plane.kubeconfig).read("/api/v1/namespaces")["items"]
    return {one["metadata"]["name"] for one in found}


def _without_announcement(result: Result) -> tuple[str, Result]:
    """The two lines that say what will be written where, and the result without them."""
    first, second, *rest = result.err.splitlines(keepends=True)
    return first + second, Result(result.code, result.out, "".join(rest))


async def test_a_folder_that_is_not_a_demos_is_left_alone(cli: Cli, folder: Path) -> None:
    (folder / "precious").write_text("mine")
    result = await _demo(cli, folder, "simulated")
    assert result.code == 2
    assert (folder / "precious").read_text() == "mine"


_AWAY = """
apiVersion: v1
kind: Config
current-context: away
contexts: [{name: away, context: {cluster: away, user: me}}]
clusters: [{name: away, cluster: {server: "https://127.0.0.1:9", insecure-skip-tls-verify: true}}]
users: [{name: me, user: {token: none}}]
"""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"apiVersion: v1\n", "has no current context that can be used"),
        (b"- a list\n", "has no current context that can be used"),
        (b"\xe5\x00\xff", "can't be read as a kubeconfig"),
        (b"{ no: yaml", "can't be read as a kubeconfig"),
    ],
)
def test_a_kubeconfig_that_can_t_be_used_says_why(tmp_path: Path, content: bytes | None, said: str) -> None:
    kubeconfig = tmp_path / "config"
    if content is not None:
        kubeconfig.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        GivenCluster(kubeconfig_of({"KUBECONFIG": str(kubeconfig)}))
    assert said in refused.value.message
    assert str(kubeconfig) in refused.value.message
    assert refused.value.hint


async def test_a_demo_without_a_kubeconfig_ends_with_2_before_anything_starts(cli: Cli, folder: Path) -> None:
    words = ("demo", "--fleet", "kubeconfig", "--data", str(folder / "demo"))
    result = await cli(*words, KUBECONFIG="/nowhere/config", COLUMNS="200")
    assert result.code == 2
    assert "KUBECONFIG names /nowhere/config, and there is no such file." in result.err
    assert "Traceback" not in result.err
    assert "starting" not in result.err


async def test_a_cluster_is_not_written_to_before_its_owner_agreed(cli: Cli, folder: Path) -> None:
    (folder / "config").write_text(_AWAY)
    words = ("demo", "--fleet", "kubeconfig", "--data", str(folder / "demo"))
    result = await cli(*words, stdin="n\n", KUBECONFIG=str(folder / "config"))
    assert result.code == 1
    assert "Seawall will write to cluster away at https://127.0.0.1:9" in result.err
    assert "starting" not in result.err


async def test_a_cluster_that_does_not_answer_is_told_and_nothing_is_left_running(cli: Cli, folder: Path) -> None:
    (folder / "config").write_text(_AWAY)
    words = ("demo", "--fleet", "kubeconfig", "--data", str(folder / "demo"), "--port", "0", "--yes")
    result = await cli(*words, KUBECONFIG=str(folder / "config"))
    assert result.code == 1
    assert "The cluster's API server does not answer" in result.err
    assert "127.0.0.1:9" in result.err
    assert "ConnectionKey" not in result.err, "an error's own words, not its insides"
    assert not [words for words in running().values() if str(folder) in words]


async def test_an_unknown_fleet_is_a_usage_error_that_names_those_there_are(cli: Cli, folder: Path) -> None:
    result = await _demo(cli, folder / "demo", "imaginary")
    assert result.code == 2
    assert "simulated, local, kubeconfig" in result.err
