"""What only shows on a running installation: the tutorial word for word, and how waiting ends."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.running import Up, await_ready, start

pytestmark = pytest.mark.timeout(900)
TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "first-rollout.md"
_BLOCK = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.MULTILINE)
_FILE = re.compile(r"`([\w./-]+\.yaml)`[^`]*$")


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """One `seawall up` for the tests of this file."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-cli-"))
    running = start(folder / "data", folder / "home")
    try:
        yield await_ready(running)
    finally:
        running.end()
        shutil.rmtree(folder, ignore_errors=True)


def _blocks() -> list[tuple[str, str]]:
    """The tutorial's indented blocks, each with the name of the file that the text before it says it is, if it does."""
    text = TUTORIAL.read_text()
    found = []
    for block in _BLOCK.finditer(text):
        before = text[: block.start()].rstrip().rpartition("\n\n")[2]
        named = _FILE.search(before)
        found.append((named[1] if named else "", re.sub("^    ", "", block[0].strip("\n"), flags=re.MULTILINE) + "\n"))
    return found


def _commands(block: str) -> str:
    """The commands of a session as a script: lines after `$ `, with their here-documents, without what they print."""
    lines, document = [], False
    for line in block.splitlines():
        if line.startswith("$ "):
            lines.append(line[2:])
            document = "<<EOF" in line
        elif document:
            lines.append(line)
            document = line != "EOF"
    return "\n".join(lines)


async def _bash(script: str, folder: Path, environ: dict[str, str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-uo",
        "pipefail",
        "-c",
        script,
        cwd=folder,
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate(b"y\n")
    return process.returncode or 0, out.decode()


async def test_the_tutorial_works_word_for_word(up: Up, cli: Cli, tmp_path: Path) -> None:
    environ = cli.environ_with(up.environ())
    told = ""
    for name, block in _blocks():
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(block)
        elif not re.search(r"make setup|export PATH", block):
            code, out = await _bash(_commands(block), tmp_path, environ)
            told += f"{block}\n{out}"
            assert "Error" not in out, told
            assert code == (1 if "deploy shop/1.2.0" in block else 0), told
    assert re.search(r"shop/1\.1\.0 .* succeeded", told)
    assert re.search(r"pilot +1 +\. +\. +1 +\. +HALTED", told)
    assert re.search(r"last +shop/1\.2\.0 went back", told)
    assert re.search(r"shop-stable +started shop/1\.3\.0", told) or re.search(
        r"shop-stable +waiting shop/1\.3\.0", told
    )
    assert re.search(r"shop/1\.3\.0 .* succeeded", told)


async def test_waiting_for_a_person_ends_with_3_and_running_out_of_time_with_124(
    up: Up, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "slow.yaml").write_text(
        "apiVersion: seawall.dev/v1\nkind: strategy\nmetadata: {name: slow}\n"
        "spec: {waves: [{name: all, cut: {percent: '100%'}, soak: {for: PT1H}}]}\n"
    )
    values = up.environ()
    await _two_versions(cli, values, tmp_path)
    assert (await cli("apply", "-f", str(tmp_path / "slow.yaml"), **values)).code == 0
    draft = await cli("rollout", "start", "pos/2.0.0", "-s", "slow", "--draft", "-o", "name", **values)
    rollout = draft.out.strip()
    assert (await cli("rollout", "watch", rollout, **values)).code == 3, "a draft waits for a person"
    assert (await cli("rollout", "start", rollout, **values)).code == 0
    late = await cli("rollout", "watch", rollout[-8:], "--timeout", "1s", **values)
    assert late.code == 124
    assert f"seawall rollout watch {rollout}" in late.err
    assert (await cli("rollout", "pause", rollout, "--reason", "lunch", **values)).code == 0
    assert (await cli("rollout", "resume", rollout, **values)).code == 0
    assert (await cli("rollout", "abort", rollout, "--roll-back", **values)).code == 0
    assert (await cli("rollout", "watch", rollout, **values)).code == 1
    assert (await cli("rollout", "show", "ffffffff", **values)).code == 4


async def _two_versions(cli: Cli, values: dict[str, str], folder: Path) -> None:
    """A tenant that runs pos/1.0.0, and pos/2.0.0 to go to."""
    basics = "".join(
        f"apiVersion: seawall.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{}}\n---\n"
        for kind, name in (("app", "pos"), ("tier", "basic"))
    )
    assert (await cli("apply", "-f", "-", stdin=basics, **values)).code == 0
    for number in (1, 2):
        (folder / "pos.yaml").write_text(_DEPLOYMENT.format(number=number))
        made = await cli("release", "register", f"pos/{number}.0.0", str(folder / "pos.yaml"), **values)
        assert made.code == 0, made.err
        if number == 1:
            words = "tenant onboard pico --tier basic --region westeurope --cluster simulated --app pos"
            onboarded = await cli(*words.split(), **values)
            assert onboarded.code == 0, onboarded.err


_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: pos, labels: {{version: "{number}"}}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: pos}}}}
  template:
    metadata: {{labels: {{app: pos, version: "{number}"}}}}
    spec:
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: pos
          image: registry.example/pos@sha256:1b7e1b7e1b7e1b7e1b7e1b7e1b7e1b7e1b7e1b7e1b7e1b7e1b7e1b7e1b7e1b7e
          securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
          resources: {{requests: {{cpu: 20m, memory: 32Mi}}, limits: {{cpu: 100m, memory: 64Mi}}}}
"""
