"""Everything on this machine: starts, ends as a whole, and goes on where it was."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.running import PATIENCE, Up, alive, await_ready, start

pytestmark = [pytest.mark.timeout(900), pytest.mark.kill]


@pytest.fixture
def up(folder: Path) -> Iterator[Up]:
    """A running `seawall up` over an empty folder."""
    running = start(folder / "data", folder / "home")
    try:
        yield await_ready(running)
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGTERM)


async def test_it_keeps_key_and_data_over_a_restart_and_leaves_nothing_running(up: Up, cli: Cli) -> None:
    key, children = up.key, up.children()
    assert len(children) >= 7, "PostgreSQL, nats-server, the fleet, API, relay, two workers"
    assert "fleet: SIMULATED" in up.screen.read_text()
    assert stat.S_IMODE((up.data / "admin-key").stat().st_mode) == 0o600
    tier = "apiVersion: seawall.dev/v1\nkind: tier\nmetadata: {name: gold}\nspec: {}\n"
    assert (await cli("apply", "-f", "-", stdin=tier, **up.environ())).code == 0
    assert up.end() == 0
    assert alive(children) == {}

    again = await_ready(start(up.data, up.home))
    try:
        assert again.key == key
        assert (await cli("get", "tiers", "-o", "name", **again.environ())).out == "tier/gold\n"
        refused = start(up.data, up.home / "second")
        assert refused.process.wait(PATIENCE) == 1
        assert "Another `seawall up`" in refused.screen.read_text()
        other = start(up.data, up.home / "third", "--fleet", "local")
        assert other.process.wait(PATIENCE) == 1
    finally:
        assert again.end() == 0


def test_when_a_worker_is_killed_it_says_so_and_everything_ends(up: Up) -> None:
    children = up.children()
    worker = next(pid for pid, words in children.items() if words.endswith("controlplane.cli work"))
    os.kill(worker, signal.SIGKILL)
    assert up.process.wait(PATIENCE) == 1
    told = up.screen.read_text()
    assert "worker" in told
    assert "ended with status -9" in told
    assert alive(children) == {}


def test_when_it_is_killed_itself_nothing_it_started_survives(up: Up) -> None:
    children = {pid: words for pid, words in up.children().items() if pid != up.process.pid}
    up.process.kill()
    up.process.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while alive(children):
        assert time.monotonic() < deadline, alive(children)
        time.sleep(0.05)  # between two looks at the condition
